"""Images that come into step Images: which are new, and which were there already."""

import hashlib

from graft.app.json_routes import Record
from graft.app.project import Project

NEW, BACK, THERE = "new", "back", "there"


def arrive(project: Project, label: str, name: str, data: bytes, batch: str) -> Record:
    """Add an image to a class unless the project shows the same bytes already: those stay in their
    class, as nobody said that it is wrong. `state` is "new", "there", or "back" of an image that
    was deleted; `label` the class in which the image is now. Errors as of `Project.add`.
    """
    digest = hashlib.sha256(data).hexdigest()
    with project.lock:
        known, there = project.file_of(digest) is not None, project.image(digest)
    if there is not None:
        return {"id": there.path, "sha256": digest, "state": THERE, "label": there.label}
    path = project.add(label, name, data, batch)
    now = project.image(digest)
    state = BACK if known else NEW
    return {
        "id": path,
        "sha256": digest,
        "state": state,
        "label": now.label if now else label,
    }
