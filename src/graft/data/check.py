"""`graft check`: read every file of a source and say what is wrong, all at once."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from graft.data.checks import Audit, check_listing
from graft.data.dataset import Dataset, Issue
from graft.data.decode import Preprocess
from graft.data.scan import scan
from graft.data.sketch import SIDE, sketches
from graft.data.stream import stream
from graft.progress import Progress

# Every byte is read and decoded, but large JPEGs at an eighth of their size.
_SIZE = Preprocess(SIDE, SIDE, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


@dataclass(frozen=True)
class CheckResult:
    """What check found: the data set, the number of usable pictures, and the issues."""

    dataset: Dataset
    usable: int
    issues: tuple[Issue, ...]

    @property
    def blocking(self) -> bool:
        """Whether training would refuse."""
        return any(issue.blocking for issue in self.issues)

    def to_json(self) -> dict[str, Any]:
        """As `graft check --json` prints it."""
        return {
            "images": len(self.dataset.examples),
            "usable": self.usable,
            "classes": self.dataset.counts,
            "issues": [issue.to_json() for issue in self.issues],
        }


def check(source: str | Path, cache: Path, progress: Progress) -> CheckResult:
    """Check a source: list it, read and decode every file, compare bytes.

    Raises DataError or UsageError when the source cannot be listed at all; whatever is wrong
    with the pictures is in the result.
    """
    dataset = scan(source, cache)
    if not dataset.examples:
        return CheckResult(dataset, 0, tuple(check_listing(dataset)))
    audit = Audit(dataset)
    progress.start("checking", len(dataset.examples))
    files = [example.file for example in dataset.examples]
    rows, positions = [], []
    for loaded in stream(files, _SIZE, lambda index, digest: (), sketched=lambda digest: True):
        audit.note(loaded)
        if loaded.sketch is not None:
            positions.append(loaded.index)
            rows.append(loaded.sketch)
        progress.advance(loaded.index + 1)
    progress.finish()
    if rows:
        audit.look(positions, sketches(np.stack(rows)))
    return CheckResult(dataset, len(audit.usable()), tuple(audit.issues()))
