"""The page of `graft check --html`: each finding with its pictures side by side."""

from collections.abc import Iterator
from pathlib import Path

from graft.data.check import CheckResult
from graft.data.dataset import Issue
from graft.files import write_text
from graft.report.html import environment
from graft.report.pictures import thumbnails

# Pictures of an issue, groups of one, and pictures of a group that are shown.
SINGLE, SETS, OF_SET = 24, 30, 6
SIDE = 112


def write_audit(result: CheckResult, page: Path) -> None:
    """Write a self-contained page with what was found and the pictures concerned."""
    shown = [(issue, list(_groups(issue))) for issue in result.issues]
    wanted = {path for _, groups in shown for group in groups for path in group}
    files = {example.path: example.file for example in result.dataset.examples}
    tiles = thumbnails(sorted(wanted), files, SIDE)
    labels = {example.path: example.label for example in result.dataset.examples}
    text = (
        environment()
        .get_template("audit.html")
        .render(result=result, shown=shown, tiles=tiles, labels=labels)
    )
    page.parent.mkdir(parents=True, exist_ok=True)
    write_text(page, text)


def _groups(issue: Issue) -> Iterator[tuple[str, ...]]:
    if issue.sets:
        yield from (one[:OF_SET] for one in issue.sets[:SETS])
    elif issue.paths and issue.kind not in ("few", "too_few"):
        yield issue.paths[:SINGLE]
