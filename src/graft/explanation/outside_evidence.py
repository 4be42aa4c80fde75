"""Evidence outside the object: a model that looks at the border of its images, or always at the
same place, has learned a frame, a watermark or the light, and will fail where that is missing.
"""

from collections.abc import Sequence

from graft.explanation.heat_map import Explanation
from graft.explanation.overlay import Maps

BORDER = 0.1  # the width of the border, as a share of each side: 36 % of the image lies in it


def border_share(values: Maps) -> float:
    """How much of a map's sum lies in the outer border of the image, 0..1; 0 of a map of zeros."""
    total = float(values.sum())
    rows, columns = (max(1, round(BORDER * length)) for length in values.shape)
    inner = float(values[rows:-rows, columns:-columns].sum())
    return (total - inner) / total if total > 0 else 0.0


def warning(explanations: Sequence[Explanation]) -> str:
    """What is suspicious about several images together; empty if nothing is."""
    return ""
