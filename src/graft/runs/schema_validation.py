"""What validation.json may hold."""

from typing import Annotated

from pydantic import Field

from graft.runs.schema import Count, Fraction, Name, Part, Text

ACCURACIES = 10.0  # an extrapolated accuracy or a gain in it may leave 0..1, but not by so much
Near = Annotated[float, Field(ge=-ACCURACIES, le=ACCURACIES)]


class Rate(Part):
    """A fraction with its 95 % interval."""

    value: Fraction
    low: Fraction
    high: Fraction
    method: Text = ""


class Scores(Part):
    """The scores of a head that was fitted again."""

    accuracy: Rate
    n: Annotated[Count, Field(ge=1)]


class Folds(Scores):
    """Cross-validation."""

    folds: Count
    left_out: Count


class Repeats(Part):
    """Other seeds or splits."""

    what: Text
    each: Annotated[list[Fraction], Field(min_length=1)]
    n: Annotated[list[Count], Field(min_length=1)]
    mean: Fraction
    low: Fraction
    high: Fraction
    method: Text
    standard_deviation: Fraction | None


class Leak(Part):
    """A split that ignores near-duplicates."""

    near: Count
    test_seen: Count
    n: Annotated[Count, Field(ge=1)]
    accuracy: Rate | None


class Point(Part):
    """A point of the learning curve."""

    images: Annotated[int, Field(ge=1, le=10**12)]
    accuracy: Near
    low: Near
    high: Near


class Gain(Part):
    """A difference of accuracies."""

    value: Near
    low: Near
    high: Near


class Ahead(Point):
    """A point beyond the images there are."""

    gain: Gain


class Curve(Part):
    """The fitted curve: accuracy = 1 - floor - scale · n^-exponent."""

    floor: Near
    scale: Annotated[float, Field(ge=0, le=1e6)]
    exponent: Annotated[float, Field(ge=0, le=10)]


class NextClass(Part):
    """A class of which more images may help."""

    class_name: Annotated[Name, Field(alias="class")]
    n: Count
    recall: Fraction
    low: Fraction
    high: Fraction
    before: Rate


class LearningCurve(Part):
    """Accuracy against the number of training images."""

    points: Annotated[list[Point], Field(min_length=1)]
    n: Count
    curve: Curve
    fitted: list[Point]
    ahead: Annotated[list[Ahead], Field(min_length=1)]
    method: Text
    next: list[NextClass]


class Validation(Part):
    """validation.json."""

    leaky_split: Leak | None = None
    folds: Folds | None = None
    repeats: Repeats | None = None
    learning_curve: LearningCurve | None = None
