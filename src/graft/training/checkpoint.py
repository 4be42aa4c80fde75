"""The state of a fit and its checkpoints: one safetensors file, from which a killed run resumes."""

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from graft.errors import UsageError
from graft.training.optim import Optimizer
from graft.utils.files import replacing


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


def save(path: Path, state: State, identity: str) -> None:
    """Write the state and PyTorch's random state, all or nothing.

    `identity` says which fit this is; `restore` refuses the checkpoint of another.
    """
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
        "identity": identity,
    }
    with replacing(path) as beside:
        save_file(tensors, beside, metadata=described)


def restore(path: Path, state: State, identity: str) -> None:
    """Set the state and PyTorch's random state to those of a checkpoint.

    Raises UsageError for a damaged file and for the checkpoint of a fit with another identity.
    """
    try:
        with safe_open(path, "pt") as opened:
            described = opened.metadata()
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise UsageError(
            f"{path}: the checkpoint is damaged ({error}); train again without --resume"
        ) from error
    if described["identity"] != identity:
        raise UsageError(
            f"{path.parent}: was started with other settings, images, threads or device, so it "
            "cannot resume with these; repeat the first command, or choose another --out"
        )

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
