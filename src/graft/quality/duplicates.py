"""Images that are there more than once, byte for byte or nearly, and what that does."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from graft.data.dataset import MATTERS, NOTE, Example, Finding
from graft.data.fingerprint import Fingerprints
from graft.data.groups import group_ids, members_of
from graft.data.split import given_splits
from graft.quality.appearance import images
from graft.quality.near_duplicates import Ints, clusters

Groups = list[list[int]]


@dataclass
class Copies:
    """Groups of positions in `examples`: of equal bytes, and of near duplicates (which hold one
    of each group of equals). `positions`: of the readable ones, None before `look` for all.
    """

    examples: Sequence[Example]
    equal: Groups
    near: Groups = field(default_factory=list)
    positions: Sequence[int] | None = None

    def look(
        self,
        positions: Sequence[int],
        fingerprints: Fingerprints,
        find: Callable[[Fingerprints], Ints],
    ) -> None:
        """Find the near duplicates among these positions, (N,) fingerprints in the same order."""
        self.positions = positions
        again = {i for group in self.equal for i in group[1:]}
        chosen = np.array([k for k, i in enumerate(positions) if i not in again], np.int64)
        # A fingerprint has four kilobytes: copied only if some are left out.
        found = find(fingerprints[chosen] if again else fingerprints)
        at = [positions[k] for k in chosen]
        self.near = [[at[i] for i in group] for group in clusters(found, len(at))]

    def two_labels(self) -> set[int]:
        """Positions whose bytes stand under more than one label."""
        return {i for group in self.equal if len(self._labels(group)) > 1 for i in group}

    def together(self) -> Groups:
        """All that must stay in one split: near duplicates with every copy of each."""
        copies = {group[0]: group for group in self.equal}
        return [[c for i in group for c in copies.get(i, [i])] for group in self.near]

    def findings(self) -> list[Finding]:
        """What the copies do to the result, and what to do about them."""
        found: list[Finding] = []
        splits = self._splits()
        mixed = [g for g in self.equal if len(self._labels(g)) > 1]
        if mixed:
            found.append(
                self._finding(
                    "two_labels",
                    MATTERS,
                    mixed,
                    f"{images(len(mixed))} under more than one label, byte for byte (the first "
                    f"under {' and '.join(self._labels(mixed[0]))}): at least one label is wrong, "
                    "so all copies are kept out; delete the wrong one of each",
                )
            )
        one = [g for g in self.equal if len(self._labels(g)) == 1]
        torn = [g for g in one if _torn(g, splits)]
        if torn:
            found.append(
                self._finding(
                    "two_splits",
                    MATTERS,
                    torn,
                    f"{images(len(torn))} with copies, byte for byte, in more than one of the "
                    "splits given: a test image that was trained on makes the result look better "
                    "than it is; delete one of each",
                )
            )
        whole = [g for g in one if not _torn(g, splits)]
        if whole:
            found.append(
                self._finding(
                    "duplicates",
                    NOTE,
                    whole,
                    f"{images(len(whole))} stored more than once, byte for byte; the copies "
                    "stay together in one split and count as often as they are there",
                )
            )
        return found + self._near_findings(splits) + self._group_findings(splits)

    def _near_findings(self, splits: Mapping[int, str | None]) -> list[Finding]:
        found = []
        near = self.together()
        mixed = [g for g in near if len(self._labels(g)) > 1]
        torn = [g for g in near if _torn(g, splits)]
        rest = [g for g in near if g not in mixed and g not in torn]
        if mixed:
            found.append(
                self._finding(
                    "near_two_labels",
                    MATTERS,
                    mixed,
                    f"{images(len(mixed))} nearly the same under two labels (resized, cropped, "
                    "turned or brightened): one of the labels is likely wrong, and would be "
                    "learned or counted as a mistake; look at each and delete the wrong one",
                )
            )
        if torn:
            found.append(
                self._finding(
                    "near_two_splits",
                    MATTERS,
                    torn,
                    f"{images(len(torn))} with near copies in more than one of the splits given: "
                    "a test image that was nearly trained on makes the result look better than "
                    "it is; keep one of each",
                )
            )
        if rest:
            found.append(
                self._finding(
                    "near_duplicates",
                    NOTE,
                    rest,
                    f"{images(len(rest))} with near copies (resized, cropped, turned or "
                    "brightened); they stay together in one split, so that none is tested that "
                    "was trained on",
                )
            )
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
        return [
            self._finding(
                "group_two_splits",
                MATTERS,
                list(torn.values()),
                f"{count} images in more than one of the splits given (the first: "
                f"{next(iter(torn))!r}): what was learned of a group makes the result on its "
                "other images look better than on a new one; put each group into one split",
            )
        ]

    def _labels(self, group: Iterable[int]) -> list[str]:
        return sorted({self.examples[i].label for i in group})

    def _splits(self) -> dict[int, str | None]:
        """The split given to each usable image by position, by itself or by what it is tied to,
        as the split will have it.
        """
        if not any(example.split for example in self.examples):
            return {}
        out = self.two_labels()
        every = range(len(self.examples)) if self.positions is None else self.positions
        rows = [i for i in every if i not in out]
        place = {i: n for n, i in enumerate(rows)}
        first = {i: group[0] for group in self.equal for i in group}
        examples = [self.examples[i] for i in rows]
        near = [[place[i] for i in group if i in place] for group in self.together()]
        ids = group_ids(examples, [b"%d" % first.get(i, i) for i in rows], near)
        tied = members_of(ids).values()
        return dict(zip(rows, given_splits(examples, tied), strict=True))

    def _finding(self, kind: str, severity: str, groups: Groups, message: str) -> Finding:
        sets = tuple(tuple(self.examples[i].path for i in group) for group in groups)
        return Finding(kind, severity, tuple(path for one in sets for path in one), message, sets)


def _torn(group: Iterable[int], splits: Mapping[int, str | None]) -> bool:
    return len({splits.get(i) for i in group} - {None}) > 1


def equal_groups(digests: Iterable[tuple[int, bytes]]) -> Groups:
    """Positions with the same digest, where there are several."""
    by_digest: dict[bytes, list[int]] = defaultdict(list)
    for index, digest in digests:
        by_digest[digest].append(index)
    return [group for group in by_digest.values() if len(group) > 1]
