"""The state of a fit and its checkpoints: one safetensors file, from which a killed run resumes."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from graft.errors import UsageError
from graft.models import ranks
from graft.models.runtime import Runtime
from graft.training.optim import Optimizer
from graft.utils.files import replacing

# What is known of a fit by its digest alone.
DIGESTS = {"images": "other images, labels or splits", "network": "other weights"}


@dataclass
class Position:
    """How far a fit has come: `step` batches, `seen` images, of `epoch` (from 1) are done."""

    epoch: int = 1
    step: int = 0
    seen: int = 0
    seconds: float = 0.0
    best_loss: float = float("inf")
    best_epoch: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class State:
    """Everything that changes during a fit, which is everything that a checkpoint holds.

    `scaler` is a torch.amp.GradScaler, disabled unless the runtime is float16. `ema` holds the
    exponential moving average of the model's state, `best` the state of the epoch with the lowest
    validation loss; both are empty where there is none. `totals` (3,), on the device, is of the
    epoch under way: the summed loss in nats, the correct answers, and the number of steps up to
    which the summed loss was finite.
    """

    model: nn.Module
    optimizer: Optimizer
    scaler: Any
    ema: dict[str, Tensor]
    totals: Tensor
    best: dict[str, Tensor] = field(default_factory=dict)
    at: Position = field(default_factory=Position)


def seconds_between() -> float:
    """Seconds between two checkpoints: $GRAFT_CHECKPOINT_SECONDS, by default 30, as writing one
    takes far less than a hundredth of that. Raises UsageError for anything but a number >= 0.
    """
    given = os.environ.get("GRAFT_CHECKPOINT_SECONDS", "30")
    try:
        seconds = float(given)
    except ValueError:
        seconds = -1.0
    if not seconds >= 0:
        raise UsageError(f"GRAFT_CHECKPOINT_SECONDS is a number of seconds, not {given!r}")
    return seconds


def identity_of(
    settings: Mapping[str, Any], runtime: Runtime, known: Mapping[str, Any]
) -> dict[str, Any]:
    """Which fit this is: what is `known` of the data and the network, what computes, and settings.
    Only a fit with an equal identity resumes from a checkpoint.
    """
    computed_by = {"device": runtime.device.type, "precision": runtime.precision}
    together = {"threads": torch.get_num_threads(), "processes": runtime.world}
    return {**known, **together, **computed_by, "fit": dict(settings)}


def save(path: Path, state: State, identity: Mapping[str, Any]) -> None:
    """Write the state and PyTorch's random state, all or nothing.

    `identity` says which fit this is; `restore` refuses the checkpoint of another.
    """
    tensors, described = _packed(state)
    described["identity"] = json.dumps(identity)
    with replacing(path) as beside:
        save_file(tensors, beside, metadata=described)


def restore(path: Path, state: State, identity: Mapping[str, Any]) -> None:
    """Set the state and PyTorch's random state to those of a checkpoint.

    Raises UsageError for a damaged file and for the checkpoint of a fit with another identity,
    which says what differs.
    """
    try:
        with safe_open(path, "pt") as opened:
            described = opened.metadata() or {}
        if other := _differences(described["identity"], identity):
            raise UsageError(
                f"{path.parent}: was started with {'; '.join(other)}, so it cannot resume; repeat "
                "the first command, or choose another --out"
            )
        _set(state, load_file(path), described)
    # The last of these: tensors of other shapes, or of other names.
    except (SafetensorError, OSError, ValueError, TypeError, KeyError, RuntimeError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0].rstrip(":")
        raise UsageError(
            f"{path}: the checkpoint is damaged ({first}); train again without --resume"
        ) from error


def begin_alike(state: State, runtime: Runtime) -> None:
    """Set the state and PyTorch's random state of every process to those of rank 0."""
    if runtime.world == 1:
        return
    tensors, described = _packed(state)
    tensors = ranks.spread_named(runtime, tensors)
    described = ranks.rank_0(runtime, lambda: described)
    if runtime.rank:
        _set(state, tensors, described)


def _packed(state: State) -> tuple[dict[str, Tensor], dict[str, str]]:
    """All of the state: tensors, and the rest as JSON."""
    groups = {
        "model": state.model.state_dict(),
        "optimizer": state.optimizer.state(),
        "ema": state.ema,
        "best": state.best,
        "totals": {"": state.totals},
    }
    tensors = {
        f"{group}/{name}": value.detach().cpu().contiguous()
        for group, named in groups.items()
        for name, value in named.items()
    }
    tensors["random"] = torch.get_rng_state()
    described = {
        "position": json.dumps(asdict(state.at)),
        "scaler": json.dumps(state.scaler.state_dict()),
    }
    return tensors, described


def _differences(stored: str, asked: Mapping[str, Any]) -> list[str]:
    """What differs between the fit of a checkpoint and the one that is asked for."""
    before = json.loads(stored)
    if not isinstance(before, dict) or set(before) != set(asked):
        return ["another version of graft"]
    now = json.loads(json.dumps(asked))  # tuples are lists there, too
    found = []
    # More processes compute the same but for rounding, unless BatchNorm sees parts of batches.
    if before["processes"] != now["processes"] and now["fit"].get("sync_batch_norm"):
        before |= {name: now[name] for name in ("processes", "threads")}
    for name in (name for name in now if before[name] != now[name]):
        if name in DIGESTS:
            found.append(DIGESTS[name])
        elif isinstance(now[name], dict):
            was = dict(before[name])
            pairs = [(key, was.get(key), value) for key, value in now[name].items()]
            found += [f"{key} {old}, not {new}" for key, old, new in pairs if old != new]
        else:
            found.append(f"{name} {before[name]}, not {now[name]}")
    return list(dict.fromkeys(found))


def _set(state: State, tensors: Mapping[str, Tensor], described: Mapping[str, str]) -> None:

    def group(name: str) -> dict[str, Tensor]:
        start = f"{name}/"
        return {k.removeprefix(start): v for k, v in tensors.items() if k.startswith(start)}

    state.model.load_state_dict(group("model"))
    state.optimizer.load(group("optimizer"))
    state.scaler.load_state_dict(json.loads(described["scaler"]))
    state.ema = {k: v.to(state.totals.device) for k, v in group("ema").items()}
    state.best = group("best")
    state.totals.copy_(group("totals")[""])
    state.at = Position(**json.loads(described["position"]))
    torch.set_rng_state(tensors["random"])
