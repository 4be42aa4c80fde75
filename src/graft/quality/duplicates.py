"""Findings on images that are stored more than once, byte for byte or nearly."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from graft.data.dataset import Example
from graft.data.groups import group_ids, members_of
from graft.data.split import given_splits
from graft.quality.finding import Finding, images

Groups = list[list[int]]  # of positions in `examples`


def equal_groups(digests: Iterable[tuple[int, bytes | None]]) -> Groups:
    """Positions with the same sha256, where there are several."""
    first: dict[bytes, tuple[int, int]] = {}  # the place in the order, and the position
    groups: dict[tuple[int, int], list[int]] = {}  # no list for each of millions that are alone
    for place, (position, digest) in enumerate(digests):
        if digest is None:
            continue
        own = first.setdefault(digest, (place, position))
        if own[0] != place:
            groups.setdefault(own, [own[1]]).append(position)
    return [groups[own] for own in sorted(groups)]


def with_copies(near: Sequence[Sequence[int]], equal: Groups) -> Groups:
    """Near-duplicates with every byte-equal copy of each: all that must share a split."""
    copies = {group[0]: group for group in equal}
    return [[c for i in group for c in copies.get(i, [i])] for group in near]


def crowd_findings(crowd: int) -> list[Finding]:
    """That near-duplicates were not looked for everywhere among `crowd` images too alike."""
    if not crowd:
        return []
    message = (
        f"near-duplicates were not looked for everywhere: {images(crowd)} are so much alike, as "
        "frames of one fixed camera are, that each was compared with a few thousand of them only; "
        "copies among these may be missing, and clusters be in pieces; tie them with --group-by"
    )
    return [Finding("not_checked", message)]


@dataclass(frozen=True)
class Duplicates:
    """Positions in `examples` that show the same image.

    `equal`: groups of files with equal bytes. `near`: clusters of near-duplicates, with every
    byte-equal copy. `readable`: the files that can be decoded, all of them if None.
    """

    examples: Sequence[Example]
    equal: Groups
    near: Groups
    readable: Sequence[int] | None = None

    def two_labels(self) -> set[int]:
        """Positions whose bytes have more than one label."""
        return {i for group in self.equal if self._mixed(group) for i in group}

    def findings(self) -> list[Finding]:
        """What the duplicates do to the result, and what to do about them."""
        splits = self._splits()
        return [
            *self._equal_findings(splits),
            *self._near_findings(splits),
            *self._group_findings(splits),
        ]

    def _equal_findings(self, splits: Mapping[int, str | None]) -> list[Finding]:
        found = []
        if mixed := [g for g in self.equal if self._mixed(g)]:
            labels = " and ".join(self._labels(mixed[0]))
            message = (
                f"{images(len(mixed))} with more than one label for the same bytes (first: "
                f"{labels}); at least one is wrong, so all copies are left out; delete the wrong "
                "copies"
            )
            found.append(self._finding("two_labels", message, mixed))
        one = [g for g in self.equal if not self._mixed(g)]
        if torn := [g for g in one if _torn(g, splits)]:
            message = (
                f"{images(len(torn))} with byte-equal copies in more than one of the given splits; "
                "testing on training images makes the result look better than it is; delete the "
                "extra copies"
            )
            found.append(self._finding("two_splits", message, torn))
        if whole := [g for g in one if not _torn(g, splits)]:
            message = (
                f"{images(len(whole))} stored more than once, byte for byte; the copies stay in "
                "one split, and each of them counts"
            )
            found.append(self._finding("duplicates", message, whole))
        return found

    def _near_findings(self, splits: Mapping[int, str | None]) -> list[Finding]:
        found = []
        if mixed := [g for g in self.near if self._mixed(g)]:
            message = (
                f"{images(len(mixed))} with near-duplicates under another label (resized, cropped, "
                "rotated or brightened); one of the labels is probably wrong; look at each and "
                "delete the wrong one"
            )
            found.append(self._finding("near_two_labels", message, mixed))
        if torn := [g for g in self.near if _torn(g, splits)]:
            message = (
                f"{images(len(torn))} with near-duplicates in more than one of the given splits; "
                "testing on nearly the training images makes the result look better than it is; "
                "keep one of each"
            )
            found.append(self._finding("near_two_splits", message, torn))
        if rest := [g for g in self.near if not self._mixed(g) and not _torn(g, splits)]:
            message = (
                f"{images(len(rest))} with near-duplicates (resized, cropped, rotated or "
                "brightened); they stay in one split, so that no test image has been trained on"
            )
            found.append(self._finding("near_duplicates", message, rest))
        return found

    def _group_findings(self, splits: Mapping[int, str | None]) -> list[Finding]:
        members: dict[str, list[int]] = defaultdict(list)
        for i in splits:
            if name := self.examples[i].group:
                members[name].append(i)
        torn = {name: group for name, group in members.items() if _torn(group, splits)}
        if not torn:
            return []
        count = "1 group has" if len(torn) == 1 else f"{len(torn):,} groups have"
        message = (
            f"{count} images in more than one of the given splits (first: {next(iter(torn))!r}); "
            "results on a group that was trained on look better than on a new one; move each "
            "group into one split"
        )
        return [self._finding("group_two_splits", message, list(torn.values()))]

    def _labels(self, group: Iterable[int]) -> list[str]:
        return sorted({self.examples[i].label for i in group})

    def _mixed(self, group: Iterable[int]) -> bool:
        return len(self._labels(group)) > 1

    def _splits(self) -> dict[int, str | None]:
        """The split given to each usable image by position: its own, or that of the images which
        it must share a split with.
        """
        if not any(example.split for example in self.examples):
            return {}
        left_out = self.two_labels()
        readable = range(len(self.examples)) if self.readable is None else self.readable
        rows = [i for i in readable if i not in left_out]
        place = {i: n for n, i in enumerate(rows)}
        first = {i: group[0] for group in self.equal for i in group}
        examples = [self.examples[i] for i in rows]
        near = [[place[i] for i in group if i in place] for group in self.near]
        ids = group_ids(examples, [b"%d" % first.get(i, i) for i in rows], near)
        tied = members_of(ids).values()
        return dict(zip(rows, given_splits(examples, tied), strict=True))

    def _finding(self, kind: str, message: str, groups: Groups) -> Finding:
        sets = tuple(tuple(self.examples[i].path for i in group) for group in groups)
        return Finding(kind, message, tuple(path for one in sets for path in one), sets)


def _torn(group: Iterable[int], splits: Mapping[int, str | None]) -> bool:
    return len({splits.get(i) for i in group} - {None}) > 1
