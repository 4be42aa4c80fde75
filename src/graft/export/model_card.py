"""The model card of a run: README.md as the model hub reads it, with a model-index in its head."""

import re
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from graft.data.dataset import SPLITS
from graft.models.ood import expected_refusals
from graft.report import run_sentences, run_tables
from graft.report.numbers import counted, decimal, percent, span
from graft.runs.run import Run

# The hub's word for a model whose license nobody has stated.
UNKNOWN = "unknown"
HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")


def model_card(run: Run, license_id: str, onnx: bool, timm: bool) -> str:
    """README.md of a run: Markdown under YAML that huggingface_hub's own classes write.

    `license_id` is one of the hub's, such as apache-2.0, or UNKNOWN. `onnx` and `timm` say which
    other forms lie beside the card.
    """
    sections = [
        _opening(run),
        _section("How well it works", _results(run)),
        _section("What its probabilities mean", _calibration(run)),
        _section("When it abstains", _abstention(run)),
        _section("Data", _data(run)),
        _section("Limits", _limits(run)),
        _section("How to use it", _usage(run, onnx, timm)),
        _section("Training", _training(run)),
        _section("How to cite", _citation(run, license_id)),
    ]
    body = "\n\n".join(sections).replace("\u00a0", " ")
    card = ModelCard(f"---\n{card_data(run, license_id).to_yaml()}\n---\n\n{body}\n")
    return str(card)


def card_data(run: Run, license_id: str) -> ModelCardData:
    """What the hub indexes: the task, the classes' data set and the test results."""
    metrics, name = run.metrics, dataset_name(run)
    accuracy, intervals = metrics["accuracy"], metrics.get("intervals") or {}
    macro_f1, ece = intervals.get("macro_f1"), intervals.get("ece")
    values: list[tuple[str, str, float, Sequence[float] | None]] = [
        ("accuracy", "Accuracy", accuracy["value"], (accuracy["low"], accuracy["high"])),
        ("f1", "Macro F1", metrics["macro_f1"], macro_f1),
        ("expected_calibration_error", "Expected calibration error", metrics["ece"], ece),
    ]
    results = [
        EvalResult(
            task_type="image-classification",
            task_name="Image classification",
            dataset_type=re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "images",
            dataset_name=name,
            dataset_split="test",
            metric_type=kind,
            metric_name=title,
            metric_value=round(float(value), 6),
            metric_args={"images": metrics["n"]}
            | ({"interval_95": [round(float(x), 6) for x in interval]} if interval else {}),
        )
        for kind, title, value, interval in values
    ]
    source = str(run.model["backbone"].get("source", ""))
    return ModelCardData(
        model_name=run.name,
        license=license_id,
        library_name="graft",
        pipeline_tag="image-classification",
        tags=["image-classification", "graft", "calibrated"],
        base_model=source if HUB_NAME.fullmatch(source) else None,
        eval_results=results,
    )


def dataset_name(run: Run) -> str:
    """The source's own name, without the folders that lead to it."""
    return PurePath(str(run.config.get("source", ""))).stem or "images"


def plain(text: str) -> str:
    """A name from outside as Markdown shows it, whatever signs it is made of, on one line."""
    return re.sub(r"([\\`*_{}\[\]<>()#|~!&])", r"\\\1", " ".join(text.split()))


def _section(title: str, lines: Sequence[str]) -> str:
    return f"## {title}\n\n" + "\n\n".join(lines)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rule, *rows))


def _opening(run: Run) -> str:
    classes = [plain(name) for name in run.model["classes"]]
    known = ", ".join(classes[:20]) + (f" and {len(classes) - 20} more" if classes[20:] else "")
    count = counted(len(classes), "class", "classes")
    return (
        f"# {plain(run.name)}\n\nAn image classifier with {count}: {known}. It says how sure it is"
        + (", and abstains from images unlike those it learned from" if _detects(run) else "")
        + f". Made by graft {run.config.get('graft', '')}, which wrote this card from the "
        "training run."
    )


def _results(run: Run) -> list[str]:
    metrics = run.metrics

    def cell(row: dict[str, Any], name: str) -> str:
        interval = span(row.get(f"{name}_low"), row.get(f"{name}_high"))
        return f"{percent(row[name])} ({interval})"

    rows = [
        [plain(name), *(cell(row, key) for key in ("precision", "recall", "f1")), str(row["n"])]
        for name, row in metrics["per_class"].items()
    ]
    return [
        _from_report(run_sentences.headline(metrics)),
        _from_report(run_sentences.against_baseline(metrics)),
        _table(("class", "precision", "recall", "F1", "test images"), rows),
        "In brackets: 95 % intervals.",
    ]


def _calibration(run: Run) -> list[str]:
    return [
        "A probability is how often the classifier is right when it is as sure as that, for images "
        "like those of its data.",
        _from_report(run_sentences.the_reliability(run.metrics)),
        _from_report(run_sentences.the_temperature(float(run.model["temperature"]))),
    ]


def _abstention(run: Run) -> list[str]:
    if not _detects(run):
        return [
            "This run has no detector of images out of distribution: the classifier always names "
            "one of its classes, whatever an image shows."
        ]
    refused = percent(expected_refusals(len(run.predictions("val")[0])))
    return [
        "`ood_score` says how unlike the training images an image is. Above 1 the classifier "
        f"abstains (“none of these”). This also happens to about {refused} of images like the "
        "training images.",
        "An image of none of the classes that looks like the training images is not noticed: the "
        "score is no proof that an image is of one of the classes.",
    ]


