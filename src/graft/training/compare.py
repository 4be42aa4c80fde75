"""`graft compare`: models trained on one split, or finished runs, side by side."""

import contextlib
import re
import time
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from graft.config import FROM_SCRATCH, TrainConfig
from graft.data.dataset import Example
from graft.errors import UsageError
from graft.report.comparison_page import (
    Comparison,
    image_files,
    read_comparison,
    write_comparison,
)
from graft.report.run_files import RunFiles, read_run
from graft.runs.run import lacks_report, seconds_of
from graft.utils.files import write_json
from graft.utils.progress import Progress

# Images that prediction is timed on, after a first batch that also pays for compiling.
WARM, TIMED = 32, 512


def compare_runs(folders: Sequence[Path], out: Path, progress: Progress) -> Comparison:
    """Compare finished runs and write the comparison into `out`; where nobody has measured how
    fast a run predicts, and its images are still there, that is measured.

    Raises UsageError for fewer than two, DataError for folders that are no finished runs or were
    tested on different images.
    """
    result = read_comparison(folders)
    files = image_files(result.rows[0].run)
    there = [file for file in files.values() if file.is_file()]
    unknown = [row.folder for row in result.rows if row.speed is None]
    if unknown and there:
        for folder in unknown:
            measure_speed(folder, there, progress)
        result = read_comparison(folders)
    write_comparison(result, out, files)
    return result


def compare_source(
    source: str | Path,
    models: Sequence[str],
    out: Path,
    progress: Progress,
    time_budget: str | None = None,
    settings: dict[str, Any] | None = None,
) -> Comparison:
    """Train each model on the same split of `source`, below `out`, and compare them.

    A model's name may end in @ and what is unfrozen ("mobilenetv2_100@20%"). Models that an
    earlier, interrupted comparison in `out` has finished are not trained again. After
    `time_budget` no further model is begun; at least two are trained.

    Raises UsageError for a budget or models that cannot be meant, or an `out` with runs of other
    settings or images, and what training raises.
    """
    from graft.api import train
    from graft.data.sources import scan
    from graft.features.cache import cache_folder
    from graft.training.recipe import backbone_of, resolved

    limit = seconds_of(time_budget)
    names = [name.strip() for name in models if name.strip()]
    if len(names) < 2 or len(set(names)) < len(names):
        raise UsageError(f"--models takes at least two different names, not {','.join(models)!r}")
    configs = []
    for name in names:
        model, _, unfreeze = name.partition("@")
        chosen = dict(settings or {}) | {"model": model, "unfreeze": unfreeze or "none"}
        if model not in FROM_SCRATCH:
            chosen.pop("image_size", None)
        configs.append(TrainConfig.from_dict(chosen))  # all are checked before any is trained
    # So is whether their weights are there.
    backbones = [backbone_of(config, cache_folder()) for config in configs]
    places = [out / name for name in _folder_names(names)]
    trained = [place for place in places if (place / "metrics.json").is_file()]
    if trained:
        now = _listed(scan(source, cache_folder() / "sources").examples)
        for place, config, backbone in zip(places, configs, backbones, strict=True):
            asked = resolved(config, backbone)
            if place in trained and (reason := _another(read_run(place), asked, now)):
                raise UsageError(f"{place} holds a run {reason}; choose another --out")
    began = time.monotonic()
    folders: list[Path] = []
    files: dict[str, Path] = {}
    for name, config, folder in zip(names, configs, places, strict=True):
        if limit and len(folders) >= 2 and time.monotonic() - began > limit:
            progress.say(f"{name} is left out: the time budget of {time_budget} is spent")
            continue
        progress.say(f"{len(folders) + 1} of {len(names)}: {name}")
        if not (folder / "metrics.json").is_file() or lacks_report(folder):
            given = {k: v for k, v in config.to_json().items() if k != "model"}
            run = train(
                source, out=folder, model=config.model, progress=progress, resume=True, **given
            )
            files |= run.files
        if not (folder / "speed.json").is_file():
            there = files or image_files(read_run(folder))
            measure_speed(folder, list(there.values()), progress)
        folders.append(folder)
    result = read_comparison(folders)
    write_comparison(result, out, files or image_files(result.rows[0].run))
    return result


def _folder_names(names: Sequence[str]) -> list[str]:
    """A folder's name for each model: the last split of its own, with a digest where two agree."""
    short = [re.sub(r"[^\w.@%+-]+", "_", Path(name).name) for name in names]
    return [
        own if short.count(own) == 1 else f"{own}-{sha256(name.encode()).hexdigest()[:6]}"
        for own, name in zip(short, names, strict=True)
    ]


def _listed(examples: Sequence[Example]) -> set[tuple[str, str, str]]:
    found = set()
    for example in examples:
        with contextlib.suppress(OSError):  # what cannot be read was not trained on either
            data = example.file.read_bytes()
            found.add((example.path, example.label, sha256(data).hexdigest()))
    return found


def _another(run: RunFiles, config: TrainConfig, now: set[tuple[str, str, str]]) -> str:
    """What makes a finished run another than the one asked for, if anything does."""
    stored = run.config["settings"]
    for name, value in config.to_json().items():
        if stored.get(name, value) != value:
            return f"with {name} {stored[name]}, not {value}"
    used = {(row["path"], row["label"], row["sha256"]) for row in run.images}
    left_out = {path for finding in run.findings for path in finding["paths"]}
    if used - now or {path for path, _, _ in now - used} - left_out:
        return "of other images than these"
    return ""


def measure_speed(run: Path, files: Sequence[Path], progress: Progress) -> None:
    """Predict up to TIMED of the files, and write how many a second into RUN/speed.json."""
    from graft.inference.saved_model import load

    classifier = load(run)
    there = [file for file in files if file.is_file()]
    # Of every class; a small set is gone through as often as it takes for a time worth giving.
    there = [there[i] for i in np.random.default_rng(0).permutation(len(there))]
    timed = (there * -(-TIMED // max(1, len(there))))[:TIMED]
    if not classifier.backend.exact:
        classifier.exact()  # what computes close calls again: made once, whenever the first comes
    for _ in classifier.encoded_files(timed[:WARM]):
        pass
    start = time.perf_counter()
    count = sum(1 for _ in classifier.encoded_files(timed))
    seconds = time.perf_counter() - start
    backend = classifier.backend.name
    write_json(
        run / "speed.json",
        {"images_per_second": count / seconds, "images": count, "backend": backend},
    )
    progress.say(f"prediction: {count / seconds:,.0f} images/s, {backend}")
