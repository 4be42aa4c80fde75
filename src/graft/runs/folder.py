"""Which folder a run goes to, and making it: nothing of the user's is ever overwritten."""

from pathlib import Path

from graft.errors import UsageError

# What a finished run holds; docs/run-folder.md says what is in each.
FILES = (
    "config.json",
    "dataset.csv",
    "findings.json",
    "history.jsonl",
    "model.safetensors",
    "model.json",
    "predictions.csv",
    "nearest.json",
    "neighbors.safetensors",
    "metrics.json",
    "report.html",
    "digests.json",
)
# What a report and a comparison need.
NEEDED = (
    "config.json",
    "dataset.csv",
    "findings.json",
    "history.jsonl",
    "model.json",
    "predictions.csv",
    "metrics.json",
)
# What a run may hold besides.
OPTIONAL = ("validation.json", "speed.json", "heat_maps.json", "tensorboard")


def make_run_folder(out: Path, resume: bool = False) -> Path:
    """Make the run folder, or take one that was begun and not finished; without `resume` that
    one's checkpoints are removed.

    Raises UsageError for a finished run, a file, or a folder with something else in it.
    """
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file; --out takes a new folder")
    if (out / "metrics.json").exists():
        raise UsageError(f"{out} holds a finished run; choose another --out, or remove it first")
    if out.is_dir():
        strange = sorted(
            file.name
            for file in out.iterdir()
            if file.name not in (*FILES, *OPTIONAL) and not file.name.startswith(".")
        )
        if strange:
            raise UsageError(
                f"{out} holds something other than a run ({strange[0]}); choose another --out"
            )
        for name in (*FILES, *OPTIONAL[:-1]):
            (out / name).unlink(missing_ok=True)
        if not resume:
            remove_unfinished(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{out}: cannot be made: {error.strerror}") from error
    return out


def remove_unfinished(run: Path) -> None:
    """Remove what only an unfinished run needs: checkpoints, and choices made on the way."""
    # Those cut off while they were written, too; .tmp* is how safetensors begins its files.
    for pattern in (".*.safetensors", ".*.partial", ".tmp*", ".choice.json"):
        for file in run.glob(pattern):
            file.unlink(missing_ok=True)


def is_finished(run: Path) -> bool:
    """Whether a folder holds a run that was trained and evaluated to the end."""
    return (run / "metrics.json").is_file()


def model_files(run: Path) -> list[Path]:
    """The two files of a run's model, described first; empty where the folder holds none."""
    files = [run / "model.json", run / "model.safetensors"]
    return files if files[0].is_file() else []


def has_predictions(run: Path) -> bool:
    """Whether a run has predicted its val and test images."""
    return (run / "predictions.csv").is_file()


def lacks_report(run: Path) -> bool:
    """Whether a run was cut off between its last number and its report."""
    return (run / "metrics.json").exists() and not (run / "report.html").exists()


def short_name(name: str) -> str:
    """The last name of a path or a model's name, without its ending: names a folder."""
    name = str(Path(name).absolute())
    return name.rstrip("/\\").replace("\\", "/").split("/")[-1].split(".")[0] or "run"


def free_folder(source: str, model: str, resume: bool = False) -> Path:
    """Where a run goes that was given no folder: one that holds no finished run; to `resume`, the
    first that lacks something.
    """
    base = Path("runs") / f"{short_name(source)}-{short_name(model)}"
    folder, number = base, 1
    while (folder / "metrics.json").exists() and not (resume and lacks_report(folder)):
        number += 1
        folder = base.with_name(f"{base.name}-{number}")
    return folder
