"""The head and its dropout, against arithmetic."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as some

from graft.models.head import Dropout, Head


@settings(deadline=None)
@given(fraction=some.floats(0.01, 0.95), rows=some.integers(1, 50), columns=some.integers(1, 50))
def test_dropout_keeps_what_it_keeps_scaled_up_and_drops_its_fraction(fraction, rows, columns):
    torch.manual_seed(0)
    x = torch.ones(rows, columns)
    out = Dropout(fraction)(x)
    assert out.shape == x.shape
    kept = out[out != 0]
    assert torch.allclose(kept, torch.tensor(1 / (1 - fraction)))
    many = Dropout(fraction)(torch.ones(1000, 300))
    assert float((many == 0).float().mean()) == pytest.approx(fraction, abs=0.005)
    assert float((many == 0).float().mean(0).std()) == pytest.approx(
        (fraction * (1 - fraction) / 1000) ** 0.5, rel=0.25
    )


def test_dropout_leaves_inference_alone_and_follows_the_seed():
    x = torch.randn(7, 9)
    layer = Dropout(0.5)
    assert torch.equal(layer.eval()(x), x)
    layer.train()
    torch.manual_seed(3)
    first = layer(x)
    torch.manual_seed(3)
    assert torch.equal(first, layer(x))
    assert not torch.equal(first, layer(x))


def test_a_linear_head_is_standardize_then_multiply():
    head = Head(5, 3, 0, 0.0, 0.0)
    mean, std = torch.randn(5), torch.rand(5) + 0.5
    head.standardize(mean, std)
    x = torch.randn(4, 5)
    weight, bias = head.layers[-1].weight, head.layers[-1].bias
    spread = std + 1e-3 * std.mean() + 1e-12
    assert torch.allclose(head(x), (x - mean) / spread @ weight.T + bias, atol=1e-5)
