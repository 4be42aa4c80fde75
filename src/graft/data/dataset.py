"""The records that the data layer hands on: Example, Finding, Dataset."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

SPLITS = ("train", "val", "test")
BLOCKING, MATTERS, NOTE = SEVERITIES = ("blocking", "matters", "note")


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


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about the data that its owner should know.

    `severity`: "blocking", no classifier can be trained before it is mended; "matters", the result
    is likely to suffer or to mislead; "note". `paths` are the images concerned, as in
    Example.path; `message` is one sentence with the way out. `sets`: of these, the images that
    belong together, such as copies of one.
    """

    kind: str
    severity: str
    paths: tuple[str, ...]
    message: str
    sets: tuple[tuple[str, ...], ...] = ()

    @property
    def blocking(self) -> bool:
        """Whether training would refuse."""
        return self.severity == BLOCKING

    def to_json(self) -> dict[str, Any]:
        """The finding as `graft check --json` prints it."""
        return asdict(self)


def class_numbers(examples: Iterable[Example], classes: Sequence[str]) -> NDArray[np.int64]:
    """The place of each example's label among the classes, (N,)."""
    number = {name: i for i, name in enumerate(classes)}
    return np.array([number[example.label] for example in examples], np.int64)


def belonging(groups: Iterable[tuple[str, str | None]]) -> list[str] | None:
    """What each image belongs to, given its path and its group: itself if it has none. None
    without groups.
    """
    pairs = list(groups)
    if not any(group for _, group in pairs):
        return None
    return [group or f"alone:{path}" for path, group in pairs]


@dataclass(frozen=True)
class Dataset:
    """The images of a source, in path order, and what was noticed while listing them."""

    source: str
    examples: tuple[Example, ...]
    findings: tuple[Finding, ...] = ()

    def select(self, rows: Iterable[int]) -> "Dataset":
        """The data set of these images alone."""
        return replace(self, examples=tuple(self.examples[i] for i in rows))

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """The labels that occur, sorted."""
        return tuple(sorted({example.label for example in self.examples}))

    @cached_property
    def counts(self) -> dict[str, int]:
        """Images a class, in the order of `classes`."""
        counted = Counter(example.label for example in self.examples)
        return {name: counted[name] for name in self.classes}
