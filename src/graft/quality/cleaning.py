"""`graft check --fix`: a table of the images worth training on; the files stay as they are."""

import csv
import io
import os
from collections import defaultdict
from pathlib import Path

import numpy as np

from graft.data.sources import TABLE_COLUMNS
from graft.data.split import given_splits
from graft.errors import UsageError
from graft.quality.check import CheckResult
from graft.quality.near_duplicates import clusters
from graft.utils.files import write_text

# Kinds of findings whose images are left out, copies of which one stays, and near-duplicates.
OUT = ("empty", "truncated", "unreadable", "oversized", "two_labels", "blank", "dark")
COPIES = ("duplicates", "two_splits")
NEAR = ("near_duplicates", "near_two_labels", "near_two_splits")
# Of copies in several splits those in the first of these stay, so that a given test stays whole.
KEPT_FIRST = ("test", "val", "train", None)


def check_target(table: Path) -> None:
    """Raise UsageError unless `table` is the name of a new .csv file."""
    if table.suffix != ".csv":
        raise UsageError(
            f"--fix needs the name of a new table, such as cleaned.csv, not {str(table)!r}"
        )
    if table.exists() or table.is_symlink():
        raise UsageError(f"--fix overwrites nothing, but {table} exists; choose a new name")


def write_fixed(result: CheckResult, table: Path, cache: Path) -> str:
    """Write a table with one row for each usable image, and all columns. Returns a line that says
    how many were left out, and whether images are in the folder `cache`, which may be cleared.

    Of equal images one stays. Near-duplicates of a test image leave train and val, those of a val
    image leave train; an image without a split gets that of its copies or group. What
    near-duplicates or groups connect shares a `group`, so it stays in one split. Label errors are
    kept, because only a person can tell; the column `findings` names them.

    Raises UsageError if the table exists.
    """
    check_target(table)
    examples = result.dataset.examples
    kept, splits, groups = _sorted_out(result)
    noted: dict[str, list[str]] = defaultdict(list)
    for finding in result.findings:
        for path in finding.paths:
            noted[path].append(finding.kind)
    others = list(dict.fromkeys(name for e in examples for name in e.columns or ()))
    findings = "findings"
    while findings in others:
        findings += "_"
    text = io.StringIO()
    # All quoted, because csv quotes no other line breaks than its terminator's.
    writer = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerow([*TABLE_COLUMNS, *others, findings])
    for row in kept:
        example = examples[row]
        columns = example.columns or {}
        writer.writerow(
            [
                os.path.relpath(example.file.absolute(), table.absolute().parent),
                example.label,
                splits[row] or "",
                groups[row],
                *(columns.get(name, "") for name in others),
                " ".join(dict.fromkeys(noted[example.path])),
            ]
        )
    write_text(table, text.getvalue())
    said = f"{len(kept):,} images, {len(examples) - len(kept):,} left out"
    folders = {examples[row].file.parent for row in kept}
    if any(folder.resolve().is_relative_to(cache.resolve()) for folder in folders):
        said += (
            f"; it points into graft's cache: after graft cache --clear, graft check "
            f"{result.dataset.source} brings the images back; for a table that lasts, check a "
            "folder of images"
        )
    return said


def _sorted_out(result: CheckResult) -> tuple[list[int], list[str | None], list[str]]:
    """The rows to keep, and the split and the group ("": none) of each row (N,)."""
    examples = result.dataset.examples
    rows_of: dict[str, list[int]] = defaultdict(list)  # a table may name an image more than once
    for row, example in enumerate(examples):
        rows_of[example.path].append(row)
    out = {
        row
        for finding in result.findings
        if finding.kind in OUT
        for path in finding.paths
        for row in rows_of[path]
    }
    sets = [
        (finding.kind in COPIES, {row for path in one for row in rows_of[path]} - out)
        for finding in result.findings
        if finding.kind in COPIES + NEAR
        for one in finding.sets
    ]
    first: dict[str, int] = {}
    tied = [
        (first.setdefault(example.group, row), row)
        for row, example in enumerate(examples)
        if example.group and row not in out
    ]
    near = [(min(one), row) for _, one in sets for row in one]
    splits = given_splits(examples, _connected(tied + near, len(examples)))
    for equal, one in sets:
        ranked = sorted(one - out, key=lambda row: (KEPT_FIRST.index(splits[row]), row))
        for row in ranked:
            best = ranked[0]
            # Not by what leaves its split: its group would tie splits that no copy ties any more.
            if splits[row] == splits[best]:
                tied.append((best, row))
            if row != best and (equal or splits[row] != splits[best]):
                out.add(row)
    kept = [row for row in range(len(examples)) if row not in out]
    groups = [example.group or "" for example in examples]
    for cluster in _connected(tied, len(examples)):
        names = sorted({groups[row] for row in cluster} - {""})
        if not names and len(set(cluster) - out) > 1:
            names = [f"near {examples[cluster[0]].path}"]
        for row in cluster:
            groups[row] = " + ".join(names)
    return kept, splits, groups


def _connected(pairs: list[tuple[int, int]], count: int) -> list[list[int]]:
    return clusters(np.array(pairs, np.int64).reshape(-1, 2), count)
