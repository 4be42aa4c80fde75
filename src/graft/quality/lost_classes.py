"""Findings on classes that would vanish, or nearly, because their images cannot be used."""

from collections import Counter
from collections.abc import Iterable, Mapping

from graft.data.dataset import Dataset
from graft.data.decode import UnusableImageError
from graft.quality.finding import Finding, images, some

# More than this fraction of a class cannot be used: what is left is another class than was meant.
MOST = 0.5


def lost_class_findings(
    dataset: Dataset,
    usable: Iterable[int],
    problems: Mapping[int, UnusableImageError] | None = None,
) -> list[Finding]:
    """A finding for the classes of which more than half of the images are not `usable`.

    `usable` are positions of the examples; `problems` say, by position, why one cannot be decoded.
    What the listing itself left out of a class counts, too.
    """
    examples, left = dataset.examples, Counter(dataset.examples[i].label for i in usable)
    total = Counter(dataset.counts) + Counter(dataset.lost)
    lost = [label for label in sorted(total) if total[label] - left[label] > MOST * total[label]]
    if not lost:
        return []
    paths: dict[str, list[str]] = {label: [] for label in lost}
    for i in sorted(problems or ()):
        if examples[i].label in paths:
            paths[examples[i].label].append(examples[i].path)
    named = paths[lost[0]]
    first = next((i for i in sorted(problems or ()) if examples[i].label == lost[0]), None)
    why = f" ({named[0]} {problems[first]})" if problems and first is not None else ""
    if len(lost) == 1:
        of = total[lost[0]]
        what = f"class {lost[0]!r} loses {of - left[lost[0]]:,} of its {images(of)}"
    else:
        what = f"classes {some(lost)} lose more than half of their images"
    message = f"{what}, which cannot be used{why}; mend them, or remove the class"
    return [Finding("lost_class", message, tuple(p for label in lost for p in paths[label]))]
