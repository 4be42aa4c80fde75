"""`graft predict --shard`: the predictions of one shard of a source, as Parquet.

The columns are those of `graft predict --csv`; of more than MOST_COLUMNS classes, instead of a
column for each, `top_labels` and `top_probabilities` have the TOP most probable.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from graft.data.fetched import remove_fetched
from graft.data.remote_address import public_address
from graft.data.shard import Shard
from graft.inference.policy import Policy
from graft.inference.prediction import FileResult
from graft.inference.predictions_csv import COLUMNS, PREFIX, PROBLEM
from graft.inference.predictor import Predictor
from graft.inference.saved_model import load
from graft.inference.shard_images import images_of_shard
from graft.inference.shard_job import ShardJob, block_rows, model_digest
from graft.runs.top_probabilities import TOP
from graft.utils.cache_folder import cache_in_use, sources_folder
from graft.utils.in_blocks import in_blocks
from graft.utils.progress import SILENT, Progress

MOST_COLUMNS = 1_000


def prediction_job(run: str, source: str, out: Path, count: int, policy: Policy) -> ShardJob:
    """The job of predicting a source with a run, in `count` shards that go to `out`."""
    facts = {
        "model": model_digest(Path(run)),
        "source": public_address(source),
        "abstain_ood": policy.abstain_ood,
        "min_probability": policy.min_probability,
        "set_probability": policy.set_probability,
    }
    return ShardJob(out, "predictions", count, facts)


@cache_in_use()
def predict_shard(
    run: str,
    source: str,
    out: str,
    policy: Policy,
    backend: str,
    shard: Shard,
    progress: Progress = SILENT,
) -> dict[str, int]:
    """Predict the images of a shard, unless its file is done, and return how many images there
    were and how many could not be read.

    Raises as `ShardJob.is_done`, `load` and `images_of_shard`.
    """
    job = prediction_job(run, source, Path(out), shard.count, policy)
    if job.is_done(shard):
        return {"images": 0, "failed": 0}
    counted = {"images": 0, "failed": 0}
    with load(run, backend) as predictor:
        schema = _schema(predictor.classes)
        progress.start(f"predicting shard {shard}", None)
        images: list[tuple[str, Path]] = []
        with job.writer(shard, schema, {"classes": list(predictor.classes)}) as writer:
            results = _results(predictor, images_of_shard(source, shard, progress), policy, images)
            for block in in_blocks(results, block_rows(len(predictor.classes))):
                counted["images"] += len(block)
                counted["failed"] += sum(result.prediction is None for _, result in block)
                writer.write_table(_table(block, schema, predictor.classes))
                progress.advance(counted["images"])
        progress.finish()
    remove_fetched((file for _, file in images), sources_folder())
    return counted


def _results(
    predictor: Predictor,
    found: Iterator[tuple[str, Path]],
    policy: Policy,
    images: list[tuple[str, Path]],
) -> Iterator[tuple[str, FileResult]]:
    """Each image's name and result; `images` are noted as they are read."""

    def files() -> Iterator[Path]:
        for image in found:
            images.append(image)
            yield image[1]

    for place, result in enumerate(predictor.predict_files(files(), policy)):
        yield images[place][0], result


def _schema(classes: Sequence[str]) -> Any:
    import pyarrow as pa

    kinds = {
        "probability": pa.float64(),
        "ood_score": pa.float64(),
        "prediction_set": pa.list_(pa.string()),
    }
    fields = [(name, kinds.get(name, pa.string())) for name in (*COLUMNS, PROBLEM)]
    if len(classes) <= MOST_COLUMNS:
        return pa.schema([*fields, *((PREFIX + name, pa.float32()) for name in classes)])
    most = [
        ("top_labels", pa.list_(pa.string(), TOP)),
        ("top_probabilities", pa.list_(pa.float32(), TOP)),
    ]
    return pa.schema([*fields, *most])


def _table(block: list[tuple[str, FileResult]], schema: Any, classes: Sequence[str]) -> Any:
    """The rows of a block; those of images that cannot be read have a problem and nothing else."""
    import pyarrow as pa

    rows: dict[str, list[Any]] = {name: [] for name in (*COLUMNS, PROBLEM)}
    probabilities = np.full((len(block), len(classes)), np.nan, np.float32)
    for i, (name, result) in enumerate(block):
        answer = result.prediction
        for column in COLUMNS:
            rows[column].append(None if answer is None else getattr(answer, column))
        rows["path"][-1] = name
        rows[PROBLEM].append("" if answer is not None else result.problem)
        if answer is not None:
            probabilities[i] = np.fromiter(answer.probabilities.values(), np.float32)
    columns = [pa.array(rows[name], schema.field(name).type) for name in rows]
    missing = np.isnan(probabilities[:, 0])
    if len(classes) <= MOST_COLUMNS:
        columns += [pa.array(p, mask=missing) for p in probabilities.T]
    else:
        top = np.argsort(-probabilities, axis=1, kind="stable")[:, :TOP]
        names = [
            None if gone else [classes[k] for k in row]
            for row, gone in zip(top, missing, strict=True)
        ]
        values = np.take_along_axis(probabilities, top, 1)
        shares = [None if gone else row for row, gone in zip(values.tolist(), missing, strict=True)]
        own = schema.types[-2:]
        columns += [pa.array(names, own[0]), pa.array(shares, own[1])]
    return pa.Table.from_arrays(columns, schema=schema)
