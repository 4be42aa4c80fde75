"""What settings can be set to, apart from config.py so that `graft check` need not load pydantic.

`get_args(Backend)` lists the values that a type allows; the tuples are those that are listed.
"""

import re
from typing import Literal, get_args

from graft.errors import UsageError

Backend = Literal["auto", "openvino", "torch", "float32"]
Resize = Literal["crop", "squash"]
PixelScale = Literal["tf", "torch", "caffe", "0-255", "0-1"]
PixelsAsked = Literal["auto", "tf", "torch", "caffe", "0-255", "0-1"]  # auto: as the file says
Preset = Literal["none", "light", "standard", "strong"]
Optimizer = Literal["adamw", "sgd"]
Schedule = Literal["one-cycle", "cosine", "plateau"]
BatchNorm = Literal["frozen", "train"]
Balance = Literal["none", "sampling"]
LabelBy = Literal["outermost", "innermost"]
HeadStart = Literal["new", "zero-shot", "wise-ft"]
Explaining = Literal["occlusion", "gradients"]

BACKENDS: tuple[Backend, ...] = get_args(Backend)
PIXEL_SCALES: tuple[PixelScale, ...] = get_args(PixelScale)
RESIZES: tuple[Resize, ...] = get_args(Resize)
PRESETS: tuple[Preset, ...] = get_args(Preset)
LABELS_BY: tuple[LabelBy, ...] = get_args(LabelBy)
EXPLANATIONS: tuple[Explaining, ...] = get_args(Explaining)  # the default first

# Pixels a side of a network's input, at most: above it 32 images take more memory than most have.
LARGEST_SIDE = 2048

DEFAULT_MODEL = "tf_efficientnet_lite0"
# Before a folder, or a repository of the model hub, with a network of images and their captions.
OPEN_CLIP = "open-clip:"
ZERO_SHOT_MODEL = f"{OPEN_CLIP}timm/ViT-B-16-SigLIP2"
FROM_SCRATCH = ("base_cnn", "deep_cnn")
MODEL_HELP = "A name or form that graft models lists, or the folder of a run."
PIXELS_HELP = (
    "How a network of file:… was fed its pixels, where the file does not say: tf (-1 to 1), torch "
    "(ImageNet's mean and standard deviation), caffe (BGR minus ImageNet's mean), 0-255 or 0-1."
)
SYNC_HELP = (
    "Under torchrun, statistics of BatchNorm layers that are trained are those of the whole batch, "
    "as in one process; with no-, those of each process's part of it."
)
BACKEND_HELP = "What runs the encoder; auto takes the fastest one here and names it."
UNFREEZE = r"none|all|lora|\d+(\.\d+)?%|[1-9]\d{0,3}"


def parse_unfreeze(text: object) -> tuple[str, float]:
    """("none", 0), ("all", 1), ("lora", 0), ("fraction", 0..1) or ("stages", N); UsageError for
    other text.
    """
    if isinstance(text, str) and re.fullmatch(UNFREEZE, text):
        if text in ("none", "all", "lora"):
            return text, float(text == "all")
        if not text.endswith("%"):
            return "stages", float(text)
        fraction = float(text[:-1]) / 100
        if 0 < fraction <= 1:
            return ("fraction", fraction) if fraction < 1 else ("all", 1.0)
    raise UsageError(
        "unfreeze must be none, all, lora, a percentage of the last layers such as 20%, or a "
        f"number of last stages such as 2, not {text!r}"
    )
