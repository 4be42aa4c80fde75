"""What comes one by one, a block at a time."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

T = TypeVar("T")


def in_blocks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of `size` items, the last with what is left. No more is taken than a block needs."""
    rest = iter(items)
    while block := list(islice(rest, size)):
        yield block
