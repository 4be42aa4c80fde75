"""What a source holds: Example, one labeled image, and Dataset, all of them."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

SPLITS = ("train", "val", "test")


@dataclass(frozen=True, slots=True)
class Example:
    """One labeled image.

    `path` is the name shown to people (relative to the source, with `/`), `file` where its bytes
    are. `split` is one of SPLITS when the source gives one. `group` ties images that must stay in
    one split (the same plant, patient, camera burst). `columns`: the other columns of a table.
    """

    path: str
    file: Path
    label: str
    split: str | None = None
    group: str | None = None
    columns: Mapping[str, str] | None = field(default=None, compare=False)


def class_numbers(examples: Iterable[Example], classes: Sequence[str]) -> NDArray[np.int64]:
    """The position of each example's label in `classes`, (N,)."""
    number = {name: i for i, name in enumerate(classes)}
    return np.array([number[example.label] for example in examples], np.int64)


@dataclass(frozen=True)
class Dataset:
    """The images of a source, in path order.

    `left_out` has the files that are no example, by the kind of finding that they are
    (graft/quality/finding.py says what each kind means); `lost` says of how many of them the class
    is known, by class. `remarks` are kinds of findings with what there is to say about how the
    source was read. `features` is the folder of `graft features` that it was read from, which holds
    no images; None for a source of images.
    """

    source: str
    examples: tuple[Example, ...]
    left_out: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)
    lost: Mapping[str, int] = field(default_factory=dict, hash=False)
    remarks: tuple[tuple[str, str], ...] = ()
    features: Path | None = None

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """The labels that occur, sorted."""
        return tuple(sorted({example.label for example in self.examples}))

    @cached_property
    def counts(self) -> dict[str, int]:
        """Number of images in each class, in the order of `classes`."""
        counted = Counter(example.label for example in self.examples)
        return {name: counted[name] for name in self.classes}

    def select(self, rows: Iterable[int]) -> "Dataset":
        """The dataset with these examples only, in this order."""
        return replace(self, examples=tuple(self.examples[i] for i in rows))
