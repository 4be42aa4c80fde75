"""Weights of timm's networks from the model hub: found in its local cache, or fetched into it."""

from __future__ import annotations

import logging
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

from graft.errors import ModelError

if TYPE_CHECKING:
    from timm.models import PretrainedCfg

REACHED_WITHIN = 2.5  # seconds in which the hub must answer; its own retries take 40


def hub_file(name: str, instead: str) -> Path:
    """The weights of a timm network, fetched with a progress bar if they are not here yet.

    `instead` ends the message when the hub cannot be reached: what to do then. Raises ModelError
    for a name that has no weights there, and for weights that cannot be fetched.
    """
    return fetched(name, *_weights(_config(name), name), instead)


def fetched(name: str, repository: str, file: str, instead: str) -> Path:
    """A file of a repository of the hub, from its local cache or fetched with a progress bar.

    `name` is what the user calls it. Raises ModelError as `hub_file`.
    """
    from huggingface_hub import hf_hub_download, try_to_load_from_cache

    # Published weights do not change, so the hub is not asked again.
    found = try_to_load_from_cache(repository, file)
    if isinstance(found, str):
        return Path(found)
    # Its warnings would stand between the user and the one line that says what to do.
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    if reason := unreachable():
        raise ModelError(
            f"{name}: its weights are not on this machine and the model hub cannot be reached "
            f"({reason}); {instead}"
        )
    try:
        return Path(hf_hub_download(repository, file))
    except Exception as error:
        raise ModelError(
            f"{name}: {file} of {repository} could not be fetched from the model hub "
            f"({type(error).__name__}); try again later, or {instead}"
        ) from error


def hub_networks_here() -> list[str]:
    """The timm networks, with their tags, whose weights are in the hub's local cache."""
    from huggingface_hub.constants import HF_HUB_CACHE

    pattern = "models--timm--*/snapshots/*/*"
    folders = {
        file.relative_to(HF_HUB_CACHE).parts[0]
        for file in Path(HF_HUB_CACHE).glob(pattern)
        if file.name in ("model.safetensors", "pytorch_model.bin") and file.is_file()
    }
    return sorted(folder.removeprefix("models--timm--") for folder in folders)


def _config(name: str) -> PretrainedCfg | None:
    from timm.models import get_pretrained_cfg

    return get_pretrained_cfg(name, allow_unregistered=False)


def _weights(config: Any, name: str) -> tuple[str, str]:
    if config is None or not config.has_weights or not config.hf_hub_id:
        raise ModelError(f"{name}: timm has no weights of that name on the hub; see graft models")
    return config.hf_hub_id, config.hf_hub_filename or "model.safetensors"


def unreachable() -> str | None:
    """Why the hub cannot be reached, or None. Any answer at all, of whatever status, will do."""
    from huggingface_hub import get_session
    from huggingface_hub.constants import ENDPOINT, HF_HUB_OFFLINE

    if HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set"
    found = [f"no answer within {REACHED_WITHIN:g} s"]

    def ask() -> None:
        try:
            get_session().head(ENDPOINT, timeout=REACHED_WITHIN)
            found.clear()
        except Exception as error:
            found[0] = type(error).__name__

    # A thread, because looking up the host's name knows no time-out.
    asking = Thread(target=ask, daemon=True)
    asking.start()
    asking.join(REACHED_WITHIN)
    return found[0] if found else None
