import copy

import pytest
import timm
import torch

from graft.models.runtime import Runtime
from graft.training.depthwise import float32_depthwise

BF16 = Runtime(torch.device("cpu"), torch.bfloat16)


@pytest.fixture
def network():
    return timm.create_model("tf_efficientnet_lite0", num_classes=3).train()


def depthwise(network):
    return [m for m in network.modules() if isinstance(m, torch.nn.Conv2d) and m.groups > 1]


def seen(network, x, runtime):
    """The types of what each depthwise convolution gives."""
    found = []
    for module in depthwise(network):
        module.register_forward_hook(lambda m, _, out: found.append(out.dtype))
    with runtime.autocast():
        network(x).sum().backward()
    return set(found)


def test_depthwise_convolutions_compute_in_float32_while_a_network_trains(network):
    x = torch.rand(2, 3, 64, 64)
    assert seen(copy.deepcopy(network), x, BF16) == {torch.bfloat16}
    with float32_depthwise(network, BF16):
        assert seen(network, x, BF16) == {torch.float32}


def test_the_network_is_afterwards_as_it_was(network):
    with pytest.raises(KeyError), float32_depthwise(network, BF16):
        raise KeyError
    assert not any("forward" in vars(module) for module in network.modules())


@pytest.mark.parametrize(
    "runtime",
    [Runtime(torch.device("cpu"), torch.float32), Runtime(torch.device("cuda"), torch.bfloat16)],
)
def test_nothing_changes_on_a_gpu_or_where_all_is_float32(network, runtime):
    with float32_depthwise(network, runtime):
        assert not any("forward" in vars(module) for module in network.modules())


def test_a_depthwise_convolution_gives_what_float32_gives():
    convolution = torch.nn.Conv2d(8, 8, 3, padding=1, groups=8)
    exact, x = copy.deepcopy(convolution), torch.rand(2, 8, 9, 9)
    exact(x).square().sum().backward()
    with float32_depthwise(convolution, BF16), BF16.autocast():
        found = convolution(x)
    found.square().sum().backward()
    assert found.equal(exact(x))
    assert convolution.weight.grad.equal(exact.weight.grad)
