"""Several models trained on the same split: what `graft compare SOURCE` compares."""

import contextlib
import re
import time
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from graft.choices import FROM_SCRATCH
from graft.config import SplitConfig, TrainConfig
from graft.data.dataset import Example
from graft.data.sources import listing_of, load_dataset
from graft.errors import UsageError
from graft.models.network_file import FILE
from graft.runs.folder import is_finished, lacks_report
from graft.runs.run import Run
from graft.training.defaults import network, resolve
from graft.training.recipe import finish, train
from graft.utils.cache_folder import cache_folder, sources_folder
from graft.utils.progress import Progress


def train_models(
    source: str | Path,
    models: Sequence[str],
    out: Path,
    progress: Progress,
    seconds: float | None = None,
    settings: dict[str, Any] | None = None,
    split_config: SplitConfig | None = None,
) -> list[Run]:
    """Train each model on the same split of `source`, below `out`.

    A model's name may end in @ and what is unfrozen ("mobilenetv2_100@20%"). Models that an
    earlier, interrupted comparison in `out` has finished are not trained again. After `seconds`
    no further model is begun; at least two are trained.

    Raises UsageError for models that cannot be meant, or an `out` with runs of other settings or
    images, and what training raises.
    """
    split_config = split_config or SplitConfig(
        seed=(settings or {}).get("seed", SplitConfig().seed)
    )
    names = [name.strip() for name in models if name.strip()]
    if len(names) < 2 or len(set(names)) < len(names):
        raise UsageError(f"--models takes at least two different names, not {','.join(models)!r}")
    # All are checked before any is trained.
    configs = [_config(name, settings or {}) for name in names]
    folders = [out / name for name in _folder_names(names)]
    _check_earlier(source, configs, split_config, folders)
    began = time.monotonic()
    runs: list[Run] = []
    for name, config, folder in zip(names, configs, folders, strict=True):
        if seconds and len(runs) >= 2 and time.monotonic() - began > seconds:
            progress.say(f"{name} is left out: the time budget is spent")
            continue
        progress.say(f"{len(runs) + 1} of {len(names)}: {name}")
        run = Run(folder)
        if not is_finished(folder):
            run = train(source, config, split_config, folder, progress, resume=True)
        elif lacks_report(folder):
            run = finish(run, source, config, split_config)
        runs.append(run)
    return runs


def _config(name: str, settings: dict[str, Any]) -> TrainConfig:
    model, _, unfreeze = name.partition("@")
    chosen = settings | {"model": model, "unfreeze": unfreeze or "none"}
    if model not in FROM_SCRATCH:
        chosen.pop("image_size", None)
    if not model.startswith(FILE):
        chosen.pop("pixels", None)
    return TrainConfig(**chosen)


def _check_earlier(
    source: str | Path,
    configs: Sequence[TrainConfig],
    split_config: SplitConfig,
    folders: Sequence[Path],
) -> None:
    """Raise UsageError for a finished run in `folders` that is not the one asked for."""
    # Whether all weights are there is checked here, too.
    asked = [resolve(config, network(config, cache_folder())) for config in configs]
    earlier = [folder for folder in folders if is_finished(folder)]
    listed = (
        load_dataset(source, sources_folder(), **listing_of(split_config.to_json()))
        if earlier
        else None
    )
    now = _listed(listed.examples) if listed else set()
    for folder, config in zip(folders, asked, strict=True):
        if folder in earlier and (
            reason := _another(Run.finished(folder), config, split_config, now)
        ):
            raise UsageError(f"{folder} holds a run {reason}; choose another --out")


def _folder_names(names: Sequence[str]) -> list[str]:
    """A folder's name for each model: the last name of its own, with a digest where two agree."""
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


def _another(
    run: Run, config: TrainConfig, split_config: SplitConfig, now: set[tuple[str, str, str]]
) -> str:
    """What makes a finished run another than the one asked for, if anything does."""
    stored = run.resolved
    for name, value in (*config.to_json().items(), *split_config.to_json().items()):
        if stored.get(name, value) != value:
            return f"with {name} {stored[name]}, not {value}"
    used = {(row["path"], row["label"], row["sha256"]) for row in run.images}
    left_out = {path for finding in run.findings for path in finding["paths"]}
    if used - now or {path for path, _, _ in now - used} - left_out:
        return "of other images than these"
    return ""
