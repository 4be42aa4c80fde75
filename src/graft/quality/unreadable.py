"""Findings on files that cannot be decoded."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from graft.data.dataset import Example
from graft.data.decode import UnusableImageError
from graft.quality.finding import Finding, images

_ADVICE = {
    "empty": "no bytes in the file; copy it again from the original",
    "truncated": "cut short; copy it again from the original",
    "unreadable": "not decodable as an image; save it again, or remove it",
    "oversized": "with more pixels or bytes than graft reads; scale it down, or remove it",
}


def unreadable_findings(
    examples: Sequence[Example], problems: Mapping[int, UnusableImageError]
) -> list[Finding]:
    """A finding for each kind of problem, given the problems by position in `examples`."""
    by_kind: dict[str, list[int]] = defaultdict(list)
    for position, problem in sorted(problems.items()):
        by_kind[problem.kind].append(position)
    return [
        Finding(
            kind,
            f"{images(len(positions))} {_ADVICE[kind]}; left out "
            f"(first: {examples[positions[0]].path} {problems[positions[0]]})",
            tuple(examples[i].path for i in positions),
        )
        for kind, positions in by_kind.items()
    ]
