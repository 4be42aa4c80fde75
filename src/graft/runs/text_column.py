"""A column of text of millions of rows, as a sequence of str that are made when asked for."""

from collections.abc import Iterator, Sequence
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

AT_ONCE = 65_536


class TextColumn(Sequence[str]):
    """A pyarrow ChunkedArray of text, (N,)."""

    def __init__(self, column: Any):
        import pyarrow as pa

        if pa.types.is_dictionary(column.type):
            column = column.cast(pa.large_string())
        self.column = column

    def __len__(self) -> int:
        return len(self.column)

    @overload
    def __getitem__(self, place: int) -> str: ...

    @overload
    def __getitem__(self, place: slice) -> "TextColumn": ...

    def __getitem__(self, place: int | slice) -> "str | TextColumn":
        if isinstance(place, slice):
            start, stop, step = place.indices(len(self))
            return self.take(np.arange(start, stop, step))
        if not -len(self) <= place < len(self):
            raise IndexError(place)
        return str(self.column[place % len(self)].as_py())

    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self), AT_ONCE):
            yield from self.column.slice(start, AT_ONCE).to_pylist()

    def take(self, rows: NDArray[Any]) -> "TextColumn":
        """The texts of some rows (n,), in their order."""
        import pyarrow as pa

        return TextColumn(self.column.take(pa.array(rows)))


def taken(texts: Sequence[str], rows: NDArray[Any]) -> Sequence[str]:
    """The texts of some rows (n,), of a list or of a column."""
    return texts.take(rows) if isinstance(texts, TextColumn) else [texts[i] for i in rows]
