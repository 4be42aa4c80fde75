from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn

from graft.data.decode import Preprocess
from graft.features.backends import LazyBackend
from graft.inference.predictor import Predictor
from graft.models.encoder import Encoder
from graft.models.head import Head

SIDE = 32


class Quarters(nn.Module):
    """The mean brightness of each quarter of the image: top left, top right, below."""

    num_features = 4

    def __init__(self):
        super().__init__()
        self.blocks = nn.Sequential(nn.AvgPool2d(2), nn.Identity())

    def forward_features(self, x):
        return self.blocks(x)

    def forward_head(self, x, pre_logits=True):
        return nn.functional.adaptive_avg_pool2d(x.mean(1, keepdim=True), 2).flatten(1)


@dataclass
class Known:
    """A backbone of which everything is known: no weights, no file."""

    preprocess: Preprocess
    body: nn.Module
    name: str = "known"
    architecture: str = "known"

    def build(self):
        return Encoder(self.body, self.preprocess, taps=False).eval()


def predictor_of(body, features, weights, classes=("corner", "rest"), side=SIDE):
    backbone = Known(Preprocess(side, side, (0.5,) * 3, (0.5,) * 3), body)
    head = Head(features, len(classes), 0, 0.0, 0.0).eval()
    with torch.no_grad():
        head.layers[-1].weight.copy_(torch.as_tensor(weights))
        head.layers[-1].bias.zero_()
    return Predictor(backbone, head, classes, LazyBackend(backbone.build, "float32"))


@pytest.fixture(scope="session")
def make_predictor():
    """The function that makes a predictor of a body and the weights of its head."""
    return predictor_of


@pytest.fixture(scope="session")
def corner():
    """A predictor that says `corner` the more, the brighter the top left quarter is."""
    return predictor_of(Quarters(), 4, [[2.0, 0, 0, 0], [0.0, 0, 0, 0]])


@pytest.fixture
def bright_corner():
    """An image that is dark but for its top left quarter."""
    pixels = np.full((SIDE, SIDE, 3), 20, np.uint8)
    pixels[: SIDE // 2, : SIDE // 2] = 240
    return pixels
