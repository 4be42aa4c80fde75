"""An epoch of fine-tuning the last 20 %, its frozen prefix cached, against the same epoch through
the whole network, and against training all of it.

[EPOCHS, 10]: the default network on flowers at 224 px, batches of 64, bfloat16, channels last.
"through":
the usual way, images in memory, the whole network forwards in PyTorch, backwards as far as it is
trained. "all": nothing frozen.
"""

import json
import sys
import time

import numpy as np
import torch
from torch import nn

from benchmarks.common import GRAFT, WEIGHTS, images, median, show, timed, workplace
from graft.data.decode import center_view, decode
from graft.data.sources import find_images
from graft.models.split_point import find_split_point, order_of
from graft.models.weights import find_backbone
from graft.utils.cache_folder import cache_folder

BATCH, STEPS = 64, 5


def through(folder: str, share: str) -> float:
    """Images a second of training the last `share` through the whole network in PyTorch."""
    backbone = find_backbone(WEIGHTS, cache_folder())
    encoder = backbone.build()
    found = find_split_point(encoder, share)
    names = order_of(encoder)
    frozen = names[: names.index(found.unit)] if found.unit else ()
    for name in frozen:
        encoder.body.get_submodule(name).requires_grad_(False)
    model = nn.Sequential(encoder, nn.Linear(backbone.features, 5)).to(
        memory_format=torch.channels_last
    )
    files = list(find_images(folder))[:BATCH]
    pixels = torch.from_numpy(
        np.stack([center_view(decode(file.read_bytes()), backbone.preprocess) for file in files])
    )
    labels = torch.randint(0, 5, (BATCH,))
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, 1e-4, fused=True)
    rates = []
    for _ in range(STEPS):
        start = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16):
            logits = model(pixels)
        loss = nn.functional.cross_entropy(logits.float(), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        rates.append(BATCH / (time.perf_counter() - start))
    return median(rates[1:])


def main() -> None:
    epochs = sys.argv[1] if len(sys.argv) > 1 else "10"
    folder = images("flowers")
    with workplace() as place:
        train = [*GRAFT, "train", str(folder), "--model", WEIGHTS, "--unfreeze", "20%"]
        timed([*train, "--epochs", epochs, "--out", str(place / "run")], place / "cache")
        lines = (place / "run" / "history.jsonl").read_text().splitlines()
        history = [json.loads(line) for line in lines]
        rows = (place / "run" / "dataset.csv").read_text().splitlines()
    train_count = sum(",train," in row for row in rows)
    cached = median([h["seconds"] for h in history if h["stage"] == "fine-tune"])
    same = train_count / through(folder, "20%")
    whole = train_count / through(folder, "all")
    show(
        "tune_speed",
        images=train_count,
        cached_epoch_s=cached,
        through_epoch_s=same,
        all_epoch_s=whole,
        cached_over_through=cached / same,
        cached_over_all=cached / whole,
    )


if __name__ == "__main__":
    main()
