import numpy as np
import pytest

from graft.explanation.walkthrough import walk
from graft.explanation.walkthrough_layers import excerpts, layers_of, size, varying, work


def test_a_layer_is_a_convolution_and_what_follows_it(untrained, noise):
    layers = layers_of(walk(untrained("base_cnn"), noise))
    assert [[step.kind for step in layer.steps] for layer in layers] == 3 * [
        ["conv", "norm", "relu"],
        ["conv", "norm", "pool", "relu"],
    ]
    assert work(walk(untrained("base_cnn"), noise), layers[0]) == 3 * 9 * 32 * 32 * 32


def test_the_first_excerpt_of_a_network_from_scratch_holds_all_of_it(untrained, noise):
    first = next(excerpts(walk(untrained("base_cnn"), noise)))
    assert first.whole
    assert first.stored == ()
    body = untrained("base_cnn").classifier.encoder.body
    buffers = [b for name, b in body.named_buffers() if "running" in name]
    numbers = [*body.parameters(), *buffers]
    assert size(walk(untrained("base_cnn"), noise), first) == sum(n.numel() for n in numbers)
    assert [layer.channels for layer in first.layers] == [None] * 6


def test_each_excerpt_holds_less_than_the_one_before(untrained, noise):
    found = walk(untrained("deep_cnn"), noise)
    several = list(excerpts(found))
    sizes = [size(found, excerpt) for excerpt in several if excerpt.whole]
    assert sizes == sorted(sizes, reverse=True)
    counts = [len(excerpt.layers) for excerpt in several if not excerpt.whole]
    assert counts == list(range(10, 0, -1))


def test_what_layers_read_is_held_or_can_be_computed(untrained, noise):
    found = walk(untrained("deep_cnn"), noise)
    for excerpt in list(excerpts(found))[1:]:
        known = {0, *excerpt.stored}
        for layer in excerpt.layers:
            own = {step.output for step in layer.steps}
            for step in layer.steps:
                assert set(step.inputs) <= known | own
            if layer.channels is None:
                known |= own
        if excerpt.whole:
            assert excerpt.layers[-1].output in known


def test_the_channels_that_are_kept_vary_most_and_last_those_that_decide(untrained, noise):
    found = walk(untrained("deep_cnn"), noise)
    excerpt = [e for e in excerpts(found) if e.whole][1]
    partial = [layer for layer in excerpt.layers if layer.channels is not None]
    assert len(partial[-1].channels) == 16
    spreads = found.values[partial[0].output].std(axis=(1, 2))
    least = min(spreads[list(partial[0].channels)])
    assert (np.delete(spreads, list(partial[0].channels)) <= least).all()
    assert varying(found, partial[0].output)[0] == partial[0].channels[0]
    assert partial[-1].channels[0] == int(np.abs(found.adds).argmax())


@pytest.mark.parametrize("most", [1, 3])
def test_layers_can_be_limited(untrained, noise, most):
    found = next(excerpts(walk(untrained("base_cnn"), noise), most))
    assert (len(found.layers), found.whole) == (most, False)
