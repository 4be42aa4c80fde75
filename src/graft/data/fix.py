"""`graft check --fix`: a table of the pictures worth learning from; the files stay as they are."""

import csv
import io
import os
from collections import defaultdict
from pathlib import Path

import numpy as np

from graft.data.check import CheckResult
from graft.data.near import clusters
from graft.data.scan import TABLE_COLUMNS
from graft.data.split import given_parts
from graft.errors import UsageError
from graft.files import write_text

# Kinds whose pictures are left out, kinds of copies of which one stays, and of near copies.
OUT = ("empty", "truncated", "unreadable", "oversized", "two_labels", "blank", "dark")
COPIES = ("duplicates", "two_parts")
NEAR = ("near_duplicates", "near_two_labels", "near_two_parts")
# Of copies in several parts those in the first of these stay, so that a given test stays whole.
KEPT_FIRST = ("test", "val", "train", None)


def check_target(table: Path) -> None:
    """Raise UsageError unless `table` is the name of a new .csv file."""
    if table.suffix != ".csv":
        raise UsageError(f"--fix takes a table to write, such as cleaned.csv, not {str(table)!r}")
    if table.exists() or table.is_symlink():
        raise UsageError(f"--fix overwrites nothing, and {table} is there; give a new name")


def write_fixed(result: CheckResult, table: Path, cache: Path) -> str:
    """Write a table with a row a usable picture and all columns; say in a line what was left out,
    and if pictures lie in the folder `cache`, which may be cleared.

    Of equal pictures one stays. Near copies of a test picture leave train and val, those of a val
    picture train; a picture without a part gets that of its copies or group. What near copies or
    groups connect shares a `group`, so it stays in one part. Labels that are likely wrong are kept:
    only a person can tell; the column `issues` names them.

    Raises UsageError for a table that is there.
    """
    check_target(table)
    examples = result.dataset.examples
    kept, parts, groups = _sorted_out(result)
    noted: dict[str, list[str]] = defaultdict(list)
    for issue in result.issues:
        for path in issue.paths:
            noted[path].append(issue.kind)
    others = list(dict.fromkeys(name for e in examples for name in e.columns or ()))
    issues = "issues"
    while issues in others:
        issues += "_"
    text = io.StringIO()
    # All quoted, because csv quotes no other line breaks than its terminator's.
    writer = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerow([*TABLE_COLUMNS, *others, issues])
    for row in kept:
        example = examples[row]
        columns = example.columns or {}
        writer.writerow(
            [
                os.path.relpath(example.file.absolute(), table.absolute().parent),
                example.label,
                parts[row] or "",
                groups[row],
                *(columns.get(name, "") for name in others),
                " ".join(dict.fromkeys(noted[example.path])),
            ]
        )
    write_text(table, text.getvalue())
    said = f"{len(kept):,} pictures, {len(examples) - len(kept):,} left out"
    folders = {examples[row].file.parent for row in kept}
    if any(folder.resolve().is_relative_to(cache.resolve()) for folder in folders):
        said += (
            f"; it points into graft's cache: after graft cache --clear, graft check "
            f"{result.dataset.source} brings the pictures back; for a table that lasts, check a "
            "folder of pictures"
        )
    return said


def _sorted_out(result: CheckResult) -> tuple[list[int], list[str | None], list[str]]:
    """The rows to keep, and the part and the group ("": none) of each row (N,)."""
    examples = result.dataset.examples
    rows_of: dict[str, list[int]] = defaultdict(list)  # a table may name a picture more than once
    for row, example in enumerate(examples):
        rows_of[example.path].append(row)
    out = {
        row
        for issue in result.issues
        if issue.kind in OUT
        for path in issue.paths
        for row in rows_of[path]
    }
    sets = [
        (issue.kind in COPIES, {row for path in one for row in rows_of[path]} - out)
        for issue in result.issues
        if issue.kind in COPIES + NEAR
        for one in issue.sets
    ]
    first: dict[str, int] = {}
    tied = [
        (first.setdefault(example.group, row), row)
        for row, example in enumerate(examples)
        if example.group and row not in out
    ]
    near = [(min(one), row) for _, one in sets for row in one]
    parts = given_parts(examples, _connected(tied + near, len(examples)))
    for equal, one in sets:
        ranked = sorted(one - out, key=lambda row: (KEPT_FIRST.index(parts[row]), row))
        for row in ranked:
            best = ranked[0]
            # Not by what leaves its part: its group would tie two parts that no copy ties now.
            if parts[row] == parts[best]:
                tied.append((best, row))
            if row != best and (equal or parts[row] != parts[best]):
                out.add(row)
    kept = [row for row in range(len(examples)) if row not in out]
    groups = [example.group or "" for example in examples]
    for cluster in _connected(tied, len(examples)):
        names = sorted({groups[row] for row in cluster} - {""})
        if not names and len(set(cluster) - out) > 1:
            names = [f"near {examples[cluster[0]].path}"]
        for row in cluster:
            groups[row] = " + ".join(names)
    return kept, parts, groups


def _connected(pairs: list[tuple[int, int]], count: int) -> list[list[int]]:
    return clusters(np.array(pairs, np.int64).reshape(-1, 2), count)
