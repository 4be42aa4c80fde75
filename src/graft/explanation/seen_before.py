"""Whether an image is one of those that a run was trained, validated or tested with."""

from pathlib import Path

from graft.runs.run import Run
from graft.utils.files import sha256_of


def splits_of(run: Run, image: Path) -> dict[str, str]:
    """The path and the split of each image of the run with the same bytes as this file."""
    digest = sha256_of(image).hex()
    return {row["path"]: row["split"] for row in run.images if row["sha256"] == digest}


def seen_before(run: Run, image: Path) -> str:
    """What it means for an answer that the network learned from this very image; empty if not."""
    found = splits_of(run, image).values()
    if "train" in found:
        return "the network learned from this very image, so its being right proves nothing"
    if "val" in found:
        return "this is one of the run's validation images, so being right on it proves little"
    return ""
