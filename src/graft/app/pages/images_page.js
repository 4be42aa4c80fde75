// Step 1: the classes, the images of one of them, and what can be done with those that are selected.

import { startAdding } from "./images_adding.js";
import { browse, startChoosing } from "./images_folder.js";
import { startViewing } from "./images_view.js";
import { startWebcam } from "./images_webcam.js";
import { undo, undoing } from "./images_undo.js";
import { dropUndos, element, getJson, onChange, onKeys, refresh, sendJson, t, toast } from "./shell.js";
import { WindowedGrid } from "./windowed_grid.js";

const find = (id) => document.getElementById(id);
const ALL = null; // instead of a class: all images
let classes = [];
let current = decodeURIComponent(location.hash.slice(1)) || ALL;
let currentSince = 0; // an answer to an older question may not know a class that is new
let fresh = new Set(); // images that were just added here

const grid = new WindowedGrid(find("grid"), {
  load: async (start, count) => {
    const found = await getJson("/api/images/list", { class: current, start, count });
    return found.images;
  },
  decorate: (cell, item) => {
    cell.classList.toggle("out", item.out);
    cell.classList.toggle("fresh", fresh.has(item.id));
  },
});

const count = () =>
  current === ALL
    ? classes.reduce((sum, each) => sum + each.count, 0)
    : (classes.find((each) => each.name === current)?.count ?? 0);

const nameOf = (label) => (label === ALL ? t("all") : label || t("no_class"));

function turnTo(label) {
  current = label;
  currentSince = performance.now();
}

function choose(label, { keep = false } = {}) {
  if (label !== current) turnTo(label);
  history.replaceState(null, "", label ? `#${encodeURIComponent(label)}` : location.pathname);
  find("shown").textContent = nameOf(label);
  const named = Boolean(label);
  find("class-tools").hidden = !named;
  for (const id of ["pick", "webcam"]) find(id).disabled = !named;
  find("drop-note").textContent = named ? t("drop_note") : t("choose_class_first");
  for (const button of find("classes").querySelectorAll("button")) {
    button.setAttribute("aria-pressed", button.dataset.name === JSON.stringify(label));
  }
  const others = classes.filter((each) => each.name && each.name !== label);
  find("move").replaceChildren(
    element("option", { value: "" }, t("move_to")),
    ...others.map((each) => element("option", { value: each.name }, each.name)),
  );
  const total = count();
  find("nothing").hidden = total > 0;
  find("nothing").textContent = named ? t("class_empty") : t("all_empty");
  find("keys").hidden = total === 0;
  grid.show(total, { keep });
}

function row(label, total) {
  const button = element(
    "button",
    { type: "button", onclick: () => choose(label) },
    element("span", { className: "class-name" }, nameOf(label)),
    element("span", { className: "class-count" }, t("count", { count: total })),
  );
  button.dataset.name = JSON.stringify(label);
  if (label) button.dataset.class = label;
  return element("li", {}, button);
}

async function showClasses() {
  const asked = performance.now();
  const found = await getJson("/api/images/classes");
  classes = found.classes;
  find("undo").disabled = !found.action;
  find("undo").title = found.action ? t("undo_key") : t("nothing_to_undo");
  dropUndos(found.action, asked);
  const gone = current !== ALL && !classes.some((each) => each.name === current);
  if (gone && asked > currentSince) turnTo(ALL);
  find("classes").replaceChildren(
    row(ALL, found.total),
    ...classes.map((each) => row(each.name, each.count)),
  );
  const named = classes.filter((each) => each.name);
  find("lead").textContent = t("lead", { count: named.length, images: found.total });
  choose(current, { keep: true });
}

onChange(async (project) => {
  find("choose").hidden = project.open;
  find("project").hidden = !project.open;
  if (!project.open) {
    if (!find("path").value) await browse();
    return;
  }
  find("reading").hidden = project.done;
  find("reading-bar").max = Math.max(1, project.total);
  find("reading-bar").value = project.read;
  find("reading-text").textContent = t("reading", { read: project.read, total: project.total });
  await showClasses();
});

