"""The table of all peers, from results.jsonl: the latest of each peer and data set."""

import json
from pathlib import Path
from typing import Any

HEADINGS = (
    "",
    "test accuracy",
    "ECE",
    "seconds to 90 / 93 / 95 %",
    "seconds in all",
    "memory",
    "lines",
    "leaks named",
    "broken files survived",
)


def write_result(path: Path, found: dict[str, Any]) -> None:
    """Append what was measured of a peer."""
    with path.open("a") as lines:
        lines.write(json.dumps(found) + "\n")


def read_results(path: Path) -> list[dict[str, Any]]:
    """The latest of each peer, in the order in which they were first measured."""
    latest: dict[tuple[str, str], dict[str, Any]] = {}
    for line in path.read_text().splitlines() if path.exists() else []:
        found = json.loads(line)
        latest[found["data"], found["peer"]] = found
    return list(latest.values())


def show_table(results: list[dict[str, Any]]) -> str:
    """A Markdown table, a line a peer."""
    rows = [HEADINGS, tuple("---" for _ in HEADINGS), *(_row(found) for found in results)]
    table = "\n".join("| " + " | ".join(row) + " |" for row in rows)
    said = "\n".join(f"{found['peer']}: {found['versions']}" for found in results)
    return f"{table}\n\n{said}"


def _row(found: dict[str, Any]) -> tuple[str, ...]:
    reached = " / ".join("never" if s is None else f"{s:.0f}" for s in found["reached"].values())
    known = found["accuracy"] is not None
    survived = found.get("survived")
    return (
        found["peer"],
        f"{found['accuracy']:.1%}" if known else f"failed (exit {found['exit']})",
        f"{found['ece']:.3f}" if known else "",
        reached,
        f"{found['seconds']:.0f}" if known else "",
        f"{found['memory_mb']:,} MB",
        str(found["lines"]),
        str(found["leaks"]),
        "not tried" if survived is None else f"{len(survived)} of 5",
    )
