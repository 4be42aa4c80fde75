"""Writes tiny.onnx by PyTorch's exporter, with onnx, and what onnxruntime says of it.

    python make_onnx.py

features: what `tiny.onnx` gives at "features" and "scores" for the images of `images()`, scaled as
"torch".
"""

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from torch import nn

HERE = Path(__file__).parent
SIDE = 16


def images():
    """Two images (2, 16, 16, 3) uint8; the same in make_tensorflow.py and in the tests."""
    rows, columns, channels = np.mgrid[0:SIDE, 0:SIDE, 0:3]
    first = (rows * 16 + columns * (channels + 1)) % 256
    return np.stack([first, 255 - first.transpose(1, 0, 2)]).astype(np.uint8)


class Tiny(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.second = nn.Conv2d(8, 12, 3, stride=2, padding=1)
        self.classifier = nn.Linear(12, 5)

    def forward(self, x):
        maps = self.second(self.conv(x).relu()).relu()
        features = maps.mean((2, 3))
        return self.classifier(features), features


def main():
    torch.manual_seed(0)
    batch = torch.export.Dim("batch")
    torch.onnx.export(
        Tiny().eval(),
        (torch.zeros(2, 3, SIDE, SIDE),),
        HERE / "tiny.onnx",
        input_names=["image"],
        output_names=["scores", "features"],
        dynamic_shapes=({0: batch},),
        external_data=False,
        dynamo=True,
    )
    model = onnx.load(HERE / "tiny.onnx")
    del model.metadata_props[:]
    for node in model.graph.node:
        del node.metadata_props[:]  # the lines of this file that it came from
    onnx.save(model, HERE / "tiny.onnx")
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    x = ((images() / 255 - mean) / std).transpose(0, 3, 1, 2).astype(np.float32)
    session = onnxruntime.InferenceSession(HERE / "tiny.onnx")
    scores, features = session.run(["scores", "features"], {"image": x})
    found = {"scores": scores.tolist(), "features": features.tolist()}
    (HERE / "tiny_onnx.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
