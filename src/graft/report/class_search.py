"""All classes of a run with very many: classes.csv beside the report, and the search in it."""

import base64
import hashlib
import json
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from graft.data.dataset import SPLITS
from graft.report.run_tables import ClassCount
from graft.runs.run import Record

# Classes; of more there is only the CSV: the page would take too long to load.
MOST = 30_000
SCORES = ("precision", "recall", "f1")


def class_table(metrics: Record, counts: Sequence[ClassCount]) -> tuple[list[str], list[list[Any]]]:
    """The header and the rows of classes.csv: each class's images and scores with intervals."""
    ends = [f"{score}{end}" for score in SCORES for end in ("", "_low", "_high")]
    of = {row.name: row for row in counts}
    rows = []
    for name in metrics["classes"]:
        found, scores = of.get(name), metrics["per_class"][name]
        images = [found.splits.get(split, 0) if found else 0 for split in SPLITS]
        rows.append([name, *images, scores["n"], *(f"{scores[end]:.6g}" for end in ends)])
    return ["class", *SPLITS, "n", *ends], rows


def search(metrics: Record, counts: Sequence[ClassCount]) -> dict[str, str] | None:
    """The data and the script of the search, as the page holds them, and the script's SHA-256 for
    its policy; None for too many classes.
    """
    if len(metrics["classes"]) > MOST:
        return None
    of = {row.name: row.total for row in counts}
    rows = []
    for name in metrics["classes"]:
        row = metrics["per_class"][name]
        shares = [round(1000 * row[key]) / 10 for key in (*SCORES, "f1_low", "f1_high")]
        rows.append([name, of.get(name, 0), row["n"], *shares])
    script = files("graft.report").joinpath("class_search.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    text = json.dumps(rows, ensure_ascii=False, separators=(",", ":"))
    return {"data": text.replace("<", "\\u003c"), "script": script, "sha256": digest}
