"""What model.json may hold: whatever goes from it into a network has bounds."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from graft.choices import LARGEST_SIDE, Resize
from graft.runs.schema import Closed, Count, Name, Part, Text, all_different, check

# The format of model.json and model.safetensors that this graft writes, and the newest it reads.
FORMAT = 1
# Calibration gives 0.05 to 20 (graft.evaluation.calibration); older runs a little more.
COLDEST, HOTTEST = 0.01, 100.0

Side = Annotated[int, Field(ge=1, le=LARGEST_SIDE)]
Size = Annotated[int, Field(ge=1, le=100_000)]
Few = Annotated[int, Field(ge=0, le=512)]
Share = Annotated[float, Field(ge=0, lt=1)]
Word = Annotated[str, Field(pattern=r"^[A-Za-z0-9_]{0,40}$")]
Three = Field(min_length=3, max_length=3)
Pair = Annotated[list[Side], Field(min_length=2, max_length=2)]
Several = Annotated[list[Size], Field(max_length=64)]


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


class Arguments(Closed):
    """What timm may be told about a network's shape, and nothing else: no weights, files or
    addresses (`checkpoint_path`, `pretrained_cfg`, `cache_dir` …), no classes.
    """

    img_size: Side | Pair | None = None
    patch_size: Few | Pair | None = None
    window_size: Few | Pair | Several | None = None
    global_pool: Word | None = None
    act_layer: Word | None = None
    norm_layer: Word | None = None
    pool_type: Word | None = None
    stem_type: Word | None = None
    pos_embed: Word | None = None
    output_stride: Literal[8, 16, 32] | None = None
    in_chans: Literal[3] | None = None
    drop_rate: Share | None = None
    drop_path_rate: Share | None = None
    drop_block_rate: Share | None = None
    pos_drop_rate: Share | None = None
    patch_drop_rate: Share | None = None
    proj_drop_rate: Share | None = None
    attn_drop_rate: Share | None = None
    init_values: Annotated[float, Field(ge=0, le=100)] | None = None
    ls_init_value: Annotated[float, Field(ge=0, le=100)] | None = None
    mlp_ratio: Annotated[float, Field(gt=0, le=64)] | None = None
    embed_dim: Size | Several | None = None
    embed_dims: Several | None = None
    depth: Few | None = None
    depths: Annotated[list[Few], Field(max_length=64)] | None = None
    dims: Several | None = None
    num_heads: Few | Annotated[list[Few], Field(max_length=64)] | None = None
    reg_tokens: Few | None = None
    stem_size: Few | None = None
    stem_width: Few | None = None
    base_width: Few | None = None
    cardinality: Few | None = None
    num_features: Size | None = None
    class_token: bool | None = None
    no_embed_class: bool | None = None
    dynamic_img_size: bool | None = None
    dynamic_img_pad: bool | None = None
    strict_img_size: bool | None = None
    always_partition: bool | None = None
    pre_norm: bool | None = None
    final_norm: bool | None = None
    fc_norm: bool | None = None
    use_fc_norm: bool | None = None
    qkv_bias: bool | None = None
    qk_norm: bool | None = None
    proj_bias: bool | None = None
    scale_mlp: bool | None = None
    use_rel_pos_bias: bool | None = None
    use_shared_rel_pos_bias: bool | None = None
    use_abs_pos_emb: bool | None = None
    use_rot_pos_emb: bool | None = None
    swiglu_mlp: bool | None = None
    conv_mlp: bool | None = None
    use_grn: bool | None = None


class StoredBackbone(Closed):
    """As Backbone."""

    name: Name
    architecture: Annotated[str, Field(pattern=r"^[A-Za-z0-9_]{1,200}$")]
    arguments: Arguments
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


class StoredModel(Part):
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
    check(StoredModel, stored, "model.json")


def check_arguments(arguments: Any, name: str) -> None:
    """Raise ValueError unless timm may be given these; `name` is that of their file."""
    check(Arguments, arguments, name)


def newer_format(stored: Any) -> int | None:
    """The format of a model.json that only a newer graft reads, else None."""
    found = stored.get("format") if isinstance(stored, dict) else None
    return found if type(found) is int and found > FORMAT else None
