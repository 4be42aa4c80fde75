"""The image files of a source, as a project takes them."""

from pathlib import Path

from graft.app.image_index import IndexedFile
from graft.data.sources import load_dataset
from graft.utils.cache_folder import sources_folder


def listed(source: str) -> list[IndexedFile]:
    """The labeled images of a source and, of a folder, those that lie in no class folder."""
    dataset = load_dataset(source, sources_folder())
    found = [
        IndexedFile(each.path, each.file, each.label, "", each.split or "", each.group or "")
        for each in dataset.examples
    ]
    root = Path(source)
    loose = dataset.left_out.get("no_label", ()) if root.is_dir() else ()
    found += [IndexedFile(path, root / path, "", "") for path in loose if (root / path).is_file()]
    return found
