"""Tables for the terminal, on stdout."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from graft.evaluation.per_class import NAMES
from graft.quality.check import CheckResult
from graft.utils.terminal import one_line

if TYPE_CHECKING:
    from graft.evaluation.comparison import Comparison

SHOWN_PATHS = 3


def _print(*things: Any) -> None:
    console = Console(highlight=False, soft_wrap=True)
    for thing in things:
        if isinstance(thing, str):
            console.print(one_line(thing), markup=False)
        else:
            console.print(thing)


def check_table(result: CheckResult) -> None:
    """The classes with their counts, then each finding with its first files."""
    counts = Table("class", "images", box=None)
    for name, count in result.dataset.counts.items():
        counts.add_row(_plain(name), f"{count:,}")
    lines: list[Any] = [
        f"{result.dataset.source}: {len(result.dataset.examples):,} images, "
        f"{result.usable:,} usable, {len(result.dataset.classes)} classes",
        counts,
    ]
    for finding in result.findings:
        lines.append(f"{finding.severity} · {finding.kind}: {finding.message}")
        # A class's own images need no listing: its name says which they are.
        if finding.kind not in ("too_few", "few"):
            lines += [f"    {path}" for path in finding.paths[:SHOWN_PATHS]]
            if len(finding.paths) > SHOWN_PATHS:
                lines.append(f"    and {len(finding.paths) - SHOWN_PATHS:,} more (all with --json)")
    if not result.findings:
        lines.append("no findings")
    _print(*lines)


def metrics_table(metrics: dict[str, Any]) -> None:
    """Precision, recall and F1 of each class, then accuracy, baseline and ECE; 95 % intervals."""
    table = Table("class", "precision", "recall", "F1", "images", box=None)
    for column in table.columns[1:]:
        column.justify = "right"
    for name, row in metrics["per_class"].items():
        cells = (_interval(row[k], row[f"{k}_low"], row[f"{k}_high"]) for k in NAMES)
        table.add_row(_plain(name), *cells, f"{row['n']:,}")
    macro = [f"macro_{name}" for name in NAMES]
    cells = (_interval(metrics[name], *metrics["intervals"][name]) for name in macro)
    table.add_row("macro (mean)", *cells, f"{metrics['n']:,}", style="bold")
    accuracy, baseline = metrics["accuracy"], metrics["baseline"]
    lines = [
        table,
        f"accuracy {accuracy['value']:.1%} (95 % interval {accuracy['low']:.1%} to "
        f"{accuracy['high']:.1%}, {accuracy['method'].removesuffix(', 95 %')}) on {metrics['n']:,} "
        + ("images" if metrics["split"] == "all" else f"{metrics['split']} images"),
        f"baseline: always predicting {baseline['majority_class']!r} would reach "
        f"{baseline['accuracy']['value']:.1%}",
        "calibration error (ECE, 0 is best): "
        + _interval(metrics["ece"], *metrics["intervals"]["ece"]),
    ]
    if "seconds" in metrics:
        seconds = metrics["seconds"]
        lines.append(
            f"{seconds['total']:.1f} s in all: {seconds['decode_and_backbone']:.1f} s to read and "
            f"encode the images, {seconds['fit']:.1f} s to train"
        )
    _print(*lines)


def _interval(value: float, low: float, high: float) -> str:
    return f"{value:.3f} ({low:.2f}-{high:.2f})"


def models_table(rows: list[dict[str, Any]]) -> None:
    """Name, whether it is here, parameters, megabytes, input, and what it is good for."""
    table = Table("model", "here", "parameters", "MB", "input", "", box=None)
    table.columns[0].no_wrap = True
    for row in rows:
        fetched = row["source"].startswith(("timm/", "https://"))
        elsewhere = "" if row["here"] or fetched else row["source"]
        table.add_row(
            _plain(row["name"]),
            "yes" if row["here"] else "",
            f"{row['parameters'] / 1e6:.1f} M" if row["parameters"] else "",
            f"{row['megabytes']:,.0f}" if row["megabytes"] else "",
            f"{row['input']} px",
            _plain("; ".join(filter(None, (row["note"], elsewhere)))),
        )
    _print(
        table,
        "here: works on this machine without a network connection; others are fetched once",
        "also: torchvision:NAME, local-dir:FOLDER (timm's form), file:FILE (ONNX, TFLite, "
        "SavedModel, OpenVINO IR), the folder of an earlier run, or for labels of your own "
        "open-clip:FOLDER and open-clip:OWNER/REPOSITORY",
    )


def demo_table(result: dict[str, Any]) -> None:
    """The three ways of the demo side by side, then each claim with whether it held."""
    table = Table(
        f"{result['each']} images a class", "accuracy (95 % interval)", "macro F1", "s", box=None
    )
    for way, row in result["ways"].items():
        table.add_row(
            {"scratch": "from scratch", "frozen": "frozen", "tuned": "last 20 % tuned"}[way],
            _interval(*(row["accuracy"][name] for name in ("value", "low", "high"))),
            _interval(row["macro_f1"], *row["macro_f1_interval"]),
            f"{row['seconds']:.1f}",
        )
    claims = [f"{'yes' if each['held'] else 'NO '}  {each['claim']}" for each in result["claims"]]
    _print(table, *claims, f"{result['seconds']:.0f} s; report: {result['report']}")


def _plain(text: str) -> str:
    from rich.markup import escape

    return escape(one_line(text))


def comparison_table(comparison: "Comparison") -> None:
    """A line for each model, then the test of each pair, then the conclusion."""
    from graft.report import comparison_sentences as sentences

    rows = []
    for run in comparison.runs:
        under = sentences.small_print(run)
        cells = {
            name: f"{text} ({under[name]})" if name in under else text
            for name, text in sentences.cells(run).items()
        }
        short = {k: v.replace("\u00a0%", "").replace(" to ", "-") for k, v in cells.items()}
        rows.append(short | {"model": run.name})  # a name stays as it is
    columns = list(rows[0])
    tables: list[Any] = ["in %, with 95 % intervals"]
    # Each fits a narrow terminal.
    for some in (columns[:4], [columns[0], *columns[4:6]], [columns[0], *columns[6:]]):
        table = Table(*some, box=None)
        table.columns[0].min_width = max(len(row[columns[0]]) for row in rows)
        for column in table.columns[1:]:
            column.justify, column.no_wrap = "right", True
        for row in rows:
            table.add_row(*(_plain(row[name]) for name in some))
        tables += [table, ""]
    verdicts = [sentences.the_verdict(pair, comparison.names) for pair in comparison.pairs]
    _print(*tables, *verdicts, "", *sentences.the_conclusion(comparison))


def cache_table(
    folder: Path, limit: int, held: dict[str, dict[str, int]], removed: int | None
) -> None:
    """Where the cache is, how large it may grow, what it holds, and how many bytes were removed, if
    that was asked for.
    """
    if removed is not None:
        _print(f"removed {removed / 1e6:,.1f} MB")
    _print(f"{folder}, at most {limit / 1e9:,.1f} GB (GRAFT_CACHE_LIMIT)")
    for kind, entry in held.items():
        _print(f"  {kind:12} {entry['bytes'] / 1e6:10,.1f} MB in {entry['files']:,} files")


def rank_table(rows: list[dict[str, Any]]) -> None:
    """Backbones by the leave-one-out accuracy of their features."""
    table = Table("backbone", "accuracy", "95 % interval", "parameters", "seconds", box=None)
    for column in table.columns[1:]:
        column.justify = "right"
    for row in rows:
        if "problem" in row:
            table.add_row(_plain(row["backbone"]), "", _plain(row["problem"]))
            continue
        accuracy = row["accuracy"]
        table.add_row(
            _plain(row["backbone"]),
            f"{accuracy['value']:.1%}",
            f"{accuracy['low']:.1%} to {accuracy['high']:.1%}",
            f"{row['parameters'] / 1e6:.1f} M",
            f"{row['seconds']:.0f}",
        )
    _print(table)


def validation_table(found: dict[str, Any]) -> None:
    """A line for each of cross-validation, repeats, learning curve and leaky split that was run."""
    table = Table("validation", "accuracy (95 % interval)", "range", box=None)
    if folds := found.get("folds"):
        table.add_row(
            f"{folds['folds']}-fold cross-validation",
            _interval(*(folds["accuracy"][name] for name in ("value", "low", "high"))),
            f"{min(folds['each']):.3f} to {max(folds['each']):.3f}",
        )
    if repeats := found.get("repeats"):
        table.add_row(
            f"{len(repeats['each'])} other {repeats['what']}",
            _interval(repeats["mean"], repeats["low"], repeats["high"]),
            f"{min(repeats['each']):.3f} to {max(repeats['each']):.3f}",
        )
    points = found.get("learning_curve", {}).get("points", [])
    for size in sorted({point["images"] for point in points}):
        each = [point for point in points if point["images"] == size]
        values = [point["accuracy"] for point in each]
        # The interval of the mean of several subsets is not that of any of them.
        shown = (
            _interval(values[0], each[0]["low"], each[0]["high"])
            if len(each) == 1
            else f"{sum(values) / len(values):.3f}, mean of {len(each)}"
        )
        table.add_row(f"{size:,} training images", shown, f"{min(values):.3f} to {max(values):.3f}")
    if (leak := found.get("leaky_split")) and leak["accuracy"]:
        table.add_row(
            "near-duplicates ignored",
            _interval(*(leak["accuracy"][name] for name in ("value", "low", "high"))),
            "",
        )
    _print(table)


def tune_table(found: dict[str, Any]) -> None:
    """The best trials of a search, then how the winner was chosen and what its figure is worth."""
    table = Table("classifier", "accuracy", "tested", "seconds", box=None)
    for column in table.columns[1:]:
        column.justify = "right"
    rows = found["trials"]
    ranked = sorted(range(len(rows)), key=lambda m: (-rows[m]["accuracy"], rows[m]["loss"]))
    for m in dict.fromkeys([0, found["winner"], *ranked[:8]]):
        row = rows[m]
        mark = " (winner)" * (m == found["winner"]) + " (default)" * (m == 0)
        table.add_row(
            _plain(row["described"] + mark),
            f"{row['accuracy']:.1%}",
            f"{row['tested']:,}",
            f"{row['seconds']:.1f}",
        )
    from graft.tuning.result import budget

    lines = [table, *found["reasons"], found["honest"], *found["outlook"], budget(found)]
    _print("accuracy by cross-validation inside train and val", *lines)
