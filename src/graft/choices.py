"""What settings can be set to, apart from config.py so that `graft check` need not load pydantic.

`get_args(Backend)` lists the values that a type allows; the tuples are those that are listed.
"""

from typing import Literal, get_args

Backend = Literal["auto", "openvino", "torch", "float32"]
Resize = Literal["crop", "squash"]
PixelScale = Literal["tf", "torch", "caffe", "0-255", "0-1"]
Preset = Literal["none", "light", "standard", "strong"]
Optimizer = Literal["adamw", "sgd"]
Schedule = Literal["one-cycle", "cosine", "plateau"]
BatchNorm = Literal["frozen", "train"]
Balance = Literal["none", "sampling"]
LabelBy = Literal["outermost", "innermost"]
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
FROM_SCRATCH = ("base_cnn", "deep_cnn")
MODEL_HELP = (
    "A name from graft models, torchvision:NAME, local-dir:FOLDER, file:FILE (ONNX, SavedModel, "
    "TFLite, OpenVINO IR) or the folder of a run."
)
PIXELS_HELP = (
    "How a network of file:… was fed its pixels, where the file does not say: tf (-1 to 1), torch "
    "(ImageNet's mean and standard deviation), caffe (BGR minus ImageNet's mean), 0-255 or 0-1."
)
BACKEND_HELP = "What runs the encoder; auto takes the fastest one here and names it."
