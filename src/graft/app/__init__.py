"""`graft app`: the whole job in the browser, in six steps.

How the parts fit together, for whoever adds a step:

graft.app.project.Project          the state on disk of one source of images; all steps share it.
    .source .name .home            what was chosen, and the project folder (FOLDER-graft)
    .journal .added .runs          decisions.csv, added/, runs/ in it
    .images() -> [ProjectImage…]   sha256, path, file, label, first_label, split, kept_out
    .counts() -> {class: images}   .image(sha256)  .file_of(sha256) -> Path | None
    .record([Correction…])         adds one action to the journal;  .undo() undoes the last one
    .revision, .changed()          another text when anything is new; pages show it anew
    .write_table() -> Path         dataset.csv: what train, check and all other verbs take
graft.quality.corrections          the journal's format: read_journal, append, undo
graft.app.application.application(project, texts) -> Starlette
graft.app.guard.Guard              token, Host, Origin, content security policy
graft.app.json_routes              asked(path, fn) for GET, told(path, fn) for POST: fn gets a dict
                                   and returns one, in a thread; a GraftError that it raises
                                   becomes {"error": …} with status 400, which the page shows
graft.app.step_page                pages and texts

A step NAME is: `MODULE_routes.py` with `routes(project) -> list[Route]` (review_routes.py for the
step check), its page at /NAME made by `request.app.state.pages.response(NAME)` from
pages/NAME_page.html, which extends shell.html and has the blocks `main` and `script`; its script
pages/NAME_page.js; its texts in texts/en/NAME.json. In templates `t.KEY` is a text of the step; in
scripts `t("KEY", {count: 3})` is one of the step's or the shell's, with {count} replaced, and the
plural chosen where the text is {"one": …, "other": …}. A test holds that every text that is used
exists and every one that exists is used.

pages/shell.js exports
    getJson(path, query)  sendJson(path, body)      errors are shown as a toast and thrown
    t(key, values)  element(tag, properties, ...children)  toast(text, {action, undo})
    onKeys({"z": f, "Delete": g})                   not while somebody types
    onChange(f)                                     f(project) when the project has something new
    thumbnailImage(sha256, alt)                     an <img> that says so if it cannot be read
and pages/windowed_grid.js exports WindowedGrid, a list box of any number of images of which only
those in view are in the page: `load(start, count)` gives them, each with `id` and `sha256`.

/thumbnail/SHA256 is a JPEG of at most 256 pixels a side, /image/SHA256 one of at most 1,600.
Styles: shell.css has the colors of the reports as variables, and .button, .card, .panel, .note,
.toolbar, .columns, .hidden-text; nothing may be loaded from elsewhere and no style or script may
stand in the page itself (the content security policy refuses it).
"""
