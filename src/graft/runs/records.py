"""The records of a run folder, read with bounds and held against their schemas."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graft.data.fetched import at_hand
from graft.data.named_datasets import SAMPLES
from graft.data.remote_address import SCHEMES, scheme_of
from graft.data.sources import listing_of, load_dataset
from graft.errors import GraftError, ModelError
from graft.runs.reading import (
    check_tensors,
    open_tensors,
    read_json,
    read_json_lines,
    read_tensors,
)
from graft.utils.cache_folder import sources_folder
from graft.utils.files import replacing

if TYPE_CHECKING:
    from torch import Tensor

Record = dict[str, Any]
# What was chosen on the way, in a run that is not finished.
CHOICES = ".choice.json"


def read_record(file: Path, missing: Any = None) -> Any:
    """The value of one of a run's JSON files; `missing`, if it is not None, where there is none.

    Raises ModelError, one line that names the file and the field, for a missing or damaged one.
    """
    from graft.runs.schema_results import check_file  # pydantic takes a while to import

    if missing is not None and not file.exists():
        return missing
    with damage(file):
        value = read_json(file)
        check_file(file.name, value)
    return value


def read_history(file: Path) -> list[Record]:
    """The records of a history.jsonl; raises as `read_record`."""
    from graft.runs.schema_results import check_epochs

    with damage(file):
        lines: list[Record] = read_json_lines(file)
        check_epochs(lines)
    return lines


def write_tensors(file: Path, tensors: "Mapping[str, Tensor]") -> None:
    """Write a safetensors file, all or nothing."""
    from safetensors.torch import save_file

    with replacing(file) as beside:
        save_file({name: value.contiguous() for name, value in tensors.items()}, beside)


def read_neighbors(file: Path, images: int) -> "tuple[list[int], Tensor]":
    """Which lines of dataset.csv training images are, (n) from 0 on and below `images`, and where
    their features lie, (n, Q) float32. Raises ModelError for anything else.
    """
    with damage(file):
        with open_tensors(file) as (found, opened):
            count, width = (*found.get("places", ("", ()))[1], 0, 0)[:2]
            expected = {"rows": (False, (count,)), "places": (True, (count, width))}
            check_tensors(found, expected, file.name)
            stored = read_tensors(opened, found, file.name)
        rows = stored["rows"].tolist()
        if not all(0 <= row < images for row in rows):
            raise ValueError("rows: a line that dataset.csv does not have")
    return rows, stored["places"].float()


def read_choices(run: Path) -> Record:
    """The choices that were made on the way, by name."""
    file = run / CHOICES
    return dict(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else {}


def resolved_settings(config: Mapping[str, Any], run: Path) -> Record:
    """The settings that a run was trained with, of its config.json; ModelError where that lacks
    them, or the source.
    """
    if not (config.get("resolved") and config.get("source")):
        raise ModelError(
            f"{run / 'config.json'} lacks the source or the resolved settings of the run; copy it "
            "again, or train it again"
        )
    return dict(config["resolved"])


def seen_from_run(source: str | Path, run: Path) -> dict[str, str]:
    """What config.json keeps of a source that was given as a relative path: the same as seen from
    the run's folder, for whoever reads the run in another folder or after both have moved.
    """
    if not source or Path(source).is_absolute() or not Path(source).exists():
        return {}
    try:
        return {"source_from_run": os.path.relpath(source, run)}
    except ValueError:  # on another drive of Windows
        return {"source_from_run": str(Path(source).absolute())}


def with_place_of_source(config: Mapping[str, Any], run: Path) -> Record:
    """What is written as config.json: with `seen_from_run`, if it is not there already."""
    return {**seen_from_run(str(config.get("source") or ""), run), **config}


def source_of(config: Mapping[str, Any], run: Path) -> str:
    """The source of a run, as it was given where that is right here, else as seen from the run."""
    given, beside = str(config.get("source") or ""), config.get("source_from_run")
    if not beside:
        return given
    found = Path(os.path.normpath(run.absolute() / beside))
    if not found.exists() or (Path(given).exists() and Path(given).samefile(found)):
        return given
    return str(found)


def source_files(config: Mapping[str, Any], run: Path) -> dict[str, Path]:
    """Where the images of a run's source are, by path; empty if the source is gone. Nothing is
    fetched for it: a named data set has to be here already.
    """
    source = source_of(config, run)
    if scheme_of(source) in SCHEMES:
        return at_hand(source, sources_folder())
    sample = SAMPLES.get(source)
    fetched = sources_folder() / "datasets" / source
    if not source or (sample and sample.url and not fetched.is_dir()):
        return {}
    try:
        asked = listing_of(config.get("settings") or {})
        dataset = load_dataset(source, sources_folder(), **asked)
    except (GraftError, OSError, ValueError):  # a name with a zero byte is a ValueError
        return {}
    return {example.path: example.file for example in dataset.examples}


@contextmanager
def damage(file: Path) -> Iterator[None]:
    """Turn what is wrong with a run's file into a ModelError that names it."""
    try:
        yield
    except FileNotFoundError as error:
        raise ModelError(f"{file} is missing; train the run again, or copy it whole") from error
    except ValueError as error:
        said = str(error).removeprefix(f"{file.name}: ")
        raise ModelError(f"{file} is damaged: {said}; copy it again, or train it again") from error
