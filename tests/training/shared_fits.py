"""Started by torchrun from test_distributed.py: fits of tiny networks, shared by all processes.

    torchrun … shared_fits.py OUT.json

Rank 0 writes what came of each fit: its epochs, the logits of the validation images, and a digest
of the random state.
"""

import hashlib
import json
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from graft.features.activations import Activations
from graft.models import ranks
from graft.models.head import Head
from graft.models.ranks import joined
from graft.models.scratch_cnns import BaseCNN
from graft.training.batch_part import Part, in_parts
from graft.training.batches import batch_rows, in_order, jittered, shuffled, steps_of
from graft.training.loop import FitSettings, fit, logits_of

CLASSES, SIDE, WIDTH = 3, 8, 20
SETTINGS = FitSettings(
    epochs=3, learning_rate=0.05, weight_decay=1e-4, label_smoothing=0.1, patience=9, seed=3
)
SGD = replace(SETTINGS, optimizer="sgd")


class Pixels(nn.Module):
    """(n, H, W, 3) uint8 to logits, with BatchNorm."""

    def __init__(self):
        super().__init__()
        self.body, self.head = BaseCNN(), Head(128, CLASSES, 16, 0.2, 0.5)

    def forward(self, pixels):
        x = (pixels.float() / 128 - 1).permute(0, 3, 1, 2)
        return self.head(self.body.forward_head(self.body.forward_features(x)))


def data(count, shape, kind):
    random = np.random.default_rng(1)
    labels = random.integers(0, CLASSES, count)
    signal = random.normal(size=(CLASSES, *shape))[labels] + random.normal(size=(count, *shape))
    scaled = np.clip(signal * 30 + 128, 0, 255) if kind is np.uint8 else signal
    return scaled.astype(kind), labels


def shared(runtime, model, values, labels, settings, batch, moved=False):
    """Fit on all but the last 20 images, which are of validation."""
    known = len(labels) - 20
    own = runtime.part(20)
    val, val_labels = Activations.of(values[known:][own]), labels[known:][own]
    train_labels, seen = labels[:known], Activations.of(values[:known])

    def train(epoch, start):
        rows = batch_rows(train_labels, batch, 0, epoch)[start:]
        if moved:
            return jittered(
                seen, train_labels, rows, epoch, seed=0, shift=1, flip=True, erased=2,
                own=lambda count: Part.of(runtime, count).rows,
            )  # fmt: skip
        return in_parts(
            rows, train_labels, runtime, lambda own: shuffled([seen], train_labels, own, epoch)
        )

    history = fit(
        model, train, steps_of(known, batch), lambda: in_order(val, val_labels), settings, runtime
    )
    logits, gathered = logits_of(model, in_order(val, val_labels), runtime)
    assert gathered.tolist() == labels[known:].tolist(), "by position, each once"
    digest = hashlib.sha256(b"".join(v.numpy().tobytes() for v in model.state_dict().values()))
    ranks.agreed(runtime, "weights", digest.hexdigest)
    lines = [{k: v for k, v in asdict(epoch).items() if k != "seconds"} for epoch in history]
    return {"epochs": lines, "logits": logits.tolist()}


def fits(runtime):
    torch.manual_seed(0)
    features, numbers = data(20 + 103, (WIDTH,), np.float16)
    pixels, labels = data(20 + 34, (SIDE, SIDE, 3), np.uint8)
    head, network = Head(WIDTH, CLASSES, 16, 0.2, 0.5), Pixels()
    initial = {name: value.clone() for name, value in network.state_dict().items()}

    def again():
        network.load_state_dict(initial)
        return network

    yield "head", shared(runtime, head, features, numbers, replace(SETTINGS, mixup=0.4), 16)
    # The last batch has two images: fewer than three processes.
    yield "pixels", shared(runtime, again(), pixels, labels, replace(SGD, ema=0.9), 16, True)
    cut = replace(SGD, cutmix=1.0, epochs=2)
    yield "cutmix", shared(runtime, again(), pixels, labels, cut, 16)
    apart = replace(SGD, sync_batch_norm=False, epochs=2)
    yield "apart", shared(runtime, again(), pixels, labels, apart, 16)


if __name__ == "__main__":
    with joined() as joined_runtime:
        results = dict(fits(joined_runtime))
        if joined_runtime.rank == 0:
            Path(sys.argv[1]).write_text(json.dumps(results))
