"""Findings on the number of images in each class."""

from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence

from graft.data.dataset import Example
from graft.data.split import FEWEST_PER_CLASS
from graft.quality.finding import Finding, images, some

# Below this many images in a class, the interval of its recall is wider than ±20 points.
FEW_PER_CLASS = 30
# Up to so many small classes have a finding each.
SEVERAL = 5
# From this ratio of the largest class to the smallest, imbalance is reported.
UNEVEN = 10

Members = Mapping[str, Sequence[int]]  # positions of the examples of each class


def class_size_findings(
    examples: Sequence[Example], source: str, units: Sequence[Hashable] | None = None
) -> list[Finding]:
    """What the sizes of the classes do to training and to the result.

    `units`: for each example what it must share a split with, such as its group or the hash of its
    bytes: two examples of one unit count once. Without it each example counts.
    """
    if not examples:
        message = f"{source} has no usable image in a class folder; expected SOURCE/CLASS/image.jpg"
        return [Finding("no_images", message)]
    members: dict[str, list[int]] = defaultdict(list)
    for position, example in enumerate(examples):
        members[example.label].append(position)
    counts = {
        label: len({units[i] for i in own}) if units else len(own)
        for label, own in sorted(members.items())
    }
    # Every split is given: what is none of train cannot be learned, but nothing need be divided.
    whole = {example.split for example in examples} - {None} == {"train", "val", "test"}
    unlearned = [
        label
        for label in counts
        if all(examples[i].split in ("val", "test") for i in members[label])
    ]
    absent = set(unlearned)
    short = [
        label
        for label, count in counts.items()
        if label not in absent and not whole and count < FEWEST_PER_CLASS
    ]
    blocked = set(short)
    few = [n for n, count in counts.items() if n not in blocked and count < FEW_PER_CLASS]

    def finding(kind: str, labels: list[str], message: str, listed: bool) -> Finding:
        paths = tuple(examples[i].path for name in labels for i in members[name] if listed)
        return Finding(kind, message, paths)

    found = [*_one_class(members), *_imbalance(members)]
    for kind, labels, told in (
        ("too_few", unlearned, _unlearned),
        ("too_few", short, _short),
        ("few", few, _few),
    ):
        # Many small classes in one sentence: a line for each would hide all other findings.
        together = [labels] if len(labels) > SEVERAL else [[label] for label in labels]
        found += [finding(kind, s, told(s, counts), kind == "too_few") for s in together]
    return found


def _unlearned(labels: list[str], counts: Mapping[str, int]) -> str:
    one = len(labels) == 1
    what = f"class {labels[0]!r} has" if one else f"{len(labels):,} classes ({some(labels)}) have"
    return f"{what} no image in train, so {'it' if one else 'they'} cannot be learned; add some"


def _short(labels: list[str], counts: Mapping[str, int]) -> str:
    if len(labels) > 1:
        return (
            f"{len(labels):,} classes have fewer than {FEWEST_PER_CLASS} different usable images "
            f"({_listed(labels, counts)}), too few for three splits; add some, or remove the "
            "classes"
        )
    count = counts[labels[0]]
    return (
        f"class {labels[0]!r} has {count} different usable {'image' if count == 1 else 'images'}, "
        f"but three splits need at least {FEWEST_PER_CLASS}; add some, or remove the class"
    )


def _few(labels: list[str], counts: Mapping[str, int]) -> str:
    if len(labels) > 1:
        return (
            f"{len(labels):,} classes have fewer than {FEW_PER_CLASS} images "
            f"({_listed(labels, counts)}); their precision and recall will be uncertain by tens "
            "of points; add more"
        )
    return (
        f"class {labels[0]!r} has only {images(counts[labels[0]])}; its precision and recall will "
        "be uncertain by tens of points; add more"
    )


def _listed(labels: list[str], counts: Mapping[str, int]) -> str:
    smallest = sorted(labels, key=counts.__getitem__)
    shown = ", ".join(f"{name!r} {counts[name]}" for name in smallest[:SEVERAL])
    return f"{shown} and {len(labels) - SEVERAL:,} more"


def _one_class(members: Members) -> list[Finding]:
    if len(members) > 1:
        return []
    return [
        Finding(
            "one_class",
            f"all images have the label {next(iter(members))!r}; a classifier needs two classes or "
            "more, each in its own folder",
        )
    ]


def _imbalance(members: Members) -> list[Finding]:
    sizes = {label: len(positions) for label, positions in members.items()}
    most, least = max(sizes, key=sizes.__getitem__), min(sizes, key=sizes.__getitem__)
    if sizes[most] < UNEVEN * sizes[least] or sizes[least] < FEWEST_PER_CLASS:
        return []
    return [
        Finding(
            "imbalance",
            f"class {most!r} has {sizes[most]:,} images, {least!r} only {sizes[least]:,}; the "
            f"classifier will rarely answer {least!r}, and accuracy will hide it; add images of "
            f"{least!r}, or train with --balance sampling",
        )
    ]
