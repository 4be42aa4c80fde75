"""How networks of other tools were fed their pixels: the conventions of the field."""

from graft.choices import PixelScale

Triple = tuple[float, float, float]
_IMAGENET: tuple[Triple, Triple] = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_BYTE: Triple = (1 / 255, 1 / 255, 1 / 255)
# By scale, the mean and the standard deviation of channels of 0 to 1, in RGB: "caffe" has the
# means of ImageNet's channels of 0 to 255, and takes BGR.
SCALES: dict[PixelScale, tuple[Triple, Triple]] = {
    "tf": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "torch": _IMAGENET,
    "caffe": ((123.68 / 255, 116.779 / 255, 103.939 / 255), _BYTE),
    "0-255": ((0.0, 0.0, 0.0), _BYTE),
    "0-1": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
}
SAY_SCALE = (
    "say how it wants its pixels by --pixels: tf (-1 to 1), torch (ImageNet's mean and standard "
    "deviation), caffe (BGR minus ImageNet's mean), 0-255 or 0-1; or write that into the file once "
    "by graft import"
)
