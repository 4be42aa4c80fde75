"""`graft check --fix`: a table of the pictures worth learning from; the files stay as they are."""

import csv
import io
import os
from pathlib import Path

from graft.data.check import CheckResult
from graft.data.scan import TABLE_COLUMNS
from graft.files import write_text

# Kinds whose pictures are left out, and kinds of copies of which the first stays.
OUT = ("empty", "truncated", "unreadable", "oversized", "two_labels", "blank", "dark")
COPIES = ("duplicates", "two_parts")
NEAR = ("near_duplicates", "near_two_labels", "near_two_parts")


def write_fixed(result: CheckResult, table: Path) -> str:
    """Write a table with a row a usable picture and say what was left out.

    Near duplicates share a `group`, so they stay in one part. Labels that are likely wrong are
    kept: only a person can tell; `issues` names them.
    """
    out: set[str] = set()
    group: dict[str, str] = {}
    noted: dict[str, list[str]] = {}
    for issue in result.issues:
        if issue.kind in OUT:
            out.update(issue.paths)
        if issue.kind in COPIES:
            out.update(path for one in issue.sets for path in one[1:])
        if issue.kind in NEAR:
            group.update({path: f"near {one[0]}" for one in issue.sets for path in one})
        for path in issue.paths:
            noted.setdefault(path, []).append(issue.kind)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*TABLE_COLUMNS, "issues"])
    kept = 0
    for example in result.dataset.examples:
        if example.path in out:
            continue
        kept += 1
        writer.writerow(
            [
                os.path.relpath(example.file.absolute(), table.absolute().parent),
                example.label,
                example.part or "",
                example.group or group.get(example.path, ""),
                " ".join(dict.fromkeys(noted.get(example.path, ()))),
            ]
        )
    write_text(table, text.getvalue())
    return f"{kept:,} pictures, {len(result.dataset.examples) - kept:,} left out"