def _data(run: Run) -> list[str]:
    counts = run_tables.class_counts(run.images)
    rows = [
        [plain(c.name), *(str(c.splits[split]) for split in SPLITS), str(c.total)] for c in counts
    ]
    totals = [str(sum(c.splits[split] for c in counts)) for split in SPLITS]
    rows.append(["all", *totals, str(sum(c.total for c in counts))])
    split = run_sentences.the_split(run) + run_sentences.kept_apart(run.images)
    lines = [
        f"Source: {plain(dataset_name(run))}. The images are not part of this repository.",
        _table(("class", *SPLITS, "all"), rows),
        " ".join(map(_from_report, split)),
    ]
    by = (run.config.get("settings") or {}).get("group_by")
    if by:
        lines.append(f"Images were grouped by {plain(str(by))}; a group is in one split only.")
    if found := run_tables.finding_kinds(run.findings):
        named = ", ".join(
            run_tables.finding_name(kind.name) + _images_of(kind.findings) for kind in found
        )
        lines.append(f"Findings of the data’s audit, by kind: {named}.")
    return lines


def _images_of(findings: Sequence[dict[str, Any]]) -> str:
    """How many images the findings name, in brackets; nothing for findings that name none."""
    images = len({path for finding in findings for path in finding.get("paths") or ()})
    return f" ({counted(images, 'image')})" if images else ""


def _limits(run: Run) -> list[str]:
    limits = [
        "The numbers above hold for images from the same source. Another camera, place, time or "
        "population can change them; measure on images of your own before you rely on it.",
        "It knows its classes only, and names one class an image.",
    ]
    few = [plain(name) for name, row in run.metrics["per_class"].items() if row["n"] < 30]
    if few:
        limits.append(f"Fewer than 30 test images of {', '.join(few)}: see the wide intervals.")
    lacking = run.metrics.get("classes_without_images") or []
    if lacking:
        limits.append(f"Not tested at all: {', '.join(map(plain, lacking))}.")
    limits.append("Nobody has checked it for decisions about people, health or safety.")
    return ["\n".join(f"- {limit}" for limit in limits)]


def _usage(run: Run, onnx: bool, timm: bool) -> list[str]:
    lines = [
        "Download the files of this repository into a folder, for example by `hf download "
        "OWNER/NAME --local-dir classifier`. With graft, in that folder:",
        "```bash\ngraft predict . IMAGE\n```",
        '```python\nimport graft\n\nprint(graft.load(".").predict("IMAGE"))\n```',
    ]
    if onnx:
        lines += [
            "Without graft, by onnxruntime and Pillow alone; `check.py` says whether the model "
            "works on your machine as it did where it was made:",
            "```bash\npip install onnxruntime numpy pillow\npython check.py\n"
            "python predict.py IMAGE\n```",
            "`model.onnx` takes upright RGB pixels (N, height, width, 3) uint8 and gives "
            "`probabilities`, `ood_score` and `features`; `preprocess.json` says how it is fed, "
            "and `vectors/` holds images with the answers that must come out.",
        ]
    else:
        lines.append("There is no ONNX file here: it was made without graft[onnx].")
    if timm:
        lines += [
            "Its fine-tuned backbone, without the head, in timm:",
            '```python\nimport timm\n\nbody = timm.create_model("local-dir:timm", pretrained=True)'
            "\n```",
        ]
    return lines


def _training(run: Run) -> list[str]:
    told = " ".join(map(_from_report, run_sentences.the_training(run)))
    resolved = run.config.get("resolved") or {}
    rows = [[name.replace("_", " "), plain(_said(value))] for name, value in resolved.items()]
    return [told, _table(("setting", "value"), [row for row in rows if row[0] != "model"])]


def _citation(run: Run, license_id: str) -> list[str]:
    version = run.config.get("graft", "")
    cited = (
        "@software{graft,\n  author = {{The graft authors}},\n  title = {graft: a folder of "
        f"labeled images in, an image classifier you can trust out}},\n  version = {{{version}}}"
        "\n}"
    )
    backbone = run.model["backbone"]
    name = PurePath(str(backbone["name"]).removeprefix("local-dir:").removeprefix("file:")).name
    lines = [
        f"```bibtex\n{cited}\n```",
        f"The backbone is {plain(str(backbone['architecture']))} "
        f"(weights: {plain(name)}); cite its authors, too.",
    ]
    if license_id == UNKNOWN:
        lines.append(
            "Nobody has stated a license. Whoever publishes this model chooses one that the data "
            "and the backbone’s weights allow, and writes it at the top of this card."
        )
    return lines


def _detects(run: Run) -> bool:
    return run.model.get("ood_limit") is not None


def _from_report(sentence: str) -> str:
    # The report's sentences name classes: what is Markdown in a name must not be it here.
    return re.sub(r"“([^”]*)”", lambda name: f"“{plain(name[1])}”", sentence)


def _said(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "none", True: "yes", False: "no"}[value]
    return decimal(value) if isinstance(value, float) else str(value)
