"""From a source to a finished run. The page to read first: it is the whole job, in order."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from graft.choices import FROM_SCRATCH
from graft.config import SplitConfig, TrainConfig
from graft.data.dataset import Dataset
from graft.data.groups import group_ids, grouped
from graft.data.remote_address import public_address
from graft.data.sources import listing_of, load_dataset
from graft.data.split import Split, split_dataset
from graft.errors import UsageError
from graft.features.cache import trim
from graft.features.table import FeatureTable, extract
from graft.inference.saved_model import save
from graft.models.network_file import FILE, find_file
from graft.models.packaged_weights import PACKAGES
from graft.models.ranks import agreed, in_turn, rank_0
from graft.models.runtime import Runtime, detect_runtime
from graft.models.weights import LOCAL
from graft.quality.audit import Audit, audit
from graft.quality.corrected import Applied, applied_to, digest_of, existing_journal, recorded
from graft.quality.corrections import Journal
from graft.quality.finding import raise_if_blocked
from graft.quality.listing import check_listing
from graft.runs.claim import claimed
from graft.runs.folder import MARK, folders_for, model_files
from graft.runs.run import Run
from graft.training.defaults import network, resolve
from graft.training.plan import Plan, backend_notes, make_plan
from graft.training.recorder import Recorder, recording
from graft.training.results import (
    Result,
    evaluate_test,
    predict_splits,
    write_neighbors,
    write_predictions,
)
from graft.training.settings_record import (
    dataset_digest,
    described_fit,
    settings_record,
    trained_parameters,
)
from graft.training.stages import Trained, fit_stages
from graft.utils.cache_folder import cache_folder, cache_in_use, cache_limit, sources_folder
from graft.utils.json_digest import json_digest
from graft.utils.other_work import other_work
from graft.utils.progress import SILENT, Progress


@dataclass(frozen=True)
class Chosen:
    """How a run is fitted, and what its config.json says of who chose that, if anybody did."""

    fit: Callable[[Plan, FeatureTable, Split, Recorder], Trained]
    described: Mapping[str, Any]


USUAL = Chosen(fit_stages, {})


@cache_in_use()
def train(
    source: str | Path,
    config: TrainConfig,
    split_config: SplitConfig,
    out: Path | None,
    progress: Progress,
    resume: bool = False,
    tensorboard: bool = False,
    corrections: Path | None = None,
    chosen: Chosen = USUAL,
    runtime: Runtime | None = None,
) -> Run:
    """Train a classifier on `source`, evaluate it on its test split once, fill the run folder.

    With `resume` an interrupted run in `out` resumes, to the same weights. `tensorboard` writes
    event files, too. Without `out` the run goes to runs/SOURCE-MODEL, or if that is taken to
    runs/SOURCE-MODEL-2 and so on. `chosen` is what is fitted and how, where `graft tune` says so.
    `corrections`: a journal of decisions, applied first. `runtime`: which of several processes
    this is, all of which are here with the same arguments; rank 0 alone writes the run.

    Raises DataError for blocking findings (all of them in the message), ModelError for a missing
    backbone, UsageError for impossible settings or a run folder in use.
    """
    started, began = datetime.now(UTC), time.perf_counter()
    runtime = runtime or detect_runtime()
    journal = existing_journal(corrections) if corrections else None
    dataset = _listed_alike(source, split_config, journal, progress, runtime)
    backbone = in_turn(runtime, lambda: network(config, cache_folder()))
    limit = cache_limit()  # before anything is made, as all that can be refused
    folders = [out] if out else folders_for(public_address(source), config.model)
    with _folder(folders, resume, _read_by(source, config.model, dataset), runtime) as folder:
        run = Run(folder)
        plan = make_plan(resolve(config, backbone), backbone, dataset, run, progress, runtime)
        progress.say_all(other_work())
        table = extract(dataset, plan.encoder, split_config, progress)
        table, applied = applied_to(table, journal)
        audited = _audited(table, applied, progress, runtime)
        table, split = split_usable(table, audited, split_config)
        progress.say_all([*split.notes, *backend_notes(plan)])
        _write_data(run, table, split, audited)
        encoded = time.perf_counter()

        identity = described_fit(plan.config, split_config, backbone, split, table)
        agreed(runtime, "settings, splits or networks", lambda: json_digest(identity))
        with recording(run, progress, runtime, identity, resume, tensorboard) as recorder:
            trained = chosen.fit(plan, table, split, recorder)
        fitted, notes = time.perf_counter(), recorder.notes
        made = settings_record(source, config, split_config, runtime, plan, split, notes, started)
        run.write_config({**made, **chosen.described, **recorded(journal, applied)})

        result = predict_splits(plan, trained, table, split, run, progress)
        if result is None:
            return run
        metrics = _write_results(run, plan, trained, result, table, split)
        seconds = _seconds(began, encoded, fitted, recorder)
        run.write_metrics(metrics | recorder.best(trained.stage) | {"seconds": seconds})
        trim(cache_folder(), limit)
        run.remove_unfinished()
        run.files = {e.path: e.file for e in table.dataset.examples if not dataset.features}
        return run


def _listed_alike(
    source: str | Path,
    split_config: SplitConfig,
    journal: Journal | None,
    progress: Progress,
    runtime: Runtime,
) -> Dataset:
    """The images, listed by every process; UsageError where they see different ones."""
    dataset = in_turn(runtime, lambda: listed(source, split_config, journal, progress))
    agreed(runtime, "images", lambda: dataset_digest(dataset))
    return dataset


def _write_results(
    run: Run, plan: Plan, trained: Trained, result: Result, table: FeatureTable, split: Split
) -> dict[str, Any]:
    """Write the model and what it says; its metrics on test."""
    save(result.model, run, trained_parameters(plan, trained))
    write_predictions(run, result, table, split)
    write_neighbors(run, result, table)
    metrics = evaluate_test(run, result, table, split)
    found = {"temperature": result.model.temperature, "from_cache": plan.encoder.from_cache}
    return metrics | found


@contextmanager
def _folder(
    folders: Iterable[Path], resume: bool, reads: list[Path], runtime: Runtime
) -> Iterator[Path]:
    """The claimed run folder; for other processes than rank 0 one of their own that goes again."""
    if runtime.rank == 0:
        with claimed(folders, resume, reads) as folder:
            yield folder
        return
    with TemporaryDirectory(prefix="graft-") as scratch:
        yield Path(scratch)


def listed(
    source: str | Path,
    split_config: SplitConfig,
    journal: Journal | None = None,
    progress: Progress = SILENT,
) -> Dataset:
    """The images of a source with their groups; DataError for what cannot be trained on."""
    asked = listing_of(split_config.to_json())
    found = load_dataset(source, sources_folder(), features=True, progress=progress, **asked)
    dataset = grouped(found, split_config.group_by)
    # What corrections change, such as the sizes of classes, is judged after them, by the audit.
    if journal is None or not dataset.examples:
        raise_if_blocked(check_listing(dataset), dataset.source)
    return dataset


def _read_by(source: str | Path, model: str, dataset: Dataset) -> list[Path]:
    """The files and folders of the user's that a run reads."""
    places = {Path(source), *(example.file.parent for example in dataset.examples)}
    if model.startswith(LOCAL):
        places.add(Path(model.removeprefix(LOCAL)))
    elif model.startswith(FILE):
        places.update(find_file(model).files)
    elif model not in (*FROM_SCRATCH, *PACKAGES):
        places.update(model_files(Path(model)))
    return [place for place in places if place.exists()]


