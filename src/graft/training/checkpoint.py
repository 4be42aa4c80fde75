"""A fit half done, as one safetensors file: what a killed run goes on from, bit for bit."""

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from graft.errors import UsageError
from graft.utils.files import replacing


@dataclass
class Position:
    """How far a fit has come: `step` batches of `epoch` (from 1) are done; sums of that epoch."""

    epoch: int = 1
    step: int = 0
    loss_sum: float = 0.0
    right: float = 0.0
    seen: int = 0
    seconds: float = 0.0
    best_loss: float = float("inf")
    best_epoch: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)


def pause() -> float:
    """Seconds between checkpoints, $GRAFT_CHECKPOINT_SECONDS, by default 30: writing one takes far
    less than a hundredth of that. Raises UsageError for what is no number of seconds.
    """
    given = os.environ.get("GRAFT_CHECKPOINT_SECONDS", "30")
    try:
        seconds = float(given)
    except ValueError:
        seconds = -1.0
    if not seconds >= 0:
        raise UsageError(f"GRAFT_CHECKPOINT_SECONDS is a number of seconds, not {given!r}")
    return seconds


def write(
    path: Path, position: Position, identity: str, tensors: dict[str, dict[str, Tensor]]
) -> None:
    """Write named groups of tensors with the position, all or nothing.

    `identity` says which fit this is: another's checkpoint is refused.
    """
    flat = {
        f"{group}/{name}": value.detach().cpu().contiguous()
        for group, named in tensors.items()
        for name, value in named.items()
    }
    flat["random"] = torch.get_rng_state()
    with replacing(path) as beside:
        save_file(
            flat,
            beside,
            metadata={"position": json.dumps(asdict(position)), "identity": identity},
        )


def read(path: Path, identity: str) -> tuple[Position, dict[str, dict[str, Tensor]]]:
    """The position and the tensors by group; PyTorch's random state is set to what it was.

    Raises UsageError for a damaged file or the checkpoint of a fit with other settings or data.
    """
    try:
        with safe_open(path, "pt") as opened:
            described = opened.metadata()
        flat = load_file(path)
    except (SafetensorError, OSError) as error:
        raise UsageError(f"{path}: cannot be resumed from ({error}); train without it") from error
    if described["identity"] != identity:
        raise UsageError(
            f"{path.parent}: was begun with other settings, images or threads, so it cannot be "
            "resumed with these; repeat the first command, or begin anew with another --out"
        )
    torch.set_rng_state(flat.pop("random"))
    tensors: dict[str, dict[str, Tensor]] = {}
    for key, value in flat.items():
        group, _, name = key.partition("/")
        tensors.setdefault(group, {})[name] = value
    return Position(**json.loads(described["position"])), tensors
