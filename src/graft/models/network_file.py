"""Networks from files of other tools: ONNX, TensorFlow SavedModel, TFLite and OpenVINO IR.

    file:encoder.onnx   file:FOLDER   file:encoder.tflite   file:encoder.xml   file:FILE#OUTPUT

OpenVINO's own front ends read them; TensorFlow is not needed. Whatever the file's layout, scale
and output are, what is kept is one graph from normalized RGB, (N, 3, H, W), to features (N, D):
see OpenVinoBody. Files are not trusted: sizes are bounded, and a file opens no other one outside
of its folder.
"""

from dataclasses import dataclass
from pathlib import Path

from graft.choices import PixelScale
from graft.data.decode import Preprocess
from graft.errors import ModelError
from graft.models.network_graph import USUAL_SIDE, Image, chosen_output, uniform, written
from graft.models.onnx_references import external_files
from graft.models.openvino_body import OpenVinoBody, check_bounds, reason_of
from graft.runs.reading import checked_size

# How a network is named that is a file.
FILE = "file:"
KINDS = (".onnx", ".tflite", ".xml")
# The graph in a folder that `graft import` made.
IMPORTED = "encoder.xml"
SAVED_MODEL = "saved_model.pb"
# Bytes of a file, at most: ten times the largest that is used as an encoder for images.
LARGEST_FILE = 16 * 2**30

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


@dataclass(frozen=True)
class NetworkFile:
    """What `file:…` names: the file or folder, all the files that belong to it, and the output,
    None for the first.
    """

    name: str
    path: Path
    files: tuple[Path, ...]
    output: str | None

    @property
    def key(self) -> str:
        """What of the name belongs to a digest: not where the file lies."""
        return f"file{self.path.suffix} {self.output}"


def find_file(name: str) -> NetworkFile:
    """The files of a network that is named by its file; ModelError where there are none that
    graft reads.
    """
    told, output = name.removeprefix(FILE), None
    path = Path(told)
    if "#" in told and not path.exists():
        told, _, output = told.rpartition("#")
        path = Path(told)
    return NetworkFile(name, path, tuple(_files(path)), output or None)


def read_file(
    file: NetworkFile, pixels: PixelScale | None = None
) -> tuple[OpenVinoBody, Preprocess]:
    """The network of a file and how it is fed (Preprocess): images of the size that the graph
    has, or of USUAL_SIDE where it takes any, scaled as `pixels` says; None: as the file says,
    which is 0 to 255 for one that takes bytes.

    Raises ModelError for a file that cannot be read or is larger than any network, and where
    neither says the scale.
    """
    try:
        for each in file.files:
            checked_size(each, LARGEST_FILE)
        return _read(file, pixels)
    except ModelError as error:
        raise ModelError(f"{file.name}: {error}") from error
    except (OSError, ValueError) as error:
        raise ModelError(f"{file.name}: cannot be read: {error}") from error
    # OpenVINO raises plain RuntimeErrors, and others where Python meets its own.
    except Exception as error:
        raise ModelError(f"{file.name}: OpenVINO cannot read it: {reason_of(error)}") from error


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        if (path / IMPORTED).is_file():
            return _files(path / IMPORTED)
        if (path / SAVED_MODEL).is_file():
            return sorted(file for file in path.rglob("*") if file.is_file())
        raise ModelError(
            f"{path}: expected a folder with {SAVED_MODEL} (TensorFlow's SavedModel) or "
            f"{IMPORTED} (graft import)"
        )
    if path.suffix.lower() in (".keras", ".h5", ".hdf5"):
        raise ModelError(f"{path}: a file of Keras is converted once: graft import {path}")
    if path.suffix.lower() not in KINDS:
        raise ModelError(
            f"{path}: expected a file of {', '.join(KINDS)}, or the folder of a SavedModel"
        )
    if not path.is_file():
        raise ModelError(f"{path}: there is no such file")
    if path.suffix.lower() == ".onnx":
        return [path, *external_files(path)]
    constants = path.with_suffix(".bin")
    return [path, constants] if path.suffix.lower() == ".xml" and constants.is_file() else [path]


def _read(file: NetworkFile, pixels: PixelScale | None) -> tuple[OpenVinoBody, Preprocess]:
    import openvino

    model = openvino.Core().read_model(str(_entry(file)))
    check_bounds(model)
    image = Image(model)
    pixels = pixels or ("0-255" if image.takes_bytes else None)
    if pixels is None:
        raise ModelError(SAY_SCALE)
    graph = uniform(model, image, chosen_output(model, file.output), pixels == "caffe")
    check_bounds(graph)
    mean, std = SCALES[pixels]
    height, width = (side or USUAL_SIDE for side in (image.height, image.width))
    preprocess = Preprocess(height, width, mean, std)
    return OpenVinoBody(*written(graph)), preprocess


def _entry(file: NetworkFile) -> Path:
    """What OpenVINO is given: the file, or the folder of a SavedModel."""
    imported = file.files[0].name == IMPORTED
    return file.path if file.path.is_dir() and not imported else file.files[0]
