"""What a finding is, and every kind of finding that graft knows."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from graft.errors import DataError

BLOCKING, MATTERS, NOTE = SEVERITIES = ("blocking", "matters", "note")


@dataclass(frozen=True, slots=True)
class Kind:
    """How severe a kind of finding is, one of SEVERITIES, and what it means in a few words."""

    severity: str
    meaning: str


# "blocking": no classifier can be trained before this is mended. "matters": the result is likely
# to suffer or to mislead. "note": worth knowing.
KINDS = {
    # The layout of the source.
    "no_images": Kind(BLOCKING, "no usable image in a class folder"),
    "bad_name": Kind(MATTERS, "the file name is not valid UTF-8; left out"),
    "no_label": Kind(MATTERS, "the image is in no class folder; left out"),
    "missing": Kind(MATTERS, "the table names a file that does not exist; left out"),
    "link_outside": Kind(MATTERS, "a link that leads out of the source; left out"),
    "beside_splits": Kind(MATTERS, "the image is in a folder beside the given splits; left out"),
    "unlabeled": Kind(MATTERS, "a row of the table without a label; left out"),
    "no_image": Kind(MATTERS, "a row of the table without an image; left out"),
    "bad_shard": Kind(
        MATTERS, "a Parquet or tar shard that is damaged, empty or not there; left out"
    ),
    "subfolders": Kind(NOTE, "class folders that hold folders; the outermost one is the label"),
    "table_form": Kind(NOTE, "how a table was read that is not in the usual form"),
    "not_an_image": Kind(NOTE, "a file format that graft does not read as an image; left out"),
    # Files that cannot be decoded. They are left out and never replaced.
    "empty": Kind(MATTERS, "a file of 0 bytes; left out"),
    "truncated": Kind(MATTERS, "the end of the file is missing; left out"),
    "unreadable": Kind(MATTERS, "cannot be decoded as an image; left out"),
    "oversized": Kind(MATTERS, "more pixels or bytes than graft reads; left out"),
    # Duplicates.
    "two_labels": Kind(MATTERS, "the same bytes under two labels; all copies left out"),
    "two_splits": Kind(MATTERS, "the same bytes in two of the given splits"),
    "duplicates": Kind(NOTE, "the same bytes more than once; kept in one split"),
    "near_two_labels": Kind(MATTERS, "near-duplicates under two labels"),
    "near_two_splits": Kind(MATTERS, "near-duplicates in two of the given splits"),
    "near_duplicates": Kind(NOTE, "resized, cropped or edited copies; kept in one split"),
    "group_two_splits": Kind(MATTERS, "a group with images in two of the given splits"),
    "unknown_class": Kind(MATTERS, "`graft evaluate` only: a class that the run does not know"),
    "trained_on": Kind(MATTERS, "`graft evaluate` only: an image from the run's train or val"),
    # How single images look.
    "blank": Kind(MATTERS, "one color all over"),
    "dark": Kind(MATTERS, "nearly black"),
    "blurred": Kind(NOTE, "no sharp edge"),
    "tiny": Kind(NOTE, "fewer than 32 pixels on the shorter side"),
    "elongated": Kind(NOTE, "more than three times as long as wide"),
    "wrong_extension": Kind(NOTE, "the file name says another format than the bytes"),
    # Classes and labels.
    "shortcut": Kind(MATTERS, "size, border, file type or camera alone predict the class"),
    "one_class": Kind(BLOCKING, "all images have the same label"),
    "too_few": Kind(BLOCKING, "a class with too few images to split, or with none in train"),
    "lost_class": Kind(BLOCKING, "a class of which most images cannot be used"),
    "few": Kind(MATTERS, "a class with fewer than 30 images"),
    "imbalance": Kind(MATTERS, "a class at least ten times as large as another"),
    "label_error": Kind(MATTERS, "the features suggest another label (needs --model)"),
    "outlier": Kind(NOTE, "unlike all other images (needs --model)"),
    "not_checked": Kind(NOTE, "what could not be looked for everywhere, and why"),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about the data that its owner should know.

    `kind` is a key of KINDS, `message` says what is wrong, why it matters and what to do. `paths`
    are the images concerned, as in Example.path. `sets`: of these, the images that belong
    together, such as the copies of one.
    """

    kind: str
    message: str
    paths: tuple[str, ...] = ()
    sets: tuple[tuple[str, ...], ...] = ()

    @property
    def severity(self) -> str:
        """One of SEVERITIES, the same for all findings of a kind."""
        return KINDS[self.kind].severity

    @property
    def blocking(self) -> bool:
        """Whether training refuses the images because of this."""
        return self.severity == BLOCKING

    def to_json(self) -> dict[str, Any]:
        """The finding as in findings.json and in `graft check --json`."""
        return {
            "kind": self.kind,
            "severity": self.severity,
            "paths": self.paths,
            "message": self.message,
            "sets": self.sets,
        }


def by_severity(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """The findings with the most severe first, otherwise in the given order."""
    return tuple(sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity)))


def raise_if_blocked(findings: Iterable[Finding], source: str) -> None:
    """Raise DataError with the message of every blocking finding."""
    blocking = [finding.message for finding in findings if finding.blocking]
    if blocking:
        raise DataError(f"{source} cannot be trained on: {'; '.join(blocking)}")


def images(count: int) -> str:
    """The count with its noun."""
    return "1 image" if count == 1 else f"{count:,} images"


def some(names: list[str]) -> str:
    """The first three of these names, and how many more there are."""
    shown = [repr(name) for name in names[:3]]
    if len(names) > 3:
        shown.append(f"{len(names) - 3:,} more")
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def them(count: int) -> str:
    """The pronoun for so many images."""
    return "it" if count == 1 else "them"
