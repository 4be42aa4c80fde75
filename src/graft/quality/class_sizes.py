"""Findings on the number of images in each class."""

from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence

from graft.data.dataset import Example
from graft.data.split import FEWEST_PER_CLASS
from graft.quality.finding import Finding, images

# Below this many images in a class, the interval of its recall is wider than ±20 points.
FEW_PER_CLASS = 30
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
    findings = [*_one_class(members), *_imbalance(members)]
    given = {example.split for example in examples} - {None}
    for label, positions in sorted(members.items()):
        count = len({units[i] for i in positions}) if units else len(positions)
        paths = tuple(examples[i].path for i in positions)
        if "train" in given and all(examples[i].split in ("val", "test") for i in positions):
            message = f"class {label!r} has no image in train, so it cannot be learned; add some"
            findings.append(Finding("too_few", message, paths))
        elif given != {"train", "val", "test"} and count < FEWEST_PER_CLASS:
            message = (
                f"class {label!r} has {count} different usable "
                f"{'image' if count == 1 else 'images'}, but three splits need at least "
                f"{FEWEST_PER_CLASS}; add some, or remove the class"
            )
            findings.append(Finding("too_few", message, paths))
            continue
        if count < FEW_PER_CLASS:
            message = (
                f"class {label!r} has only {images(count)}; its precision and recall will be "
                "uncertain by tens of points; add more"
            )
            findings.append(Finding("few", message))
    return findings


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