// Does something, says what was done with a way back, and shows how it is now.
async function act(path, body, said) {
  const done = await sendJson(path, body).catch(() => null);
  if (done) toast(said(done), { action: undoing(done.action), undoes: done.action });
  await refresh();
  return done;
}

async function move(to) {
  const paths = [...grid.selected];
  if (!paths.length || !to) return;
  await act("/api/images/move", { paths, to }, (done) => t("moved", { count: done.count, to }));
  grid.select([]);
}

async function remove() {
  const paths = [...grid.selected];
  if (!paths.length) return;
  await act("/api/images/delete", { paths }, (done) => t("deleted", { count: done.count }));
  grid.select([]);
}

// A question in a dialog; the name that was given, or null.
function ask(title, note, yes, name = null) {
  find("ask-title").textContent = title;
  find("ask-note").textContent = note;
  find("ask-yes").textContent = yes;
  const input = find("ask-name");
  input.closest("p").hidden = name === null;
  input.required = name !== null;
  input.value = name ?? "";
  const dialog = find("ask");
  dialog.returnValue = "no";
  dialog.showModal();
  if (name !== null) input.select();
  return new Promise((answered) => {
    dialog.onclose = () => answered(dialog.returnValue === "yes" ? input.value.trim() : null);
  });
}

async function rename() {
  const label = current;
  const to = await ask(t("rename_title", { label }), t("rename_note"), t("rename"), label);
  if (!to || to === label) return;
  turnTo(to);
  const body = { class: label, to };
  if (!(await act("/api/images/rename-class", body, () => t("renamed", { label, to })))) turnTo(label);
  await showClasses();
}

async function removeClass() {
  const label = current;
  const note = t("delete_class_note", { count: count() });
  if (count() && (await ask(t("delete_class_title", { label }), note, t("delete_class"))) === null) return;
  await act("/api/images/delete-class", { class: label }, () => t("class_deleted", { label }));
}

grid.addEventListener("select", () => {
  const chosen = grid.selected.size;
  find("selection-tools").hidden = chosen === 0;
  find("add-tools").classList.toggle("replaced", chosen > 0); // the images stay where they are
  find("selected").textContent = t("selected", { count: chosen });
});
startViewing(grid, {
  nameOf,
  remove: ({ id }) => act("/api/images/delete", { paths: [id] }, (done) => t("deleted", { count: done.count })),
});

find("new-form").onsubmit = async (event) => {
  event.preventDefault();
  const name = find("new").value.trim();
  if (!name) {
    find("new").focus();
    toast(t("name_first"), { error: true });
    return;
  }
  const made = await sendJson("/api/images/new-class", { name }).catch(() => null);
  if (!made) return;
  find("new").value = "";
  turnTo(made.class);
  await showClasses(); // not refresh: the page may know of the change already, without the class
};
find("undo").onclick = undo;
find("delete").onclick = remove;
find("move").onchange = async (event) => {
  await move(event.target.value);
  event.target.value = "";
};
find("rename").onclick = rename;
find("delete-class").onclick = removeClass;
const selectAll = async () => grid.select((await getJson("/api/images/paths", { class: current })).paths);
find("select-all").onclick = selectAll;
find("select-none").onclick = () => grid.select([]);
find("again").onclick = () => sendJson("/api/images/read-again").then(refresh).catch(() => {});
find("other").onclick = () => {
  find("project").hidden = true;
  find("choose").hidden = false;
  browse();
};
onKeys({ z: undo, Delete: remove, Backspace: remove, a: selectAll });
startChoosing();
// What was added is shown: the first of the new images, and all of them marked.
async function showAdded(ids, label) {
  fresh = new Set(ids);
  const asked = () => getJson("/api/images/paths", { class: current });
  let first = (await asked()).paths.findIndex((id) => fresh.has(id));
  if (first < 0) {
    turnTo(label ?? ALL); // they went to another class than the one in view
    first = (await asked()).paths.findIndex((id) => fresh.has(id));
  }
  await showClasses();
  if (first >= 0) await grid.moveTo(first);
}
const chosenClass = () => current || null;
startAdding(chosenClass, showAdded);
startWebcam(chosenClass);
