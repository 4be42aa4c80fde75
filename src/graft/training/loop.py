"""The only gradient loop. It sees (activation, label) batches and neither knows nor asks whether
they are features of a frozen encoder, activations at a cut, or the images themselves.
"""

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from graft.errors import ModelError
from graft.features.backends import device, infer, torch_backend, torch_dtype
from graft.training import checkpoint
from graft.training.checkpoint import Position
from graft.training.mixup import mixed
from graft.training.optim import Group, Optimizer, cosine, one_cycle, plateau

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
    optimizer: str = "adamw"
    schedule: str = "one-cycle"
    warmup: float = 0.1
    mixup: float = 0.0
    cutmix: float = 0.0
    ema: float = 0.0
    class_weights: tuple[float, ...] | None = None
    max_grad_norm: float = 5.0


@dataclass(frozen=True, slots=True)
class Resumable:
    """Where a fit keeps its checkpoints, which fit it is, and whether to go on from one."""

    path: Path
    identity: str
    resume: bool


def fit(
    model: nn.Module,
    train: Callable[[int, int], Batches],
    steps: int,
    val: Callable[[], Batches],
    settings: FitSettings,
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
    on_step: Callable[[int, float], None] = lambda step, loss: None,
    groups: Sequence[Group] | None = None,
    resumable: Resumable | None = None,
) -> list[Epoch]:
    """Train `model` in place and keep the epoch of least validation loss.

    `train(epoch, start)` gives the batches of an epoch from the one numbered `start` on, `steps`
    of them in all; `val()` those of validation. `groups` are the parameters to train, by default
    all. Stops after `patience` epochs without a better validation loss. The caller's random state
    is left as it was. With `resumable` a checkpoint is kept, and gone on from; the weights are
    then those of a fit that was never interrupted, bit for bit on a CPU with as many threads.

    Raises ModelError when the loss is not finite, with the step.
    """
    place, dtype = device(), torch_dtype()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        model.to(place)
        groups = groups or [Group(list(model.parameters()))]
        optimizer = Optimizer(groups, settings.optimizer, settings.weight_decay)
        ema_weights = copied(model) if settings.ema else {}
        best: dict[str, Tensor] = {}
        at = Position()
        identity = _identity(settings, resumable)
        if resumable and resumable.resume and resumable.path.is_file():
            at, kept = checkpoint.read(resumable.path, identity)
            model.load_state_dict(kept["model"])
            optimizer.load(kept["optimizer"])
            ema_weights = {k: v.to(place) for k, v in kept.get("ema_weights", {}).items()}
            best = kept.get("best", {})
        history = [Epoch(**line) for line in at.history]
        weights = None
        if settings.class_weights is not None:
            weights = torch.tensor(settings.class_weights, device=place)

        saved, pause = time.perf_counter(), checkpoint.pause()

        def entropy(logits: Tensor, y: Tensor) -> Tensor:
            return F.cross_entropy(
                logits.float(), y, weights, label_smoothing=settings.label_smoothing
            )

        def save_if_due() -> None:
            nonlocal saved
            if resumable and time.perf_counter() - saved > pause:
                tensors = {"model": model.state_dict(), "optimizer": optimizer.state()}
                tensors |= {"best": best, "ema_weights": ema_weights}
                checkpoint.write(resumable.path, at, identity, tensors)
                saved = time.perf_counter()

        for epoch in history:
            on_epoch(epoch)
        for number in range(at.epoch, settings.epochs + 1):
            if number - 1 - at.best_epoch >= settings.patience:
                break
            start = time.perf_counter() - at.seconds
            model.train()
            for activations, labels in train(number, at.step):
                x = torch.from_numpy(activations).to(place, non_blocking=True)
                y = torch.from_numpy(labels).to(place, non_blocking=True)
                x, other, share = mixed(x, y, settings.mixup, settings.cutmix)
                with torch.autocast(place.type, dtype, enabled=dtype != torch.float32):
                    logits = model(x)
                loss = share * entropy(logits, y)
                if share < 1:
                    loss = loss + (1 - share) * entropy(logits, other)
                done = (number - 1) * steps + at.step
                if not torch.isfinite(loss):
                    raise ModelError(_not_finite(loss.item(), number, done + 1, x, settings))
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                if settings.max_grad_norm:
                    nn.utils.clip_grad_norm_(optimizer.parameters, settings.max_grad_norm)
                optimizer.step(*_rate(settings, done, settings.epochs * steps, history))
                if settings.ema:
                    _average(ema_weights, model, settings.ema, done)
                at.step += 1
                at.loss_sum += float(loss.detach()) * len(y)
                at.right += int((logits.argmax(1) == y).sum())
                at.seen += len(y)
                on_step(done + 1, at.loss_sum / at.seen)
                at.seconds = time.perf_counter() - start
                save_if_due()
            own: dict[str, Tensor] = {}
            if settings.ema:
                own = copied(model)
                model.load_state_dict(ema_weights)
            val_loss, val_accuracy = _validate(model, val, settings.label_smoothing)
            epoch = Epoch(
                number,
                at.loss_sum / at.seen,
                at.right / at.seen,
                val_loss,
                val_accuracy,
                _rate(settings, (number - 1) * steps, settings.epochs * steps, history)[0],
                time.perf_counter() - start,
            )
            if val_loss < at.best_loss:
                at.best_loss, at.best_epoch = val_loss, number
                best = copied(model)
            if settings.ema:
                model.load_state_dict(own)
            history.append(epoch)
            on_epoch(epoch)
            at = Position(
                epoch=number + 1,
                best_loss=at.best_loss,
                best_epoch=at.best_epoch,
                history=[asdict(line) for line in history],
            )
            save_if_due()
    if not best:
        raise ModelError(
            f"the validation loss was not finite in any of {len(history)} epochs: the learning "
            f"rate {settings.learning_rate:g} is likely too high"
        )
    model.load_state_dict(best)
    model.eval()
    return history


