"""Whether the shards of a folder of features have all images of their source, and each once."""

from pathlib import Path

from graft.data.feature_folder import FolderStatus, folder_status
from graft.data.feature_listing import not_in_folder, rows_of_folder
from graft.data.sources import listing_of, load_dataset
from graft.errors import DataError
from graft.utils.cache_folder import sources_folder

SHOWN = 3


def checked_status(folder: Path, source: str | None) -> FolderStatus:
    """The status of a folder; of a whole one the union of its shards is checked, too: that no
    image is in two of them and, given the source, that they have exactly its images.

    Raises DataError for what the check finds.
    """
    status = folder_status(folder)
    if not status.complete:
        return status
    rows = rows_of_folder(folder)
    if len(rows.digests) != status.images:
        raise DataError(
            f"{folder}: its shards have {len(rows.digests):,} images and count {status.images:,}"
        )
    if source is None:
        return status
    asked = listing_of({name: status.job.get(name) for name in ("label_by", "follow_links")})
    lacking, added = not_in_folder(load_dataset(source, sources_folder(), **asked), rows)
    if lacking or added:
        said = [
            f"{len(names):,} images of {what} (first: {', '.join(names[:SHOWN])})"
            for names, what in (
                (lacking, "the source are in no shard"),
                (added, "the shards are not in the source"),
            )
            if names
        ]
        raise DataError(
            f"{folder}: {' and '.join(said)}: the source changed since; remove the shards' files "
            "and run `graft features` again"
        )
    return status
