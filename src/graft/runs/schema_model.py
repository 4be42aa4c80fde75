"""What model.json may hold: whatever goes from it into a network has bounds."""

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from graft.choices import LARGEST_SIDE, Resize
from graft.runs.schema import Closed, Count, Name, Part, Text, all_different, check
from graft.runs.timm_arguments import check_arguments

# The format of model.json and model.safetensors that this graft writes, and the newest it reads.
FORMAT = 1
# Calibration gives 0.05 to 20 (graft.evaluation.calibration); older runs a little more.
COLDEST, HOTTEST = 0.01, 100.0

Side = Annotated[int, Field(ge=1, le=LARGEST_SIDE)]
Size = Annotated[int, Field(ge=1, le=100_000)]
Share = Annotated[float, Field(ge=0, lt=1)]
Three = Field(min_length=3, max_length=3)


class StoredPreprocess(Closed):
    """As Preprocess. The image that is resampled is `LARGEST_SIDE` × 2 on its shorter side at
    most, whatever `crop` is.
    """

    height: Side
    width: Side
    mean: Annotated[list[Annotated[float, Field(ge=-1000, le=1000)]], Three]
    std: Annotated[list[Annotated[float, Field(ge=1e-4, le=1000)]], Three]
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos"] = "bicubic"
    crop: Annotated[float, Field(gt=0, le=1)] = 1.0
    resize: Resize = "crop"

    @model_validator(mode="after")
    def _resampled(self) -> Self:
        side = max(self.height, self.width) / self.crop
        if side > 2 * LARGEST_SIDE:
            raise ValueError(
                f"height, width and crop ask for {side:,.0f} pixels a side, expected "
                f"{2 * LARGEST_SIDE:,} at most"
            )
        return self


def _arguments(value: dict[str, Any]) -> dict[str, Any]:
    check_arguments(value)
    return value


class StoredBackbone(Closed):
    """As Backbone."""

    name: Name
    architecture: Annotated[str, Field(pattern=r"^[A-Za-z0-9_]{1,200}$")]
    arguments: Annotated[dict[str, Any], AfterValidator(_arguments)]
    preprocess: StoredPreprocess
    taps: bool
    features: Size
    parameters: Count
    digest: Annotated[str, Field(pattern=r"^[0-9a-f]{0,64}$")]
    source: Text
    mirrored: bool = False


class StoredHead(Closed):
    """As Head.shape."""

    features: Size
    classes: Size
    hidden: Annotated[int, Field(ge=0, le=100_000)]
    dropout_in: Share
    dropout_hidden: Share


class Parameters(Part):
    """How many parameters there are, and how many were trained."""

    total: Count
    trained: Count


class ModelFile(Part):
    """model.json."""

    format: Annotated[int, Field(ge=1, le=FORMAT)]
    backbone: StoredBackbone
    head: StoredHead
    classes: Annotated[list[Name], Field(min_length=2, max_length=100_000)]
    preprocess: StoredPreprocess
    temperature: Annotated[float, Field(ge=COLDEST, le=HOTTEST)]
    ood_limit: Annotated[float, Field(gt=0, le=1e9)] | None = None
    frozen: bool
    parameters: Parameters

    @model_validator(mode="after")
    def _agree(self) -> Self:
        all_different(self.classes, "classes")
        for first, one, second, other in (
            ("head.classes", self.head.classes, "the number of classes", len(self.classes)),
            ("head.features", self.head.features, "backbone.features", self.backbone.features),
        ):
            if one != other:
                raise ValueError(f"{first} is {one:,}, but {second} is {other:,}")
        if self.preprocess != self.backbone.preprocess:
            raise ValueError("preprocess and backbone.preprocess differ")
        return self


def check_model(stored: Any) -> None:
    """Raise ValueError unless this is a whole model.json; see `check`."""
    check(ModelFile, stored, "model.json")


def newer_format(stored: Any) -> int | None:
    """The format of a model.json that only a newer graft reads, else None."""
    found = stored.get("format") if isinstance(stored, dict) else None
    return found if type(found) is int and found > FORMAT else None
