"""predict.py, which travels with an export: Pillow, NumPy and the runtime alone."""

HEAD = '''"""What images show, by the model beside this file: python predict.py IMAGE...

Needs {needs}. Written by graft export; docs/export.md of graft says more.
"""

import io
import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

{loading}

def read(file):
    """Decode a file as graft does: upright 8-bit RGB, transparency over white."""
    image = Image.open(io.BytesIO(Path(file).read_bytes()))
    needed, box = {side} * 2, None
    if image.format == "JPEG" and (draft := image.draft(None, (needed, needed))):
        box = draft[1]  # large photos are decoded at 1/2, 1/4 or 1/8 of their size
    image.load()
    exif, rgb = image.getexif(), image
    if image.mode in ("I", "I;16", "I;16B", "I;16L"):
        rgb = Image.fromarray(np.round(np.asarray(image) / 257).astype(np.uint8)).convert("RGB")
    elif "A" in image.mode or "a" in image.mode or "transparency" in image.info:
        rgba = image.convert("RGBA")
        rgb = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    elif image.mode != "RGB":
        rgb = image.convert("RGB")
    if box and box[2:] != rgb.size:
        size = (max(1, round(box[2])), max(1, round(box[3])))
        rgb = rgb.resize(size, Image.Resampling.LANCZOS, box=box)
    rgb.getexif()[0x0112] = exif.get(0x0112, 1)
    return ImageOps.exif_transpose(rgb)

{square}
def predict(file):
    """The label (None: unlike the training images), its probability, and all the others."""
    probabilities, ood_score, _ = run(np.asarray({pixels})[np.newaxis])
    named = dict(zip(CONTRACT["classes"], map(float, probabilities[0]), strict=True))
    best, limit = max(named, key=named.get), CONTRACT["ood_limit"]
    strange = limit is not None and float(ood_score[0]) > limit
    return {{
        "path": str(file),
        "label": None if strange else best,
        "best_guess": best,
        "probability": named[best],
        "probabilities": named,
        "ood_score": None if limit is None else float(ood_score[0]),
    }}


if __name__ == "__main__":
    for name in sys.argv[1:]:
        print(json.dumps(predict(name), ensure_ascii=False))
'''

SQUARE = '''
def squared(image):
    """Resize and center crop, as graft does."""
    fed = CONTRACT["preprocess"]
    (w, h), (tw, th), crop = image.size, (fed["width"], fed["height"]), fed["crop"]
    side, short = {side}, min(image.size)
    nw, nh = max(side, int(side * w / short)), max(side, int(side * h / short))
    if fed["resize"] == "squash":
        nw, nh = int(tw / crop), int(th / crop)
    box = (round((nw - tw) / 2), round((nh - th) / 2))
    method = Image.Resampling[fed["interpolation"].upper()]
    if max(nw, nh) > 32 * side:  # of a very long image the center alone
        x, y = w / nw, h / nh
        part = (box[0] * x, box[1] * y, min(w, (box[0] + tw) * x), min(h, (box[1] + th) * y))
        return image.resize((tw, th), method, box=part)
    return image.resize((nw, nh), method).crop((*box, box[0] + tw, box[1] + th))

'''

ONNX = """import onnxruntime

HERE = Path(__file__).parent
SESSION = onnxruntime.InferenceSession(HERE / "model.onnx", providers=["CPUExecutionProvider"])
CONTRACT = json.loads(SESSION.get_modelmeta().custom_metadata_map["graft"])


def run(images):
    return SESSION.run(["probabilities", "ood_score", "features"], {"image": images})
"""

OPENVINO = """import openvino

MODEL = openvino.Core().read_model(Path(__file__).parent / "model.xml")
CONTRACT = json.loads(MODEL.get_rt_info(["graft"]).astype(str))
# In bfloat16, many processors' own choice, the resize would round pixels.
COMPILED = openvino.Core().compile_model(MODEL, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})


def run(images):
    found = COMPILED([images])
    return [found[name] for name in ("probabilities", "ood_score", "features")]
"""

TORCH = """import torch

EXTRA = {"graft.json": ""}
MODEL = torch.export.load(Path(__file__).parent / "model.pt2", extra_files=EXTRA).module()
CONTRACT = json.loads(EXTRA["graft.json"])


def run(images):
    with torch.inference_mode():
        return [each.numpy() for each in MODEL(torch.from_numpy(images.copy()))]
"""

_RUNTIMES = {"onnx": ONNX, "openvino": OPENVINO, "torch": TORCH}
_NEEDS = {"onnx": "onnxruntime", "openvino": "openvino", "torch": "torch"}


def standalone(to: str, side: int, square: bool) -> str:
    """The text of predict.py for a format; `side`: what the shorter side is resized to."""
    return HEAD.format(
        needs=f"{_NEEDS[to]}, numpy and pillow",
        loading=_RUNTIMES[to],
        side=side,
        square=SQUARE.format(side=side) if square else "",
        pixels="squared(read(file))" if square else "read(file)",
    )
