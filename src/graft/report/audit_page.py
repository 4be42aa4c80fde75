"""The page of `graft check --html`: each finding with its images side by side."""

from collections.abc import Iterator
from pathlib import Path

from graft.quality.check import CheckResult
from graft.quality.finding import Finding
from graft.report.run_page import environment
from graft.report.thumbnails import thumbnails
from graft.utils.files import write_text

# Images of a finding, groups of one, and images of a group that are shown.
SINGLE, SETS, OF_SET = 24, 30, 6
SIDE = 112


def write_audit(result: CheckResult, page: Path) -> None:
    """Write a self-contained page with what was found and the images concerned."""
    shown = [(finding, list(_groups(finding))) for finding in result.findings]
    wanted = {path for _, groups in shown for group in groups for path in group}
    files = {example.path: example.file for example in result.dataset.examples}
    tiles = thumbnails(sorted(wanted), files, SIDE)
    labels = {example.path: example.label for example in result.dataset.examples}
    text = (
        environment()
        .get_template("audit_page.html")
        .render(result=result, shown=shown, tiles=tiles, labels=labels)
    )
    page.parent.mkdir(parents=True, exist_ok=True)
    write_text(page, text)


def _groups(finding: Finding) -> Iterator[tuple[str, ...]]:
    if finding.sets:
        yield from (one[:OF_SET] for one in finding.sets[:SETS])
    elif finding.paths and finding.kind not in ("few", "too_few"):
        yield finding.paths[:SINGLE]
