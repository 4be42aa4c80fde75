"""Memory, counted by hand."""

import torch
from torch import nn

import graft


def test_memory_is_what_a_small_network_keeps():
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(256, 2)
    )
    memory = graft.summary(network, image_size=8).memory(batch=10)
    parameters = 3 * 9 * 4 + 4 + 256 * 2 + 2
    image, features = 3 * 8 * 8, 4 * 8 * 8
    assert memory.weights == memory.gradients == 4 * parameters
    assert memory.optimizer == 2 * memory.weights
    assert memory.activations == 10 * 4 * 2 * features  # the ReLU: its input and output
    # The convolution's backward pass needs the image; the ReLU's and the linear layer's its output.
    assert memory.saved == 10 * 4 * (image + features)
    assert memory.prediction == memory.weights + memory.activations
    assert memory.training == 4 * memory.weights + memory.saved


def test_what_is_frozen_keeps_nothing_for_a_backward_pass():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(144, 2))
    network[0].requires_grad_(False)
    memory = graft.summary(network, image_size=8).memory()
    assert memory.saved == 4 * 144
    assert memory.gradients == 4 * (144 * 2 + 2)


def test_a_summary_leaves_no_tensors_behind():
    found = graft.summary(nn.Sequential(nn.Conv2d(3, 4, 3)), image_size=8)
    assert not found.kept.held
    assert not any(isinstance(value, torch.Tensor) for value in vars(found.layers[0]).values())
