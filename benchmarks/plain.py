"""The plain way, as the tutorials have it: Pillow, DataLoader, eager float32, timm.

`train FOLDER EPOCHS`: a frozen backbone run again in every epoch, a linear head, Adam.
`predict FOLDER`: one loop over all images. Prints seconds as JSON.
"""

import json
import sys
import time

import timm
import torch
from timm.data import create_transform, resolve_data_config
from torch.utils.data import DataLoader, Subset
from torchvision.datasets import ImageFolder

from benchmarks.common import WEIGHTS
from graft.models.packaged_weights import PACKAGES, load_packaged


def main(what: str, folder: str, epochs: int) -> None:
    if WEIGHTS in PACKAGES:
        body = load_packaged(WEIGHTS, timm.create_model(WEIGHTS)).eval()
        body.reset_classifier(0)
    else:
        body = timm.create_model(WEIGHTS, pretrained=True, num_classes=0).eval()
    data = ImageFolder(folder, create_transform(**resolve_data_config(model=body)))
    if what == "predict":
        start = time.perf_counter()
        with torch.inference_mode():
            for images, _ in DataLoader(data, 32, num_workers=2):
                body(images)
        seconds = time.perf_counter() - start
        print(json.dumps({"seconds": seconds, "images": len(data)}))
        return
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(0)).tolist()
    cut = int(0.7 * len(data)), int(0.85 * len(data))
    train, val = Subset(data, order[: cut[0]]), Subset(data, order[cut[0] : cut[1]])
    test = Subset(data, order[cut[1] :])
    head = torch.nn.Linear(body.num_features, len(data.classes))
    adam = torch.optim.Adam(head.parameters(), 1e-3)

    def right(split: Subset) -> float:
        total = 0
        with torch.inference_mode():
            for images, labels in DataLoader(split, 32, num_workers=2):
                total += int((head(body(images)).argmax(1) == labels).sum())
        return total / len(split)

    for _ in range(epochs):
        for images, labels in DataLoader(train, 32, shuffle=True, num_workers=2):
            with torch.no_grad():
                features = body(images)
            loss = torch.nn.functional.cross_entropy(head(features), labels)
            adam.zero_grad()
            loss.backward()
            adam.step()
        right(val)
    print(json.dumps({"accuracy": right(test)}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 0)