def _audited(table: FeatureTable, applied: Applied, progress: Progress, runtime: Runtime) -> Audit:
    """What is wrong with the corrected images, said; DataError for what blocks training. Rank 0
    looks; the others learn which images are usable, and which near-duplicates.
    """
    audits: list[Audit] = []

    def audited() -> list[Any]:
        progress.say_all(applied.notes)
        known = applied.checked
        found = audit(table.dataset, table, cache_folder(), confirmed=known, progress=progress)
        progress.say_all(f"{finding.kind}: {finding.message}" for finding in found.findings)
        raise_if_blocked(found.findings, table.dataset.source)
        audits.append(found)
        near = [[int(row) for row in cluster] for cluster in found.near]
        return [[int(row) for row in found.usable], near] if runtime.world > 1 else []

    told = rank_0(runtime, audited)
    return audits[0] if audits else Audit((), *told)


def split_usable(
    table: FeatureTable, audited: Audit, config: SplitConfig
) -> tuple[FeatureTable, Split]:
    """The usable images and their split: the one place where groups are computed."""
    usable = table.select(audited.usable)
    place = {row: n for n, row in enumerate(audited.usable)}
    near = [[place[row] for row in cluster if row in place] for cluster in audited.near]
    rows = range(len(usable))
    ids = group_ids(usable.dataset.examples, [usable.digest(i) for i in rows], near)
    return usable, split_dataset(usable.dataset, ids, config, usable.fingerprints(rows)["taken"])


def _seconds(began: float, encoded: float, fitted: float, recorder: Recorder) -> dict[str, float]:
    """What took how long. Of a resumed run the epochs of earlier processes count, too."""
    fit = max(fitted - encoded, recorder.seconds)
    total = time.perf_counter() - began + fit - (fitted - encoded)
    found = {"decode_and_backbone": encoded - began, "fit": fit, "total": total}
    return {name: round(value, 3) for name, value in found.items()}


def _write_data(run: Run, table: FeatureTable, split: Split, audited: Audit) -> None:
    digests = [table.digest(row) for row in range(len(table))]
    run.write_dataset(table.dataset.examples, split.assignment.tolist(), split.group_ids, digests)
    run.write_findings([finding.to_json() for finding in audited.findings])


def finish(
    run: Run,
    source: str | Path,
    config: TrainConfig,
    split_config: SplitConfig,
    corrections: Path | None = None,
) -> Run:
    """A run that was cut off after its last number: tidied up.

    Raises UsageError for one of another source, other settings or other corrections.
    """
    stored = run.config
    journal = existing_journal(corrections) if corrections else None
    now = digest_of(journal) if journal else None
    if stored.get("corrections", {}).get("sha256") != now:
        raise UsageError(
            f"{run.path} holds a finished run with other corrections; choose another --out"
        )
    asked = {**config.to_json(), **split_config.to_json()}
    # A setting that an older graft did not have was what it is by default.
    before = {**TrainConfig(model=config.model).to_json(), **SplitConfig().to_json()}
    before |= stored["settings"]
    other = [
        name for name, value in asked.items() if value is not None and before.get(name) != value
    ]
    if other or stored["source"] != public_address(source):
        raise UsageError(
            f"{run.path} holds a finished run with another {other[0] if other else 'source'}; "
            "choose another --out"
        )
    run.remove_unfinished()
    (run.path / MARK).unlink(missing_ok=True)
    return run
