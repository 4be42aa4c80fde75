"""dataset.parquet of a run, read a column at a time: millions of rows are never held as objects.

It can be used as the list of records that dataset.csv is read as. What asks for all rows should ask
for `coded` columns instead, which works for both.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from graft.runs.reading import shown

Images = Sequence[Mapping[str, str]]
Codes = NDArray[np.int32]

AT_ONCE = 65_536  # rows that become records at one time


class ImageTable(Sequence[dict[str, str]]):
    """The rows of an open dataset.parquet; parquet_files.py says what is in it."""

    def __init__(self, file: Path, opened: Any):
        self.file, self._opened = file, opened
        self.columns: list[str] = opened.schema_arrow.names
        self._coded = lru_cache(maxsize=4)(self._read_coded)

    def __len__(self) -> int:
        return int(self._opened.metadata.num_rows)

    @overload
    def __getitem__(self, place: int) -> dict[str, str]: ...

    @overload
    def __getitem__(self, place: slice) -> list[dict[str, str]]: ...

    def __getitem__(self, place: int | slice) -> dict[str, str] | list[dict[str, str]]:
        if isinstance(place, slice):
            return self.take(np.arange(*place.indices(len(self))))
        if not -len(self) <= place < len(self):
            raise IndexError(place)
        return self.take([place % len(self)])[0]

    def __iter__(self) -> Iterator[dict[str, str]]:
        for batch in self._opened.iter_batches(AT_ONCE):
            yield from map(_record, batch.to_pylist())

    def take(self, rows: Sequence[int] | NDArray[Any]) -> list[dict[str, str]]:
        """The records of some rows, in the order asked for."""
        import pyarrow as pa

        asked = np.asarray(rows, np.int64)
        ends = np.cumsum(
            [
                self._opened.metadata.row_group(i).num_rows
                for i in range(self._opened.num_row_groups)
            ]
        )
        found: list[dict[str, str]] = [{}] * len(asked)
        groups = np.searchsorted(ends, asked, side="right")
        for group in np.unique(groups).tolist():
            own = np.flatnonzero(groups == group)
            first = int(ends[group - 1]) if group else 0
            table = self._opened.read_row_group(group).take(pa.array(asked[own] - first))
            for place, record in zip(own.tolist(), table.to_pylist(), strict=True):
                found[place] = _record(record)
        return found

    def column(self, name: str) -> Any:
        """A column as a pyarrow ChunkedArray."""
        return self._opened.read([name]).column(0)

    def coded(self, name: str) -> tuple[Codes, Any]:
        """For each row the number of its value, (N,), and the values, as `coded` of this module."""
        return self._coded(name)

    def _read_coded(self, name: str) -> tuple[Codes, Any]:
        import pyarrow as pa
        import pyarrow.compute as pc

        column = self.column(name)
        if pa.types.is_dictionary(column.type):
            column = column.unify_dictionaries()
        else:
            column = pc.dictionary_encode(column)
        if not column.num_chunks:
            return np.zeros(0, np.int32), []
        codes = np.concatenate([np.asarray(chunk.indices) for chunk in column.chunks])
        # Each chunk was encoded with the dictionary of the last one: they are one and the same.
        values = column.chunk(column.num_chunks - 1).dictionary
        few = len(values) <= AT_ONCE
        return codes.astype(np.int32, copy=False), values.to_pylist() if few else values


def coded(images: Images, name: str) -> tuple[Codes, Sequence[str]]:
    """A column of a run's images: for each the number of its value, (N,), and the values, all
    different, in the order of the numbers. An image without the column has the value "".

    Of a column of very many values these are a pyarrow array. The sha256 of a large run are bytes.
    """
    if isinstance(images, ImageTable):
        return images.coded(name)
    numbers: dict[str, int] = {}
    found = [numbers.setdefault(row.get(name) or "", len(numbers)) for row in images]
    return np.array(found, np.int32), list(numbers)


def records(images: Images, rows: NDArray[np.int64]) -> list[Mapping[str, str]]:
    """The records of some rows."""
    if isinstance(images, ImageTable):
        return list(images.take(rows))
    return [images[i] for i in rows.tolist()]


def values_of(images: Images, name: str, paths: Sequence[str]) -> dict[str, str]:
    """The value of a column for each of some images, by path; those that are not there are left
    out.
    """
    if not isinstance(images, ImageTable):
        wanted = set(paths)
        return {row["path"]: row[name] for row in images if row["path"] in wanted}
    import pyarrow as pa
    import pyarrow.compute as pc

    wanted_paths = pa.array(list(dict.fromkeys(paths)), pa.string())
    found: dict[str, str] = {}
    for batch in images._opened.iter_batches(AT_ONCE * 16, columns=["path", name]):
        path = batch.column("path")
        kept = batch.filter(pc.is_in(_plain(path), value_set=wanted_paths))
        found |= {row["path"]: _text(row[name]) for row in kept.to_pylist()}
    return found


class KnownDigests:
    """The SHA-256 of a run's images of some splits: whether an image is one of them."""

    def __init__(self, images: Images, splits: Sequence[str]):
        self._few: set[bytes] | None = None
        if not isinstance(images, ImageTable):
            self._few = {bytes.fromhex(r["sha256"]) for r in images if r["split"] in splits}
            return
        codes, values = images.coded("split")
        of = np.array([value in splits for value in values], bool)[codes]
        column = images.column("sha256")
        digests = np.concatenate(
            [
                np.frombuffer(c.buffers()[1], np.uint8).reshape(-1, 32)[c.offset :][: len(c)]
                for c in column.chunks
            ]
        )[of]
        # By their first eight bytes; those that agree in them are compared as a whole.
        begin = digests[:, :8].copy().view(">u8")[:, 0].astype(np.uint64)
        order = np.argsort(begin, kind="stable")
        self._begin, self._digests = begin[order], digests[order]

    def __contains__(self, digest: object) -> bool:
        if not isinstance(digest, bytes):
            return False
        if self._few is not None:
            return digest in self._few
        begin = np.uint64(int.from_bytes(digest[:8], "big"))
        low = int(np.searchsorted(self._begin, begin))
        while low < len(self._begin) and self._begin[low] == begin:
            if self._digests[low].tobytes() == digest:
                return True
            low += 1
        return False


def held_back(images: Images) -> Iterator[tuple[str, str, str]]:
    """Path, split and label of the images of val and test."""
    if not isinstance(images, ImageTable):
        yield from ((r["path"], r["split"], r["label"]) for r in images if r["split"] != "train")
        return
    import pyarrow as pa
    import pyarrow.compute as pc

    names = ["path", "split", "label"]
    for batch in images._opened.iter_batches(AT_ONCE, columns=names):
        kept = pc.is_in(_plain(batch.column("split")), value_set=pa.array(["val", "test"]))
        columns = (column.to_pylist() for column in batch.filter(kept).columns)
        yield from zip(*columns, strict=True)


def _plain(array: Any) -> Any:
    import pyarrow as pa

    return array.dictionary_decode() if pa.types.is_dictionary(array.type) else array


def _record(row: Mapping[str, Any]) -> dict[str, str]:
    return {name: _text(value) for name, value in row.items()}


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return value.hex()
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ValueError(f"dataset.parquet: expected text, not {shown(value)}")
    return value
