"""The gradient loop with cached images from disk, against a bare loop over tensors in memory.

[ROUNDS]: base_cnn at 32 px, batches of 256, `fit` with its shuffling, moving and mirroring of
memory-mapped images against the fewest lines of PyTorch that train the same network.
"""

import sys
import time

import numpy as np
import torch
from torch import nn

from benchmarks.common import median, show, workplace
from graft.features.activations import open_store
from graft.models.backbone import scratch
from graft.models.runtime import detect_runtime
from graft.training.batches import batch_rows, in_order, jittered, steps_of
from graft.training.loop import FitSettings, fit

IMAGES, BATCH = 20_480, 256


def network() -> nn.Module:
    torch.manual_seed(0)
    backbone = scratch("base_cnn", 32)
    model = nn.Sequential(backbone.build(), nn.Linear(backbone.features, 10))
    return model.to(memory_format=torch.channels_last)


def bare(pixels: torch.Tensor, labels: torch.Tensor) -> float:
    model = network().train()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3, fused=True)
    optimizer.step()  # what its first step imports is not what is timed
    start = time.perf_counter()
    for i in range(0, len(pixels), BATCH):
        with torch.autocast("cpu", torch.bfloat16):
            logits = model(pixels[i : i + BATCH])
        loss = nn.functional.cross_entropy(logits.float(), labels[i : i + BATCH])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return len(pixels) / (time.perf_counter() - start)


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (IMAGES, 32, 32, 3), np.uint8)
    labels = random.integers(0, 10, IMAGES)
    rates: dict[str, list[float]] = {"graft": [], "bare": []}
    with workplace() as place:
        store = open_store(place, "images", "view0", (32, 32, 3), np.uint8)
        digests = [i.to_bytes(32, "big") for i in range(IMAGES)]
        for digest, image in zip(digests, pixels, strict=True):
            store.put(digest, image)
        view = store.gather(digests)
        few = store.gather(digests[:BATCH])
        settings = FitSettings(1, 1e-3, 0.01, 0.0, 1, 0)
        runtime = detect_runtime()
        for _ in range(rounds):
            rates["bare"].append(bare(torch.from_numpy(pixels), torch.from_numpy(labels)))
            (epoch,) = fit(
                network(),
                lambda epoch, start: jittered(
                    view,
                    labels,
                    batch_rows(labels, BATCH, 0, epoch),
                    epoch,
                    seed=0,
                    shift=4,
                    flip=True,
                ),
                steps_of(IMAGES, BATCH),
                lambda: in_order(few, labels[:BATCH]),
                settings,
                runtime,
            )
            rates["graft"].append(IMAGES / epoch.seconds)
    graft, plain = median(rates["graft"]), median(rates["bare"])
    show("loop_speed", graft_images_s=graft, bare_images_s=plain, ratio=graft / plain)


if __name__ == "__main__":
    main()
