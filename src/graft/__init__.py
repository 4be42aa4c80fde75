"""graft: a folder of labelled pictures in, an image classifier you can trust and use out.

import graft
graft.check("photos/")                                  what is wrong with the pictures
run = graft.train("photos/", out="runs/birds")          audit, split, train, test once, report
graft.load("runs/birds").predict("a.jpg").label         use it
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from graft.api import check, evaluate, rank, rules, train
    from graft.config import TrainConfig
    from graft.data.check import CheckResult
    from graft.data.dataset import Dataset, Example, Issue
    from graft.errors import DataError, DownloadError, GraftError, ModelError, UsageError
    from graft.learning.recipe import Run
    from graft.models.classifier import Classifier, Prediction, Rules, load

# Imported when first asked for: `graft --help` must not wait for PyTorch.
_WHERE = {
    "CheckResult": "graft.data.check",
    "Classifier": "graft.models.classifier",
    "DataError": "graft.errors",
    "Dataset": "graft.data.dataset",
    "DownloadError": "graft.errors",
    "Example": "graft.data.dataset",
    "GraftError": "graft.errors",
    "Issue": "graft.data.dataset",
    "ModelError": "graft.errors",
    "Prediction": "graft.models.classifier",
    "Rules": "graft.models.classifier",
    "Run": "graft.learning.recipe",
    "TrainConfig": "graft.config",
    "UsageError": "graft.errors",
    "check": "graft.api",
    "evaluate": "graft.api",
    "load": "graft.models.classifier",
    "rank": "graft.api",
    "rules": "graft.api",
    "train": "graft.api",
}

__all__ = [
    "CheckResult",
    "Classifier",
    "DataError",
    "Dataset",
    "DownloadError",
    "Example",
    "GraftError",
    "Issue",
    "ModelError",
    "Prediction",
    "Rules",
    "Run",
    "TrainConfig",
    "UsageError",
    "check",
    "evaluate",
    "load",
    "rank",
    "rules",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'graft' has no attribute {name!r}")
    import importlib

    value = getattr(importlib.import_module(_WHERE[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
