"""The settings of a run with which its images are looked through again."""

from typing import Any

from graft.choices import FROM_SCRATCH
from graft.config import SplitConfig
from graft.runs.run import Run

# How the run's own network was fed.
FED = ("model", "image_size", "resize")


def settings_of(run: Run) -> dict[str, Any]:
    """The settings of TrainConfig and SplitConfig that give the run's splits and, if its network is
    a frozen pretrained one, the features that it learned from.
    """
    resolved = run.resolved
    found = {name: resolved[name] for name in SplitConfig.model_fields if name in resolved}
    if resolved.get("unfreeze") == "none" and resolved["model"] not in FROM_SCRATCH:
        found |= {name: resolved[name] for name in FED if name in resolved}
    return found
