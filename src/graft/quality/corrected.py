"""A dataset with the decisions of a journal applied to it; the files stay as they are."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from graft.data.dataset import Dataset
from graft.errors import DataError, UsageError
from graft.features.table import FeatureTable
from graft.quality.correction import OUT, Correction
from graft.quality.corrections import Journal, read_journal
from graft.quality.finding import images, some


@dataclass(frozen=True)
class Applied:
    """A dataset after its corrections.

    `dataset`: every image, with its corrected label. `left_out`: the rows that a person took out.
    `checked`: sha256 of the images whose label a person has looked at, so that no finding doubts
    it again. `counts`: images changed, by decision. `missing`: decisions about images that are not
    there. `notes`: what to tell people.
    """

    dataset: Dataset
    left_out: frozenset[int] = frozenset()
    checked: frozenset[bytes] = frozenset()
    counts: dict[str, int] | None = None
    missing: tuple[Correction, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def kept(self) -> list[int]:
        """The rows that were not left out."""
        return [i for i in range(len(self.dataset.examples)) if i not in self.left_out]


def existing_journal(file: str | Path) -> Journal:
    """The journal that a user named; UsageError if it is not there, else as `read_journal`."""
    if not Path(file).exists():
        raise UsageError(
            f"{file}: there is no such journal of corrections; graft review writes one"
        )
    return read_journal(file)


def apply(dataset: Dataset, digests: Sequence[bytes | None], journal: Journal) -> Applied:
    """Apply the decisions that stand, in their order, to the images (N,) with these `digests`,
    sha256 of their bytes; None for a file that could not be read.

    Raises DataError, one line, where the journal is about other images, names a class that is not
    there, or says that an image had another label than the source and the journal's earlier
    decisions give it.
    """
    rows_of: dict[str, list[int]] = {}
    for row, digest in enumerate(digests):
        if digest is not None:
            rows_of.setdefault(digest.hex(), []).append(row)
    about_images = [one for one in journal.standing if one.sha256]
    missing = tuple(one for one in about_images if one.sha256 not in rows_of)
    if missing and len(missing) == len(about_images):
        raise DataError(
            f"{journal.file}: none of its {images(len({m.sha256 for m in missing}))} is in "
            f"{dataset.source} (first: {missing[0].path}); name the journal of these images"
        )
    labels: list[str] = [example.label for example in dataset.examples]
    _check_classes(journal, set(labels))
    out: set[int] = set()
    counts: Counter[str] = Counter()
    for one, number in _numbered(journal):
        if one.decision == "rename":
            rows = [row for row, label in enumerate(labels) if label == one.old]
        else:
            rows = rows_of.get(one.sha256, [])
            if rows and not any(labels[row] in (one.old, one.new) for row in rows):
                raise DataError(
                    f"{journal.file}{number}: {one.path}: it says that the label was {one.old!r}, "
                    f"but {dataset.source} says {labels[rows[0]]!r}; take this decision back, or "
                    "put the image back into its class"
                )
        counts[one.decision] += len(rows)
        if one.decision in OUT:
            out |= set(rows)
            continue
        for row in rows:
            labels[row] = one.new
    examples = tuple(
        example if example.label == label else replace(example, label=label)
        for example, label in zip(dataset.examples, labels, strict=True)
    )
    return Applied(
        replace(dataset, examples=examples, lost=_renamed(dataset, journal)),
        frozenset(out),
        frozenset(bytes.fromhex(one.sha256) for one in about_images),
        dict(counts),
        missing,
        tuple(_notes(journal, counts, missing)),
    )


def applied_to(table: FeatureTable, journal: Journal | None) -> tuple[FeatureTable, Applied]:
    """`apply` to a table of images: without those left out, and with corrected labels."""
    if journal is None:
        return table, Applied(table.dataset)
    applied = apply(table.dataset, table.digests, journal)
    return replace(table, dataset=applied.dataset).select(applied.kept), applied


def recorded(journal: Journal | None, applied: Applied) -> dict[str, Any]:
    """What a run keeps of the journal that it was trained with, under "corrections": the file, how
    many decisions stood, their digest, and what they changed; nothing without a journal.
    """
    if journal is None:
        return {}
    found = {
        "file": str(journal.file),
        "decisions": len(journal.standing),
        "sha256": digest_of(journal),
        "images": applied.counts,
        "missing": len(applied.missing),
        "notes": list(applied.notes),
    }
    return {"corrections": found}


def digest_of(journal: Journal) -> str:
    """A sha256 of the decisions that stand, whatever else was decided and taken back before."""
    key = hashlib.sha256()
    for one in journal.standing:
        key.update(repr((one.decision, one.sha256, one.old, one.new)).encode())
    return key.hexdigest()


def _numbered(journal: Journal) -> list[tuple[Correction, str]]:
    numbers = journal.numbers or (0,) * len(journal.standing)
    return [
        (one, f", line {number}" if number else "")
        for one, number in zip(journal.standing, numbers, strict=True)
    ]


def _check_classes(journal: Journal, classes: set[str]) -> None:
    """DataError for a label that no class has, at that point of the journal."""
    known = set(classes)
    for one, number in _numbered(journal):
        if one.decision == "move":
            known.add(one.new)
        wanted = one.old if one.decision == "rename" else one.new
        if wanted and wanted not in known:
            raise DataError(
                f"{journal.file}{number}: there is no class {wanted!r}; the classes are "
                f"{some(sorted(known))}"
            )
        if one.decision == "rename":
            known = known - {one.old} | {one.new}


def _renamed(dataset: Dataset, journal: Journal) -> dict[str, int]:
    lost = dict(dataset.lost)
    for one in journal.standing:
        if one.decision == "rename" and one.old in lost:
            lost[one.new] = lost.get(one.new, 0) + lost.pop(one.old)
    return lost


def _notes(journal: Journal, counts: Counter[str], missing: Sequence[Correction]) -> list[str]:
    said = {
        "relabel": "relabeled",
        "move": "moved to another class",
        "keep_out": "left out",
        "delete": "taken out",
        "rename": "of renamed classes",
        "keep": "confirmed",
    }
    done = [f"{images(counts[k])} {text}" for k, text in said.items() if counts[k]]
    notes = [f"corrections of {journal.file}: {', '.join(done) or 'none'}", *journal.notes]
    if missing:
        notes.append(
            f"{journal.file}: {images(len({m.sha256 for m in missing}))} of the corrections not "
            f"in the source (first: {missing[0].path}), perhaps removed or edited since"
        )
    return notes