def _not_finite(loss: float, epoch: int, step: int, x: Tensor, settings: FitSettings) -> str:
    cause = f"the learning rate {settings.learning_rate:g} is likely too high"
    if not bool(torch.isfinite(x).all()):
        cause = "its inputs are not finite, so the frozen network overflows: try --backend float32"
    return f"the loss is {loss} in epoch {epoch}, at step {step}: {cause}"


def copied(model: nn.Module) -> dict[str, Tensor]:
    """A copy of a model's weights and buffers."""
    return {key: value.detach().clone() for key, value in model.state_dict().items()}


def _identity(settings: FitSettings, resumable: Resumable | None) -> str:
    described = [asdict(settings), resumable.identity if resumable else "", torch.get_num_threads()]
    return hashlib.sha256(json.dumps(described).encode()).hexdigest()


def _rate(
    settings: FitSettings, step: int, total: int, history: Sequence[Epoch]
) -> tuple[float, float]:
    """The learning rate and beta1 of a step."""
    total = max(3, total)
    warmup = max(settings.warmup, 2 / total)  # of few steps one warms up too
    if settings.schedule == "plateau":
        share = plateau(step, total, warmup, [epoch.val_loss for epoch in history])
        return settings.learning_rate * share, 0.9
    shape = one_cycle if settings.schedule == "one-cycle" else cosine
    share, beta1 = shape(step, total, warmup)
    return settings.learning_rate * share, beta1


@torch.no_grad()
def _average(ema_weights: dict[str, Tensor], model: nn.Module, decay: float, step: int) -> None:
    # Early on the mean is over few steps, lest it remember the random start.
    decay = min(decay, (1 + step) / (10 + step))
    for name, value in model.state_dict().items():
        if value.is_floating_point():
            ema_weights[name].lerp_(value, 1 - decay)
        else:
            ema_weights[name].copy_(value)


def logits_of(model: nn.Module, batches: Batches) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """All logits (N, K) and labels (N,) of the batches, in order."""
    pairs = [
        (logits, labels)
        for labels, logits in infer(
            lambda: torch_backend(model, batch=1), ((y, x) for x, y in batches)
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
