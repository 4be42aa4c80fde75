"""graft: a folder of labeled images in, an image classifier you can trust, explain and use
out.

import graft
graft.check("photos/")                                  what is wrong with the images
run = graft.train("photos/", out="runs/birds")          audit, split, train, test once, report
graft.load("runs/birds").predict("a.jpg").label         use it
"""

import sys
from typing import TYPE_CHECKING, Any

# OpenVINO reports each import to its maker's server, by a forked process, where this package is
# installed, which it asks for. graft sends nothing: without it OpenVINO keeps silent.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

if TYPE_CHECKING:
    from graft.api import check, compare, evaluate, policy, rank, train, tune, validate
    from graft.app.project import Project
    from graft.chat.answer import Answer
    from graft.chat.conversation import Chat
    from graft.config import SplitConfig, TrainConfig
    from graft.data.dataset import Dataset, Example
    from graft.errors import DataError, DownloadError, GraftError, ModelError, UsageError
    from graft.evaluation.image_results import ImageResult, Results, results
    from graft.explanation.heat_map import Explanation, explain
    from graft.explanation.layer_table import NetworkSummary, summary
    from graft.explanation.network_layer import Layer
    from graft.export.write import export_run
    from graft.inference.evaluation_shards import evaluate_from
    from graft.inference.policy import Policy
    from graft.inference.prediction import Prediction
    from graft.inference.predictor import Predictor
    from graft.inference.saved_model import load, pretrained, zero_shot
    from graft.models.classifier import Classifier
    from graft.models.importing import import_network
    from graft.quality.check import CheckResult
    from graft.quality.finding import Finding
    from graft.report.explore_page import explore
    from graft.review.label_review import LabelReview, Suspect, review_labels
    from graft.review.next_images import NextImages, next_to_label
    from graft.runs.repeat_lines import RepeatLine, repeat_lines
    from graft.runs.run import Run
    from graft.training.feature_job import extract_features
    from graft.tuning.space import Space
    from graft.tuning.tune_source import Tuned

# Imported when first asked for: `graft --help` must not wait for PyTorch.
_WHERE = {
    "Answer": "graft.chat.answer",
    "Chat": "graft.chat.conversation",
    "CheckResult": "graft.quality.check",
    "Classifier": "graft.models.classifier",
    "DataError": "graft.errors",
    "Dataset": "graft.data.dataset",
    "DownloadError": "graft.errors",
    "Example": "graft.data.dataset",
    "Explanation": "graft.explanation.heat_map",
    "GraftError": "graft.errors",
    "Finding": "graft.quality.finding",
    "LabelReview": "graft.review.label_review",
    "ImageResult": "graft.evaluation.image_results",
    "Layer": "graft.explanation.network_layer",
    "ModelError": "graft.errors",
    "NextImages": "graft.review.next_images",
    "NetworkSummary": "graft.explanation.layer_table",
    "Prediction": "graft.inference.prediction",
    "Predictor": "graft.inference.predictor",
    "Policy": "graft.inference.policy",
    "Project": "graft.app.project",
    "RepeatLine": "graft.runs.repeat_lines",
    "Results": "graft.evaluation.image_results",
    "Run": "graft.runs.run",
    "Space": "graft.tuning.space",
    "SplitConfig": "graft.config",
    "Suspect": "graft.review.label_review",
    "TrainConfig": "graft.config",
    "Tuned": "graft.tuning.tune_source",
    "UsageError": "graft.errors",
    "check": "graft.api",
    "compare": "graft.api",
    "evaluate": "graft.api",
    "extract_features": "graft.training.feature_job",
    "predict_shards": "graft.inference.shard_runs",
    "evaluate_shards": "graft.inference.shard_runs",
    "evaluate_from": "graft.inference.evaluation_shards",
    "explain": "graft.explanation.heat_map",
    "explore": "graft.report.explore_page",
    "export_run": "graft.export.write",
    "import_network": "graft.models.importing",
    "load": "graft.inference.saved_model",
    "rank": "graft.api",
    "policy": "graft.api",
    "next_to_label": "graft.review.next_images",
    "pretrained": "graft.inference.saved_model",
    "review_labels": "graft.review.label_review",
    "repeat_lines": "graft.runs.repeat_lines",
    "results": "graft.evaluation.image_results",
    "summary": "graft.explanation.layer_table",
    "train": "graft.api",
    "tune": "graft.api",
    "validate": "graft.api",
    "zero_shot": "graft.inference.saved_model",
}

__all__ = [
    "Answer",
    "Chat",
    "CheckResult",
    "Classifier",
    "DataError",
    "Dataset",
    "DownloadError",
    "Example",
    "Explanation",
    "Finding",
    "GraftError",
    "ImageResult",
    "LabelReview",
    "Layer",
    "ModelError",
    "NetworkSummary",
    "NextImages",
    "Policy",
    "Prediction",
    "Predictor",
    "Project",
    "RepeatLine",
    "Results",
    "Run",
    "Space",
    "SplitConfig",
    "Suspect",
    "TrainConfig",
    "Tuned",
    "UsageError",
    "check",
    "compare",
    "evaluate",
    "evaluate_from",
    "evaluate_shards",
    "explain",
    "explore",
    "export_run",
    "extract_features",
    "import_network",
    "load",
    "next_to_label",
    "policy",
    "predict_shards",
    "pretrained",
    "rank",
    "repeat_lines",
    "results",
    "review_labels",
    "summary",
    "train",
    "tune",
    "validate",
    "zero_shot",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("graft")
    if name not in _WHERE:
        raise AttributeError(f"module 'graft' has no attribute {name!r}")
    import importlib

    value = getattr(importlib.import_module(_WHERE[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
