"""The page of `graft check --html`: each finding with its images side by side."""

from collections.abc import Iterator
from pathlib import Path

from graft.quality.check import CheckResult
from graft.quality.finding import Finding
from graft.report.run_tables import finding_name
from graft.report.templates import render
from graft.report.thumbnails import thumbnails
from graft.utils.user_files import write_page

# Shown of a finding: images, or sets of images that belong together and images of each set.
SINGLE, SETS, OF_SET = 24, 30, 6
SIDE = 112  # pixels
# Classes listed; of more only so many of the smallest and of the largest.
CLASSES, ENDS = 1_000, 50


def write_audit(result: CheckResult, page: Path) -> None:
    """Write a self-contained page with the findings and their images."""
    shown = [(finding, list(_sets(finding))) for finding in result.findings]
    wanted = {path for _, sets in shown for one in sets for path in one}
    there = [example for example in result.dataset.examples if example.path in wanted]
    files = {example.path: example.file for example in there}
    text = render(
        "audit_page.html",
        result=result,
        shown=shown,
        tiles=thumbnails(sorted(wanted), files, SIDE),
        labels={example.path: example.label for example in there},
        smallest_first=sorted(result.dataset.counts.items(), key=lambda item: item[1]),
        ends=ENDS if len(result.dataset.classes) > CLASSES else 0,
        finding_name=finding_name,
    )
    write_page(page, text)


def _sets(finding: Finding) -> Iterator[tuple[str, ...]]:
    if finding.sets:
        yield from (one[:OF_SET] for one in finding.sets[:SETS])
    elif finding.paths and finding.kind not in ("few", "too_few"):
        yield finding.paths[:SINGLE]
