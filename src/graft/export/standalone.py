"""What travels with an export and needs Pillow, NumPy and the runtime alone: predict.py, of at
most 60 lines, and check.py.
"""

from graft.data.decode import ELONGATED, FORMATS, OVERSAMPLING, Preprocess, resized_shorter_side

_PROGRAM = '''"""python predict.py IMAGE...: what images show; label null: none of these."""

import json
import sys
from pathlib import Path

import numpy as np
{imports}
{loading}


def read(file):
    """As graft decodes: upright RGB, transparency over white, a large JPEG at 1/2, 1/4 or 1/8."""
    image = rgb = Image.open(file, formats={formats})
    scaled = image.format == "JPEG" and image.draft(None, ({needed}, {needed}))
    image.load()
    if image.mode.startswith("I"):
        rgb = Image.fromarray(np.round(np.asarray(image) / 257).astype(np.uint8)).convert("RGB")
    elif image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        rgb = Image.new("RGBA", image.size, "white")
        rgb = Image.alpha_composite(rgb, image.convert("RGBA")).convert("RGB")
    elif image.mode != "RGB":
        rgb = image.convert("RGB")
    if scaled and (box := scaled[1])[2:] != rgb.size:
        rgb = rgb.resize([max(1, round(x)) for x in box[2:]], Image.Resampling.LANCZOS, box=box)
    rgb.getexif()[0x0112] = image.getexif().get(0x0112, 1)
    return ImageOps.exif_transpose(rgb)

{square}
def predict(file):
    images = np.asarray({pixels})[np.newaxis]
    {run}
    named = dict(zip(CONTRACT["classes"], probabilities[0].tolist(), strict=True))
    best, limit, score = max(named, key=named.get), CONTRACT["ood_limit"], float(ood_score[0])
    found = {{"path": str(file), "label": best if limit is None or score <= limit else None}}
    found |= {{"best_guess": best, "probability": named[best], "probabilities": named}}
    return found | {{"ood_score": score if limit else None}}

FAILED = []
if __name__ == "__main__":
    for name in sys.argv[1:] or sys.exit(__doc__):
        try:
            print(json.dumps(predict(name), ensure_ascii=False))
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            FAILED.append(print(f"{{name}}: cannot be used: {{error}}", file=sys.stderr))
    sys.exit(len(FAILED) > 0)
'''

CHECK = '''"""python check.py: does the model work here as it did where it was made? By vectors/."""

import json
import sys
from pathlib import Path

from predict import predict


def main():
    folder, differ = Path(__file__).with_name("vectors"), 0
    told = json.loads((folder / "vectors.json").read_text(encoding="utf-8"))
    most = told["tolerance"]
    for row in told["vectors"]:
        found = predict(folder / row["file"])
        pairs = zip(found["probabilities"].values(), row["probabilities"], strict=True)
        apart = max(abs(a - b) for a, b in pairs)
        score = found["ood_score"] or row["ood_score"]
        strange = abs(score - row["ood_score"]) / max(1.0, row["ood_score"])
        same = apart <= most["probability"] and strange <= most["ood_score"]
        differ |= not same
        said = f"probabilities within {apart:.1g}, the OOD score within {strange:.1g}"
        print(f"{row['file']} {'agrees' if same else 'differs'}: {said}")
    return int(differ)


if __name__ == "__main__":
    sys.exit(main())
'''

_SQUARE = """
def squared(image):
    w, h = image.size
    size = ({size})
    left, top = round((size[0] - {width}) / 2), round((size[1] - {height}) / 2)
    right, bottom, x, y = left + {width}, top + {height}, w / size[0], h / size[1]
    if max(size) <= {most}:
        return image.resize(size, Image.Resampling.{method}).crop((left, top, right, bottom))
    part = (left * x, top * y, min(w, right * x), min(h, bottom * y))
    return image.resize(({width}, {height}), Image.Resampling.{method}, box=part)
"""

_IMPORTS = {
    "onnx": "import onnxruntime\nfrom PIL import Image, ImageOps",
    "openvino": (
        'sys.modules["openvino_telemetry"] = None  # it would report this import to its maker\n'
        "import openvino\nfrom PIL import Image, ImageOps"
    ),
    "torch": "import torch\nfrom PIL import Image, ImageOps",
}
_LOADING = {
    "onnx": """FILE, PROVIDERS = Path(__file__).with_name("model.onnx"), ["CPUExecutionProvider"]
MODEL = onnxruntime.InferenceSession(FILE, providers=PROVIDERS)
CONTRACT = json.loads(MODEL.get_modelmeta().custom_metadata_map["graft"])""",
    # In bfloat16, the default of many processors, the resize would round pixels.
    "openvino": """MODEL = openvino.Core().read_model(Path(__file__).with_name("model.xml"))
RUN = openvino.Core().compile_model(MODEL, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
CONTRACT = json.loads(MODEL.get_rt_info(["graft"]).astype(str))""",
    "torch": """EXTRA = {"graft.json": ""}
MODEL = torch.export.load(Path(__file__).with_name("model.pt2"), extra_files=EXTRA).module()
CONTRACT = json.loads(EXTRA["graft.json"])""",
}
_RUN = {
    "onnx": 'probabilities, ood_score, _ = MODEL.run(None, {"image": images})',
    "openvino": "probabilities, ood_score, _ = RUN([images]).to_tuple()",
    "torch": "probabilities, ood_score, _ = MODEL(torch.tensor(images))",
}


def standalone(to: str, fed: Preprocess, square: bool) -> str:
    """The text of predict.py for a format and an input."""
    side = resized_shorter_side(fed)
    size = f"max({side}, int({side} * w / min(w, h))), max({side}, int({side} * h / min(w, h)))"
    if fed.resize == "squash":
        size = f"{int(fed.width / fed.crop)}, {int(fed.height / fed.crop)}"
    squared = _SQUARE.format(
        size=size,
        width=fed.width,
        height=fed.height,
        most=ELONGATED * side,
        method=fed.interpolation.upper(),
    )
    return _PROGRAM.format(
        imports=_IMPORTS[to],
        loading=_LOADING[to],
        formats=f'"{" ".join(FORMATS)}".split()',
        needed=side * OVERSAMPLING,
        square=squared if square else "",
        pixels="squared(read(file))" if square else "read(file)",
        run=_RUN[to],
    )
