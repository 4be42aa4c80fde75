"""The only gradient loop. It sees (activation, label) batches and neither knows nor asks whether
they are features of a frozen encoder or the pictures themselves.
"""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from graft.errors import ModelError
from graft.learning.optimiser import AdamW, one_cycle
from graft.models.engine import device, infer, torch_dtype, torch_engine

WARM_UP = 0.1  # the share of steps in which the rate rises
CLIP_NORM = 5.0
EVALUATION_BATCH = 512

Batches = Iterator[tuple[NDArray[Any], NDArray[np.int64]]]  # (n, …) activations, (n,) labels


@dataclass(frozen=True, slots=True)
class Epoch:
    """One line of history.jsonl. Losses in nats, label smoothing included; accuracies in 0..1."""

    epoch: int
    train_loss: float
    train_accuracy: float
    val_loss: float
    val_accuracy: float
    learning_rate: float
    seconds: float


@dataclass(frozen=True, slots=True)
class FitSettings:
    """What the loop needs to know; see TrainConfig for the meanings and ranges."""

    epochs: int
    learning_rate: float
    weight_decay: float
    label_smoothing: float
    patience: int
    seed: int


def fit(
    model: nn.Module,
    train: Callable[[int], Batches],
    steps: int,
    val: Callable[[], Batches],
    settings: FitSettings,
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
) -> list[Epoch]:
    """Train all of `model` in place with AdamW and one cycle; keep the epoch of least val loss.

    `train(epoch)` gives the batches of an epoch, `steps` of them; `val()` those of validation.
    Stops after `patience` epochs without a better validation loss. The caller's random state is
    left as it was.

    Raises ModelError when the loss is not finite, with the step.
    """
    place, dtype = device(), torch_dtype()
    history: list[Epoch] = []
    best_loss, best_state = math.inf, {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        model.to(place)
        optimiser = AdamW(model.parameters(), settings.weight_decay)
        step, total = 0, max(3, settings.epochs * steps)
        warm_up = max(WARM_UP, 2 / total)  # of few steps one warms up too
        for number in range(1, settings.epochs + 1):
            start = time.perf_counter()
            loss_sum, right, seen = 0.0, 0, 0
            epochs_rate = settings.learning_rate * one_cycle(step, total, warm_up)[0]
            model.train()
            for activations, labels in train(number):
                x = torch.from_numpy(activations).to(place, non_blocking=True)
                y = torch.from_numpy(labels).to(place, non_blocking=True)
                with torch.autocast(place.type, dtype, enabled=dtype != torch.float32):
                    logits = model(x)
                loss = F.cross_entropy(logits.float(), y, label_smoothing=settings.label_smoothing)
                if not torch.isfinite(loss):
                    raise ModelError(
                        f"the loss is {loss.item()} in epoch {number} after {seen:,} pictures: "
                        f"the learning rate {settings.learning_rate:g} is likely too high"
                    )
                optimiser.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                nn.utils.clip_grad_norm_(model.parameters(), CLIP_NORM)
                share, beta1 = one_cycle(step, total, warm_up)
                optimiser.step(settings.learning_rate * share, beta1)
                step += 1
                loss_sum += float(loss.detach()) * len(y)
                right += int((logits.argmax(1) == y).sum())
                seen += len(y)
            val_loss, val_accuracy = _validate(model, val, settings.label_smoothing)
            epoch = Epoch(
                number,
                loss_sum / seen,
                right / seen,
                val_loss,
                val_accuracy,
                epochs_rate,
                time.perf_counter() - start,
            )
            history.append(epoch)
            on_epoch(epoch)
            if val_loss < best_loss:
                best_loss, best_number = val_loss, number
                best_state = {k: v.detach().clone() for k, v in model.state_dict().items()}
            elif number - best_number >= settings.patience:
                break
    model.load_state_dict(best_state)
    model.eval()
    return history


def logits_of(model: nn.Module, batches: Batches) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """All logits (N, K) and labels (N,) of the batches, in order."""
    pairs = [
        (logits, labels)
        for labels, logits in infer(
            lambda: torch_engine(model, EVALUATION_BATCH), ((y, x) for x, y in batches)
        )
    ]
    return np.concatenate([p[0] for p in pairs]), np.concatenate([p[1] for p in pairs])


def _validate(
    model: nn.Module, val: Callable[[], Batches], label_smoothing: float
) -> tuple[float, float]:
    logits, labels = logits_of(model, val())
    scores: Tensor = torch.from_numpy(logits)
    loss = F.cross_entropy(scores, torch.from_numpy(labels), label_smoothing=label_smoothing)
    return float(loss), float((logits.argmax(1) == labels).mean())
