"""The files that the shards of a job write, one each: which are done, and whether all belong
together.

A file is written beside its place and renamed, so it is whole or absent; one that was cut later
is seen by its footer. The metadata of its schema says under "graft" which shard it is and what
determined it: the model's digest, the source, the number of shards, the settings.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graft.data.shard import Shard
from graft.errors import DataError, ModelError, UsageError
from graft.runs.digest_file import digest_of
from graft.runs.folder import model_files
from graft.runs.parquet_files import KEY, table_writer
from graft.runs.reading import checked_size, shown

LARGEST = 2**40  # bytes
# Images of a shard that are held at one time, and probabilities.
ROWS, NUMBERS = 4_096, 2**21
LISTED = 5

Facts = Mapping[str, Any]


@dataclass(frozen=True)
class ShardJob:
    """A job whose shards go to the folder `out`. `kind` begins the files' names; `facts` are what
    determines a shard's contents besides its number, by name, ready for JSON.
    """

    out: Path
    kind: str
    count: int
    facts: Facts

    def file(self, shard: Shard) -> Path:
        """Where a shard's result goes."""
        return self.out / f"{self.kind}-{shard.name}.parquet"

    def is_done(self, shard: Shard) -> bool:
        """Whether a shard's file is there and whole; one that is damaged is made anew.

        Raises UsageError where it is of another job.
        """
        file = self.file(shard)
        self.check_folder()
        if not file.exists():
            return False
        try:
            stored = known_of(file)
        except DataError:
            return False
        if differs := difference(stored["facts"], self.facts):
            raise UsageError(
                f"{file} is of another job: {differs}; choose another --out, or remove the folder"
            )
        return bool(stored["shard"] == str(shard))

    def check_folder(self) -> None:
        """Raise UsageError where the folder cannot be had: a file, or shards of another count."""
        if self.out.exists() and not self.out.is_dir():
            raise UsageError(f"{self.out} is a file; --out takes a folder")
        other = {n for n, _ in numbered_files(self.out, self.kind)} - {self.count}
        if other:
            raise UsageError(
                f"{self.out} holds shards of a job of {min(other):,}, not {self.count:,}; choose "
                "another --out, or remove the folder"
            )

    @contextmanager
    def writer(self, shard: Shard, schema: Any, more: Facts) -> Iterator[Any]:
        """A ParquetWriter of a shard's file, all or nothing; `more` goes to its metadata."""
        known = {"shard": str(shard), "facts": dict(self.facts), **more}
        text = json.dumps(known, ensure_ascii=False).encode(errors="surrogateescape")
        with table_writer(self.file(shard), schema.with_metadata({KEY: text})) as writer:
            yield writer


def block_rows(classes: int) -> int:
    """How many images of a shard are held at one time."""
    return max(1, min(ROWS, NUMBERS // classes))


def model_digest(run: Path) -> str:
    """What tells a run's model from any other: the digests of its two files, in hex; ModelError for
    a folder without a model.
    """
    files = model_files(run)
    if not files:
        raise ModelError(f"{run}: expected a run, model.json is missing")
    return " ".join(digest_of(file)[:32] for file in files)


def difference(found: Facts, expected: Facts) -> str:
    """What of the facts differs, in words; empty for the same job."""
    for name, value in expected.items():
        if found.get(name) != value:
            if name == "model":
                return "it was made by the model of another run"
            return f"its {name} is {shown(found.get(name))}, not {shown(value)}"
    return ""


def numbered_files(folder: Path, kind: str) -> list[tuple[int, Path]]:
    """The shards' files of a folder with the number of shards that their names tell, sorted."""
    if not folder.is_dir():
        return []
    pattern = re.compile(rf"{re.escape(kind)}-(\d{{5,7}})-of-(\d{{5,7}})\.parquet")
    found = ((pattern.fullmatch(file.name), file) for file in sorted(folder.iterdir()))
    return [(int(match[2]), file) for match, file in found if match]


def opened(file: Path) -> Any:
    """The open ParquetFile of a shard; DataError for a file that is none, or half of one."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        checked_size(file, LARGEST)
        return pq.ParquetFile(file, buffer_size=1 << 20)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(
            f"{file} is damaged or not whole; remove it and run its shard again"
        ) from error


def known_of(file: Path) -> dict[str, Any]:
    """What the metadata of a shard's file says; DataError for a file that graft did not write."""
    try:
        stored = json.loads((opened(file).schema_arrow.metadata or {})[KEY])
        if isinstance(stored["shard"], str) and isinstance(stored["facts"], dict):
            return dict(stored)
    except (KeyError, TypeError, ValueError, RecursionError):
        pass
    raise DataError(f"{file}: expected the shard of a job of graft; remove it from the folder")


def whole_job(folder: Path, kind: str, expected: Facts) -> list[tuple[Path, dict[str, Any]]]:
    """The files of all shards, in their order, with what each says of itself.

    Raises DataError, one line, for a folder without shards or where one is missing, doubled, cut,
    renamed, or of a job with other facts than `expected` or than the first shard's.
    """
    files = numbered_files(folder, kind)
    if not files:
        raise DataError(f"{folder}: expected the shards of graft {_verb(kind)} --shard, found none")
    counts = sorted({count for count, _ in files})
    if len(counts) > 1:
        raise DataError(
            f"{folder}: expected the shards of one job, found some of {counts[0]:,} and some of "
            f"{counts[1]:,}; remove those of the other job"
        )
    told = [(file, known_of(file)) for _, file in files]
    first = told[0][1]["facts"]
    for file, known in told:
        differs = difference(known["facts"], expected) or difference(known["facts"], first)
        if differs:
            raise DataError(f"{file} is of another job: {differs}; remove it, or give that run")
        number = str(Shard.parse(known["shard"]).name)
        if not file.stem.endswith(number):
            raise DataError(
                f"{file} holds shard {known['shard']}, which its name does not say: a copy under "
                "another name; remove it and run its own shard"
            )
    _check_complete(folder, kind, counts[0], [Shard.parse(known["shard"]) for _, known in told])
    return told


def _check_complete(folder: Path, kind: str, count: int, there: Sequence[Shard]) -> None:
    missing = sorted(set(range(1, count + 1)) - {shard.number for shard in there})
    if missing:
        named = ", ".join(f"{n}/{count}" for n in missing[:LISTED])
        more = f" and {len(missing) - LISTED:,} more" if len(missing) > LISTED else ""
        raise DataError(
            f"{folder}: {len(missing):,} of {count:,} shards missing ({named}{more}); run graft "
            f"{_verb(kind)} with --shard {missing[0]}/{count}"
        )


def _verb(kind: str) -> str:
    return {"predictions": "predict", "evaluation": "evaluate"}[kind]
