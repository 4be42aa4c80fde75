"""`graft check`: read every file of a source and say what is wrong, all at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from graft.data.dataset import SEVERITIES, Dataset, Finding
from graft.data.decode import Preprocess
from graft.data.fingerprint import FINGERPRINT, SIDE, fingerprints
from graft.data.reader import stream
from graft.quality.audit import Audit, check_listing
from graft.utils.progress import Progress

# Every byte is read and decoded, but large JPEGs at an eighth of their size.
_SIZE = Preprocess(SIDE, SIDE, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


@dataclass(frozen=True)
class CheckResult:
    """What check found: the data set, the number of usable images, and the findings."""

    dataset: Dataset
    usable: int
    findings: tuple[Finding, ...]

    @classmethod
    def of(cls, audit: Audit, judged: Sequence[Finding] = ()) -> "CheckResult":
        """The result of an audit, and what features said besides."""
        findings = sorted(
            [*audit.findings(), *judged], key=lambda finding: SEVERITIES.index(finding.severity)
        )
        return cls(audit.dataset, len(audit.usable()), tuple(findings))

    @property
    def blocking(self) -> bool:
        """Whether training would refuse."""
        return any(finding.blocking for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """As `graft check --json` prints it."""
        return {
            "images": len(self.dataset.examples),
            "usable": self.usable,
            "classes": self.dataset.counts,
            "findings": [finding.to_json() for finding in self.findings],
        }


def check(dataset: Dataset, progress: Progress) -> CheckResult:
    """Check a source that was listed: read and decode every file, compare bytes and looks."""
    if not dataset.examples:
        return CheckResult(dataset, 0, tuple(check_listing(dataset)))
    audit = Audit(dataset)
    progress.start("checking", len(dataset.examples))
    files = [example.file for example in dataset.examples]
    rows = np.empty((len(files), FINGERPRINT.itemsize), np.uint8)
    positions: list[int] = []
    for loaded in stream(files, _SIZE, lambda index, digest: (), fingerprinted=lambda digest: True):
        audit.note(loaded)
        if loaded.fingerprint is not None:
            rows[len(positions)] = loaded.fingerprint
            positions.append(loaded.index)
        progress.advance(loaded.index + 1)
    progress.finish()
    if positions:
        audit.look(positions, fingerprints(rows[: len(positions)]))
    return CheckResult.of(audit)
