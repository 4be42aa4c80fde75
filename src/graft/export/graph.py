"""The whole of a run as one graph: from decoded pixels to probabilities, OOD score and features."""

import copy

import torch
from torch import Tensor, nn

from graft.errors import UsageError
from graft.export.resampling import FILTERS, CenterView
from graft.inference.predictor import Predictor
from graft.models.classifier import Classifier
from graft.models.ood import OODDetector

INPUT = "image"
OUTPUTS = ("probabilities", "ood_score", "features")


class Graph(nn.Module):
    """Images to what a program needs of them: (N, H, W, 3) uint8, upright RGB, to probabilities
    (N, K), calibrated, OOD scores (N,), above 1 for out of distribution, and features (N, D), all
    float32.

    H and W are any, and resize and center crop are part of the graph; with `square` they are the
    network's own. Without a detector the OOD scores are 0. All is computed in float32.
    """

    def __init__(
        self, classifier: Classifier, detector: OODDetector | None, view: CenterView | None
    ):
        super().__init__()
        self.classifier, self.view = classifier, view
        self.detects = detector is not None
        if detector:
            self.register_buffer("ood_mean", detector.mean.float())
            self.register_buffer("ood_std", detector.std.float())
            self.register_buffer("ood_directions", detector.directions.float())
            self.register_buffer("ood_limit", torch.tensor(float(detector.limit)))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Probabilities, OOD scores and features of a batch of images of one size."""
        pixels = self.view(image).permute(0, 2, 3, 1) if self.view else image
        return self.from_features(self.classifier.encoder(pixels))

    def from_features(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The same of features (N, D)."""
        logits = self.classifier.head(features)
        probabilities = torch.softmax(logits / self.classifier.get_buffer("temperature"), dim=1)
        return probabilities, self.ood_score(features), features

    def ood_score(self, features: Tensor) -> Tensor:
        """(N,) of features (N, D), as OODDetector.score."""
        if not self.detects:
            return features[:, 0] * 0
        x = (features - self.get_buffer("ood_mean")) / self.get_buffer("ood_std")
        known = torch.matmul(x, self.get_buffer("ood_directions"))
        rest = (x * x).sum(1) - (known * known).sum(1)
        return torch.sqrt(torch.clamp(rest, min=0.0)) / self.get_buffer("ood_limit")


def graph_of(predictor: Predictor, square: bool = False) -> Graph:
    """The graph of a predictor, on the CPU, in inference mode; UsageError for a network whose
    resize it cannot hold.
    """
    fed = predictor.backbone.preprocess
    if not square and fed.interpolation not in FILTERS:
        raise UsageError(
            f"expected a network whose images are resized by {', '.join(FILTERS)}, not "
            f"{fed.interpolation}; export it with --square"
        )
    classifier = copy.deepcopy(predictor.classifier).cpu().eval()
    view = None if square else CenterView(fed)
    return Graph(classifier, predictor.ood_detector, view).eval().requires_grad_(False)
