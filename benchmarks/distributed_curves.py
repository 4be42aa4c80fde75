"""The loss curves of one, two and three processes, for docs/distributed.md.

    python -m benchmarks.distributed_curves docs/distributed.svg

starts torchrun three times on this machine, over gloo with one thread a process. Each trains
base_cnn on 997 digits, with SGD, dropout, shifts and a batch of 64 that no three divide.
"""

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

WORLDS = (1, 2, 3)


def fitted(out: str) -> None:
    """What each process does; rank 0 writes the epochs."""
    import numpy as np
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    from graft.features.activations import Activations
    from graft.models.head import Head
    from graft.models.ranks import joined
    from graft.models.scratch_cnns import BaseCNN
    from graft.training.batch_part import Part
    from graft.training.batches import batch_rows, in_order, jittered, steps_of
    from graft.training.loop import FitSettings, fit

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.head = BaseCNN(), Head(128, 10, 64, 0.2, 0.5)

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            x = (pixels.float() / 128 - 1).permute(0, 3, 1, 2)
            return torch.as_tensor(self.head(self.body.forward_head(self.body.forward_features(x))))

    digits = load_digits()
    gray = np.rint(digits.images * (255 / 16)).astype(np.uint8).repeat(2, 1).repeat(2, 2)
    images, labels = gray[..., None].repeat(3, 3), digits.target.astype(np.int64)

    train = slice(0, 997)
    settings = FitSettings(
        epochs=12, learning_rate=0.05, weight_decay=1e-4, label_smoothing=0.1, patience=12,
        seed=1, optimizer="sgd",
    )  # fmt: skip
    with joined() as runtime:
        torch.manual_seed(0)
        own = runtime.part(len(images) - 997)
        mine = slice(997 + own.start, 997 + own.stop)
        seen, val = Activations.of(images[train]), Activations.of(images[mine])

        def batches(epoch: int, start: int):  # type: ignore[no-untyped-def]
            rows = batch_rows(labels[train], 64, 1, epoch)[start:]
            return jittered(
                seen, labels[train], rows, epoch, seed=1, shift=2, flip=False,
                own=lambda count: Part.of(runtime, count).rows,
            )  # fmt: skip

        history = fit(
            Network(), batches, steps_of(997, 64), lambda: in_order(val, labels[mine]),
            settings, runtime,
        )  # fmt: skip
        if runtime.rank == 0:
            Path(out).write_text(json.dumps([asdict(epoch) for epoch in history]))


def main(figure: str) -> None:
    """Start the processes, print the largest differences and the times, draw the figure."""
    known = {"OMP_NUM_THREADS": "1", "GRAFT_PRECISION": "float32"}
    curves = {}
    for world in WORLDS:
        with tempfile.TemporaryDirectory() as folder:
            out = str(Path(folder) / "epochs.json")
            launch = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
            launch += [f"--nproc-per-node={world}", __file__, "--fit", out]
            subprocess.run(launch, check=True, env=os.environ | known)
            curves[world] = json.loads(Path(out).read_text())
    for world in WORLDS[1:]:
        for name in ("train_loss", "val_loss"):
            pairs = zip(curves[1], curves[world], strict=True)
            largest = max(abs(a[name] - b[name]) for a, b in pairs)
            print(f"{world} processes, largest difference of {name}: {largest:.1e}")
    for world in WORLDS:
        seconds = sum(line["seconds"] for line in curves[world])
        print(f"{world} processes: {seconds:.1f} s of epochs")
    draw(curves, figure)


def draw(curves: dict[int, list[dict[str, float]]], figure: str) -> None:
    """The curves, one over the other."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "graft"
    from matplotlib import pyplot as plt

    chart, axes = plt.subplots(figsize=(6.4, 3.4), layout="constrained")
    for world, width, color in ((1, 7, "#c9d7e8"), (2, 3.5, "#5b8fc7"), (3, 1.2, "#12304f")):
        epochs = [line["epoch"] for line in curves[world]]
        for name, dashes in (("train_loss", "-"), ("val_loss", "--")):
            label = f"{world} process{'es' * (world > 1)}" if name == "train_loss" else None
            values = [line[name] for line in curves[world]]
            axes.plot(epochs, values, dashes, linewidth=width, color=color, label=label)
    axes.set(xlabel="epoch", ylabel="loss (dashed: validation)", ylim=(0, None))
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    chart.savefig(figure, metadata={"Date": None})


if __name__ == "__main__":
    if sys.argv[1] == "--fit":
        fitted(sys.argv[2])
    else:
        main(sys.argv[1])
