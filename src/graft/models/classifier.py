"""Classifier: softmax(head(encoder(image)) / temperature)."""

import torch
from torch import Tensor, nn

from graft.models.encoder import Encoder
from graft.models.head import Head


class Classifier(nn.Module):
    """Pixels to calibrated probabilities: (N, H, W, 3) uint8 RGB to (N, K) float32.

    One network, which can be traced, exported and explained as any other. H and W are those of
    `encoder.input_shape`; K is the number of classes. `temperature` > 0 divides the logits (Guo et
    al. 2017, arXiv:1706.04599).
    """

    def __init__(self, encoder: Encoder, head: Head, temperature: float = 1.0):
        super().__init__()
        self.encoder, self.head = encoder, head
        self.register_buffer("temperature", torch.tensor(float(temperature)))

    def forward(self, pixels: Tensor) -> Tensor:
        """Probabilities of a batch of pixels, each row summing to 1."""
        return torch.softmax(self.logits(pixels) / self.get_buffer("temperature"), dim=1)

    def logits(self, pixels: Tensor) -> Tensor:
        """Logits (N, K) of a batch of pixels, before the temperature."""
        return torch.as_tensor(self.head(self.encoder(pixels)))
