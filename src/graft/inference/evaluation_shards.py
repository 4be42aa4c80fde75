"""`graft evaluate --shard` and `--from`: a source evaluated in shards, and the shards' files put
together to the numbers that one machine would have found.

A shard's file has a row for each labeled image: its path, label, split and group, the digest of its
bytes or the problem with them, and the probabilities of all classes; of more than MOST_WHOLE
classes what TopProbabilities keeps. What the listing left out is in its metadata.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graft.data.dataset import Dataset, Example
from graft.data.decode import UnusableImageError
from graft.data.fetched import remove_fetched
from graft.data.file_listing import walk_order
from graft.data.remote_address import public_address
from graft.data.shard import Shard
from graft.data.sources import listing_of, load_dataset
from graft.errors import DataError
from graft.inference.evaluate_run import Chosen, Seen, finished_run, measured
from graft.inference.predictor import Predictor
from graft.inference.saved_model import load
from graft.inference.shard_job import (
    ROWS,
    ShardJob,
    block_rows,
    model_digest,
    opened,
    whole_job,
)
from graft.runs.image_table import KnownDigests
from graft.runs.parquet_files import KEPT, as_lists, kept_columns, kept_fields
from graft.runs.top_probabilities import TopProbabilities
from graft.utils.cache_folder import cache_in_use, sources_folder
from graft.utils.in_blocks import in_blocks
from graft.utils.progress import SILENT, Progress

MOST_WHOLE = 1_000
LABELED = ("path", "label", "split", "group")

Row = tuple[Example, bytes | None, UnusableImageError | None, NDArray[np.float64] | None]


def evaluation_job(run: str, source: str, out: Path, count: int) -> ShardJob:
    """The job of evaluating a run on a source, in `count` shards that go to `out`."""
    facts = {"model": model_digest(Path(run)), "source": public_address(source)}
    return ShardJob(out, "evaluation", count, facts)


@cache_in_use()
def evaluate_shard(
    run: str, source: str, out: str, backend: str, shard: Shard, progress: Progress = SILENT
) -> dict[str, int]:
    """Predict the labeled images of a shard, unless its file is done, and return how many there
    were and how many could not be read. Raises as `evaluate_run` and `ShardJob.is_done`.
    """
    job = evaluation_job(run, source, Path(out), shard.count)
    if job.is_done(shard):
        return {"images": 0, "failed": 0}
    stored = finished_run(run)
    asked = listing_of(stored.config["settings"])
    dataset = load_dataset(source, sources_folder(), shard=shard, progress=progress, **asked)
    counted = {"images": len(dataset.examples), "failed": 0}
    with load(run, backend) as predictor:
        schema = _schema(len(predictor.classes))
        more = {
            "classes": list(predictor.classes),
            "left_out": dataset.left_out,
            "remarks": dataset.remarks,
        }
        progress.start(f"evaluating shard {shard}", len(dataset.examples))
        done = 0
        with job.writer(shard, schema, more) as writer:
            size = block_rows(len(predictor.classes))
            for block in in_blocks(_rows(predictor, dataset), size):
                done += len(block)
                counted["failed"] += sum(problem is not None for _, _, problem, _ in block)
                writer.write_table(_table(block, schema, predictor.classes))
                progress.advance(done)
        progress.finish()
    remove_fetched((example.file for example in dataset.examples), sources_folder())
    return counted


def evaluate_from(
    run: str | Path, folder: str | Path, progress: Progress = SILENT
) -> dict[str, Any]:
    """The metrics of a job whose shards are all in `folder`, as `evaluate_run` of the whole source.

    Raises DataError, one line, for a shard that is missing, doubled, damaged, of another run or
    of another job, and where an image is in two shards; else as `evaluate_run`.
    """
    stored = finished_run(run)
    told = whole_job(Path(folder), "evaluation", {"model": model_digest(stored.path)})
    classes = stored.model["classes"]
    for file, known in told:
        if known.get("classes") != classes:
            raise DataError(f"{file}: its classes are not those of {run}; remove it")
        if not opened(file).schema_arrow.equals(_schema(len(classes))):
            raise DataError(f"{file}: its columns are not those of a shard; remove it")
    source = told[0][1]["facts"]["source"]
    dataset, places = _put_together(source, told)
    chosen = Chosen.of(dataset, classes)
    position = {id(example): i for i, example in enumerate(chosen.dataset.examples)}
    index = [position.get(id(example)) for example in dataset.examples]
    seen = Seen(chosen.dataset, classes)
    learned = KnownDigests(stored.images, ("train", "val"))
    progress.start("reading shards", len(dataset.examples))
    done = 0
    for (file, _), own in zip(told, places, strict=True):
        for row, (digest, problem, probabilities) in enumerate(_seen(file, len(classes))):
            place = index[own[row]]
            if place is not None:
                seen.add(place, digest, problem, learned, probabilities)
            done += 1
            progress.advance(done)
    progress.finish()
    return measured(stored, chosen, seen, progress)


def _put_together(
    source: str, told: Sequence[tuple[Path, dict[str, Any]]]
) -> tuple[Dataset, list[list[int]]]:
    """The source as one machine lists it, and for each shard where its rows are among the images;
    DataError where an image is in two shards.
    """
    examples: list[Example] = []
    shards: list[int] = []
    left_out: dict[str, list[str]] = {}
    remarks: dict[tuple[str, str], None] = {}
    for number, (file, known) in enumerate(told):
        own = list(_examples(file))
        examples += own
        shards += [number] * len(own)
        try:
            for kind, paths in known["left_out"].items():
                left_out.setdefault(kind, []).extend(map(str, paths))
            remarks |= dict.fromkeys((kind, message) for kind, message in known["remarks"])
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise DataError(f"{file} is damaged; remove it and run its shard again") from error
    first: dict[str, int] = {}
    for example, shard in zip(examples, shards, strict=True):
        if first.setdefault(example.path, shard) != shard:
            raise DataError(
                f"{example.path} is in two shards, {told[first[example.path]][0].name} and "
                f"{told[shard][0].name}: they were made of two states of {source}; run all again"
            )
    order = sorted(range(len(examples)), key=lambda i: _place(examples[i]))
    places: list[list[int]] = [[] for _ in told]
    for place, i in sorted(enumerate(order), key=lambda pair: pair[1]):
        places[shards[i]].append(place)
    kept = {kind: tuple(sorted(set(paths), key=walk_order)) for kind, paths in left_out.items()}
    whole = Dataset(source, tuple(examples[i] for i in order), kept, {}, tuple(remarks))
    return whole, places


def _place(example: Example) -> tuple[Any, str]:
    return walk_order(example.path), example.label


def _examples(file: Path) -> Iterator[Example]:
    for batch in _batches(file, list(LABELED), ROWS):
        for row in batch.to_pylist():
            path, label = row["path"], row["label"]
            if not (path and label):
                raise DataError(f"{file} is damaged: a row without a path or a label; remove it")
            yield Example(path, Path(path), label, row["split"], row["group"])


def _seen(
    file: Path, count: int
) -> Iterator[
    tuple[bytes | None, UnusableImageError | None, NDArray[np.float64] | TopProbabilities | None]
]:
    """Of each image of a shard the digest, the problem and the probabilities."""
    whole = count <= MOST_WHOLE
    names = ["sha256", "kind", "problem", "number", *(["probabilities"] if whole else KEPT)]
    for batch in _batches(file, names, block_rows(count)):
        digests, kinds, problems = (batch.column(i).to_pylist() for i in range(3))
        labels = batch.column(3).to_numpy()
        columns = [_numbers(column, len(batch)) for column in batch.columns[4:]]
        for i, (digest, kind, problem) in enumerate(zip(digests, kinds, problems, strict=True)):
            if kind:
                yield digest, UnusableImageError(kind, problem or ""), None
            elif digest is None or labels[i] < 0:  # of a class that the run does not know
                yield digest, None, None
            elif whole:
                yield digest, None, columns[0][i]
            else:
                top, values, of_label, squares = (column[i : i + 1] for column in columns)
                own = labels[i : i + 1]
                yield digest, None, TopProbabilities(count, top, values, own, of_label, squares)


def _numbers(column: Any, rows: int) -> NDArray[Any]:
    import pyarrow as pa

    if not pa.types.is_fixed_size_list(column.type):
        return np.asarray(column.to_numpy())
    return np.asarray(column.flatten().to_numpy()).reshape(rows, -1)


def _batches(file: Path, names: list[str], rows: int) -> Iterator[Any]:
    import pyarrow as pa

    table = opened(file)
    try:
        yield from table.iter_batches(rows, columns=names)
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        raise DataError(f"{file} is damaged; remove it and run its shard again") from error


def _rows(predictor: Predictor, dataset: Dataset) -> Iterator[Row]:
    found = predictor.encoded_files(e.file for e in dataset.examples)
    for example, (item, probabilities) in zip(dataset.examples, found, strict=True):
        yield example, item.loaded.digest, item.loaded.problem, probabilities


def _schema(count: int) -> Any:
    import pyarrow as pa

    texts = [(name, pa.string()) for name in (*LABELED, "kind", "problem")]
    fields = [*texts, ("sha256", pa.binary(32)), ("number", pa.int64())]
    if count <= MOST_WHOLE:
        return pa.schema([*fields, ("probabilities", pa.list_(pa.float64(), count))])
    return pa.schema([*fields, *kept_fields()])


def _table(block: list[Row], schema: Any, classes: Sequence[str]) -> Any:
    """Rows of an evaluation. `number` is the class of the label, -1 where the run does not know it;
    what has no probabilities has zeros.
    """
    import pyarrow as pa

    number = {name: i for i, name in enumerate(classes)}
    examples = [example for example, _, _, _ in block]
    columns: list[Any] = [[getattr(example, name) for example in examples] for name in LABELED]
    columns.append([problem.kind if problem else None for _, _, problem, _ in block])
    columns.append([str(problem) if problem else None for _, _, problem, _ in block])
    columns.append([digest for _, digest, _, _ in block])
    labels = np.array([number.get(example.label, -1) for example in examples], np.int64)
    empty = np.zeros(len(classes))
    values = np.stack([empty if found is None else found for _, _, _, found in block])
    arrays = [pa.array(c, t) for c, t in zip([*columns, labels], schema.types, strict=False)]
    if len(classes) <= MOST_WHOLE:
        arrays.append(as_lists(values))
    else:
        arrays += kept_columns(TopProbabilities.of(values, np.maximum(labels, 0)))
    return pa.Table.from_arrays(arrays, schema=schema)
