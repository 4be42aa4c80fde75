"""Is a run folder whole, and as graft wrote it? `check` says what is not."""

from collections.abc import Iterator
from pathlib import Path

from graft.errors import GraftError
from graft.runs.confusion_counts import ConfusionCounts
from graft.runs.digest_file import DIGESTED, NAME, digest_of, read_digests
from graft.runs.folder import NEEDED, lacking, table_file
from graft.runs.image_table import coded, held_back
from graft.runs.reading import checked_size, read_json, shown
from graft.runs.run import Run

# At most so many bytes of weights: more than any network of timm has.
LARGEST_WEIGHTS = 2**36


def check(run: Path) -> list[str]:
    """What is off in a finished run, a line each; empty for a run that is whole.

    Each file is held against its digest in digests.json, then against its schema, and the tables
    against each other: model.json, predictions.csv, dataset.csv and metrics.json have to name the
    same classes, images and numbers, which shows swapped classes in a run without digests, too.
    """
    problems = list(_against_digests(run))
    missing = lacking(file.name for file in run.glob("*") if file.is_file())
    problems += [f"{name} is missing" for name in missing]
    damaged = list(_against_schemas(run))
    problems += [problem for problem in damaged if problem not in problems]
    if not missing and not damaged:
        problems += _against_each_other(Run(run))
    return list(dict.fromkeys(problems))


def _against_digests(run: Path) -> Iterator[str]:
    try:
        digests = read_digests(run)
    except ValueError as error:
        yield str(error)
        return
    if digests is None:
        yield (
            f"{NAME} is missing: an older graft made this run, or somebody took it away, so it "
            "cannot be told whether files were changed"
        )
        return
    for name in DIGESTED:
        file = run / name
        if not file.exists():
            if name in digests and name not in NEEDED:
                yield f"{name} is missing"
        elif name not in digests:
            yield f"{name} is not in {NAME}: graft did not write it"
        else:
            try:
                checked_size(file, LARGEST_WEIGHTS)
                same = digest_of(file) == digests[name]
            except (OSError, ValueError) as error:
                yield f"{name}: cannot be read: {error}"
                continue
            if not same:
                yield f"{name} was changed after the run was finished"


def _against_schemas(run: Path) -> Iterator[str]:
    from graft.runs.schema_model import check_model

    found = Run(run)
    for name, read in (
        ("config.json", lambda: found.config),
        (table_file(run, "dataset.csv").name, lambda: found.images),
        ("findings.json", lambda: found.findings),
        ("history.jsonl", lambda: found.history),
        (table_file(run, "predictions.csv").name, lambda: found.classes),
        ("nearest.json", lambda: found.nearest),
        ("metrics.json", lambda: found.metrics),
        ("validation.json", lambda: found.validation),
        ("speed.json", lambda: found.speed),
        ("heat_maps.json", lambda: found.heat_maps),
        ("model.json", lambda: check_model(read_json(run / "model.json"))),
    ):
        if (run / name).exists():
            try:
                read()
            except (GraftError, ValueError) as error:
                yield str(error).removeprefix(f"{run}/")


def _against_each_other(run: Run) -> Iterator[str]:
    classes = run.classes
    images, table = (table_file(run.path, f"{n}.csv").name for n in ("dataset", "predictions"))
    for name, own in (
        ("model.json", run.model["classes"]),
        ("metrics.json", run.metrics["classes"]),
    ):
        if own != classes:
            yield f"{name}: its classes, or their order, are not those of {table}"
    known = {(path, split): label for path, split, label in held_back(run.images)}
    if strange := set(map(str, coded(run.images, "label")[1])) - set(classes):
        yield f"{images}: {shown(min(strange))!r} is none of the classes of {table}"
    for split in ("val", "test"):
        paths, labels, _ = run.predictions(split)
        for path, label in zip(paths, labels.tolist(), strict=True):
            if known.get((path, split), classes[label]) != classes[label]:
                yield f"{table}: the label of {shown(path)!r} is not that of {images}"
                break
            if (path, split) not in known:
                yield f"{table}: {shown(path)!r} is not in {split} of {images}"
                break
    _, labels, probabilities = run.predictions("test")
    found = ConfusionCounts.of(labels, probabilities.argmax(1), len(classes))
    if found.to_json() != run.metrics["confusion"]:
        yield f"metrics.json: confusion is not that of the test images in {table}"
