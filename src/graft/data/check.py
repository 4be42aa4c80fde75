"""`graft check`: read every file of a source and say what is wrong, all at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from graft.data.checks import Audit, check_listing
from graft.data.dataset import SEVERITIES, Dataset, Issue
from graft.data.decode import Preprocess
from graft.data.sketch import SIDE, SKETCH, sketches
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

    @classmethod
    def of(cls, audit: Audit, judged: Sequence[Issue] = ()) -> "CheckResult":
        """The result of an audit, and what features said besides."""
        issues = sorted(
            [*audit.issues(), *judged], key=lambda issue: SEVERITIES.index(issue.severity)
        )
        return cls(audit.dataset, len(audit.usable()), tuple(issues))

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


def check(dataset: Dataset, progress: Progress) -> CheckResult:
    """Check a source that was listed: read and decode every file, compare bytes and looks."""
    if not dataset.examples:
        return CheckResult(dataset, 0, tuple(check_listing(dataset)))
    audit = Audit(dataset)
    progress.start("checking", len(dataset.examples))
    files = [example.file for example in dataset.examples]
    rows = np.empty((len(files), SKETCH.itemsize), np.uint8)
    positions: list[int] = []
    for loaded in stream(files, _SIZE, lambda index, digest: (), sketched=lambda digest: True):
        audit.note(loaded)
        if loaded.sketch is not None:
            rows[len(positions)] = loaded.sketch
            positions.append(loaded.index)
        progress.advance(loaded.index + 1)
    progress.finish()
    if positions:
        audit.look(positions, sketches(rows[: len(positions)]))
    return CheckResult.of(audit)
