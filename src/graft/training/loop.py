"""The only gradient loop. It sees (activation, label) batches and neither knows nor asks whether
they are features of a frozen encoder, activations at a split point, or the images themselves.

Read `train_epoch` first, then `fit`. The loop never waits for the device: sums stay there until
the progress line or a checkpoint is due.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from graft.errors import ModelError
from graft.evaluation.calibration import calibrated_loss
from graft.features.backends import infer, torch_backend
from graft.models import ranks
from graft.models.head import Dropout
from graft.models.runtime import Runtime
from graft.training import checkpoint
from graft.training.batch_part import Part
from graft.training.checkpoint import Position, State
from graft.training.depthwise import float32_depthwise
from graft.training.ema import copied, ema_weights, update_ema
from graft.training.optim import Group, Optimizer, Schedule, schedule
from graft.training.whole_batch_norm import batch_norm_of
from graft.utils.due import every

Batches = Iterator[tuple[NDArray[Any], NDArray[np.int64]]]  # (n, …) activations, (n,) labels

PROGRESS_SECONDS = 0.2  # between two updates of the progress line, which wait for the device


@dataclass(frozen=True, slots=True)
class Epoch:
    """A line of history.jsonl. Accuracies in 0..1, losses in nats and with label smoothing, but for
    `calibrated_loss`, by which epochs are compared.
    """

    epoch: int
    train_loss: float
    train_accuracy: float
    val_loss: float
    val_accuracy: float
    val_calibrated_loss: float
    learning_rate: float
    seconds: float


@dataclass(frozen=True, slots=True)
class FitSettings:
    """What the loop needs to know; see TrainConfig for meanings and ranges. `warmup` is the
    fraction of all steps in which the rate rises; 0 for `max_grad_norm` is no clipping.
    """

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
    max_grad_norm: float = 5.0
    sync_batch_norm: bool = True


@dataclass(frozen=True, slots=True)
class Resumable:
    """Where a fit keeps its checkpoint, what is fitted, and whether to resume from it."""

    path: Path
    identity: Mapping[str, Any]
    resume: bool


def train_epoch(
    state: State,
    batches: Batches,
    first: int,
    rate: Schedule,
    settings: FitSettings,
    runtime: Runtime,
) -> Iterator[None]:
    """Train on the batches of an epoch whose first step is number `first` of the fit: each has
    the activations (n, …) of this process's part and the labels (N,) of the whole batch.

    It yields after each step, counted in `state`, and never waits for the device.
    """
    model, optimizer, scaler = state.model, state.optimizer, state.scaler
    model.train()
    dropouts = [layer for layer in model.modules() if isinstance(layer, Dropout)]
    batch_norm = batch_norm_of(model, runtime, settings.sync_batch_norm)
    for activations, labels in batches:
        done, part = first + state.at.step, Part.of(runtime, len(labels))
        part.draw_for_all(dropouts)
        x = torch.from_numpy(activations).to(runtime.device, non_blocking=True)  # (n, …)
        y = torch.from_numpy(labels).to(runtime.device, non_blocking=True)  # (N,) int64
        x, y, other, fraction = part.mixed(x, y, settings.mixup, settings.cutmix)
        with runtime.autocast(), batch_norm(part):
            logits = model(x)  # (n, K)
        loss = fraction * _entropy(logits, y, settings)
        if fraction < 1:
            loss = loss + (1 - fraction) * _entropy(logits, other, settings)
        optimizer.zero_grad()
        scaler.scale(part.share(loss)).backward()
        correct = (logits.argmax(1) == y).sum()
        sums = part.add_up(optimizer.parameters, loss, correct, state.totals.dtype)
        scaler.unscale_(optimizer)
        if settings.max_grad_norm:
            nn.utils.clip_grad_norm_(optimizer.parameters, settings.max_grad_norm)
        scaler.step(optimizer, *rate(done))
        scaler.update()
        if settings.ema:
            update_ema(state.ema, model, settings.ema, done)
        _count(state, *sums, len(labels))
        yield


def validate(
    state: State, batches: Batches, settings: FitSettings, runtime: Runtime
) -> tuple[float, float, float]:
    """Loss, accuracy and calibrated loss, as in Epoch; of the EMA weights if there are any."""
    with ema_weights(state.model, state.ema):
        logits, labels = logits_of(state.model, batches, runtime)

    def measured() -> tuple[float, float, float]:
        loss = _entropy(torch.from_numpy(logits), torch.from_numpy(labels), settings)
        accuracy = float((logits.argmax(1) == labels).mean())
        return float(loss), accuracy, calibrated_loss(logits, labels)

    # All have the same logits; that one judges them keeps the others from judging otherwise.
    return ranks.rank_0(runtime, measured)


def fit(
    model: nn.Module,
    train: Callable[[int, int], Batches],
    steps: int,
    val: Callable[[], Batches],
    settings: FitSettings,
    runtime: Runtime,
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
    on_step: Callable[[int, float], None] = lambda step, loss: None,
    groups: Sequence[Group] | None = None,
    resumable: Resumable | None = None,
) -> list[Epoch]:
    """Train `model` in place; it ends with the weights of the lowest calibrated validation loss.

    `train(epoch, start)` gives the batches of an epoch from number `start` on, `steps` an epoch;
    `val()` those of validation. `groups` are the parameters to train, by default all. Stops after
    `patience` epochs without a lower such loss. The caller's random state stays as it was. With
    `resumable` a checkpoint is kept; a fit that resumes from it gives the weights of one that was
    never interrupted, bit for bit on a CPU. `on_step` is called when PROGRESS_SECONDS have passed
    and after an epoch's last step.

    Raises ModelError, with the step, when the loss is not finite.
    """
    with torch.random.fork_rng(devices=[]), float32_depthwise(model, runtime):
        torch.manual_seed(settings.seed)
        state = _started(model, groups, settings, runtime)
        known = resumable.identity if resumable else {}
        identity = checkpoint.identity_of(asdict(settings), runtime, known)
        kept = resumable if runtime.rank == 0 else None
        if kept and kept.resume and kept.path.is_file():
            checkpoint.restore(kept.path, state, identity)
        checkpoint.begin_alike(state, runtime)
        history = [Epoch(**line) for line in state.at.history]
        for epoch in history:
            on_epoch(epoch)
        show_due = every(PROGRESS_SECONDS)
        save_due = every(checkpoint.seconds_between() if kept else float("inf"))
        while not _finished(state.at, settings):
            at, first = state.at, (state.at.epoch - 1) * steps
            began = time.perf_counter() - at.seconds
            rate = _rate(settings, steps, history)
            batches = train(at.epoch, at.step)
            for _ in train_epoch(state, batches, first, rate, settings, runtime):
                at.seconds = time.perf_counter() - began
                if show_due():
                    on_step(first + at.step, _averages(state, train, first, settings)[0])
                if kept and save_due():
                    _averages(state, train, first, settings)  # no checkpoint of a loss gone wrong
                    checkpoint.save(kept.path, state, identity)
            trained = _averages(state, train, first, settings)
            on_step(first + at.step, trained[0])
            ranks.spread(runtime, [*model.state_dict().values(), *state.ema.values()])
            validated = validate(state, val(), settings, runtime)
            at.seconds = time.perf_counter() - began
            epoch = Epoch(at.epoch, *trained, *validated, rate(first)[0], at.seconds)
            history.append(epoch)
            on_epoch(epoch)
            _advance(state, epoch)
    _load_best(state, history, settings)
    return history


def logits_of(
    model: nn.Module, batches: Batches, runtime: Runtime
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """All logits (N, K) and labels (N,) of the batches, in order; of several processes that each
    have their own part of the images, those of all, in the order of the parts.
    """
    backend = torch_backend(model, batch=1, runtime=runtime)
    pairs = list(infer(lambda: backend, ((y, x) for x, y in batches)))
    # A process may have none of few images.
    logits = np.concatenate([p[1] for p in pairs] or [np.empty((0, 0), np.float32)])
    labels = np.concatenate([p[0] for p in pairs] or [np.empty(0, np.int64)])
    return ranks.gathered_rows(runtime, logits), ranks.gathered_rows(runtime, labels)


def _started(
    model: nn.Module, groups: Sequence[Group] | None, settings: FitSettings, runtime: Runtime
) -> State:
    model.to(runtime.device)
    groups = groups or [Group(list(model.parameters()))]
    exact = torch.float32 if runtime.device.type == "mps" else torch.float64
    return State(
        model,
        Optimizer(groups, settings.optimizer, settings.weight_decay),
        torch.amp.GradScaler(runtime.device.type, enabled=runtime.scaled),
        copied(model.state_dict()) if settings.ema else {},
        torch.zeros(3, dtype=exact, device=runtime.device),
    )


def _rate(settings: FitSettings, steps: int, history: Sequence[Epoch]) -> Schedule:
    losses = [epoch.val_loss for epoch in history]
    total = settings.epochs * steps
    return schedule(settings.schedule, settings.learning_rate, settings.warmup, total, losses)


def _finished(at: Position, settings: FitSettings) -> bool:
    return at.epoch > settings.epochs or at.epoch - 1 - at.best_epoch >= settings.patience


def _advance(state: State, epoch: Epoch) -> None:
    """To the next epoch, keeping the weights of this one if they are the best so far."""
    at = state.at
    if epoch.val_calibrated_loss < at.best_loss:
        at.best_loss, at.best_epoch = epoch.val_calibrated_loss, epoch.epoch
        state.best = copied(state.ema or state.model.state_dict())
    state.totals.zero_()
    state.at = Position(
        epoch=epoch.epoch + 1,
        best_loss=at.best_loss,
        best_epoch=at.best_epoch,
        history=[*at.history, asdict(epoch)],
    )


def _load_best(state: State, history: Sequence[Epoch], settings: FitSettings) -> None:
    if not state.best:
        raise ModelError(
            f"the validation loss was not finite in any of {len(history)} epochs: the learning "
            f"rate {settings.learning_rate:g} is likely too high"
        )
    state.model.load_state_dict(state.best)
    state.model.eval()


def _entropy(logits: Tensor, labels: Tensor, settings: FitSettings) -> Tensor:
    return F.cross_entropy(logits.float(), labels, label_smoothing=settings.label_smoothing)


@torch.no_grad()
def _count(state: State, loss: Tensor, correct: Tensor, seen: int) -> None:
    """Add a step to the position and, on the device, its summed loss to the totals."""
    state.at.step, state.at.seen = state.at.step + 1, state.at.seen + seen
    state.totals[0] += loss
    state.totals[1] += correct
    # A sum that is not finite stays so: this counts up to the first bad step, and no further.
    state.totals[2] += torch.isfinite(state.totals[0])


def _averages(
    state: State, train: Callable[[int, int], Batches], first: int, settings: FitSettings
) -> tuple[float, float]:
    """The loss and accuracy of the epoch so far, which waits for the device; ModelError for a loss
    that is not finite, with the first such step and its cause.
    """
    loss, correct, good_steps = state.totals.tolist()
    if good_steps == state.at.step:
        return loss / state.at.seen, correct / state.at.seen
    cause = f"the learning rate {settings.learning_rate:g} is likely too high"
    x, _ = next(train(state.at.epoch, int(good_steps)))  # the same batch again
    if not np.isfinite(x).all():
        cause = "its inputs are not finite, so the frozen network overflows: try --backend float32"
    step = first + int(good_steps) + 1
    raise ModelError(f"the loss is not finite in epoch {state.at.epoch}, at step {step}: {cause}")
