"""`graft compare`: models trained on one split, or finished runs, side by side."""

import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from graft.errors import UsageError
from graft.files import write_json
from graft.progress import Progress
from graft.report.comparison import (
    Comparison,
    picture_files,
    read_comparison,
    write_comparison,
)
from graft.report.inputs import read_run
from graft.runs import seconds_of

# Pictures that prediction is timed on, after a first batch that also pays for compiling.
WARM, TIMED = 32, 512


def compare_runs(folders: Sequence[Path], out: Path) -> Comparison:
    """Compare finished runs and write the comparison into `out`.

    Raises UsageError for fewer than two, DataError for folders that are no finished runs or were
    tested on different pictures.
    """
    result = read_comparison(folders)
    write_comparison(result, out, picture_files(result.rows[0].run))
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

    Raises UsageError for a budget or models that cannot be meant, and what training raises.
    """
    from graft.api import train
    from graft.config import FROM_SCRATCH, TrainConfig
    from graft.learning.cache import cache_folder
    from graft.models.backbone import find_backbone

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
    for config in configs:  # so is whether their weights are there
        if config.model not in FROM_SCRATCH:
            find_backbone(config.model, cache_folder())
    began = time.monotonic()
    folders: list[Path] = []
    files: dict[str, Path] = {}
    for name, config in zip(names, configs, strict=True):
        folder = out / re.sub(r"[^\w.@%+-]+", "_", Path(name).name)
        if limit and len(folders) >= 2 and time.monotonic() - began > limit:
            progress.say(f"{name} is left out: the time budget of {time_budget} is spent")
            continue
        progress.say(f"{len(folders) + 1} of {len(names)}: {name}")
        if not (folder / "metrics.json").is_file():
            given = {k: v for k, v in config.to_json().items() if k != "model"}
            run = train(
                source, out=folder, model=config.model, progress=progress, resume=True, **given
            )
            files |= run.files
        if not (folder / "speed.json").is_file():
            there = files or picture_files(read_run(folder))
            measure_speed(folder, list(there.values()), progress)
        folders.append(folder)
    result = read_comparison(folders)
    write_comparison(result, out, files or picture_files(result.rows[0].run))
    return result


def measure_speed(run: Path, files: Sequence[Path], progress: Progress) -> None:
    """Predict up to TIMED of the files, and write how many a second into RUN/speed.json."""
    from graft.models.classifier import load

    classifier = load(run)
    there = [file for file in files if file.is_file()]
    # A small set is gone through as often as it takes for a time worth giving.
    timed = (there * -(-TIMED // max(1, len(there))))[:TIMED]
    for _ in classifier.predict_files(timed[:WARM]):
        pass
    start = time.perf_counter()
    count = sum(1 for _ in classifier.predict_files(timed))
    seconds = time.perf_counter() - start
    engine = classifier.engine.name
    write_json(
        run / "speed.json",
        {"images_per_second": count / seconds, "images": count, "engine": engine},
    )
    progress.say(f"prediction: {count / seconds:,.0f} images/s, {engine}")
