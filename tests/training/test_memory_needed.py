import pytest
import torch

from graft.errors import UsageError
from graft.models.backbone import scratch
from graft.training.memory_needed import activation_bytes, refuse_too_large


@pytest.mark.parametrize("name", ["base_cnn", "deep_cnn"])
def test_memory_is_that_of_the_outputs_of_a_real_pass(name):
    backbone = scratch(name, 32)
    body = backbone.build().body
    sizes = []
    for module in body.modules():
        if list(module.parameters(recurse=False)):
            module.register_forward_hook(lambda m, i, o: sizes.append(o.numel() * 4))
    body.forward_features(torch.zeros(2, 3, 32, 32))
    assert activation_bytes(backbone, 2) == sum(sizes) > 0


def test_a_size_that_no_memory_holds_is_refused_before_it_is_taken(monkeypatch):
    refuse_too_large(scratch("base_cnn", 64), 512)
    with pytest.raises(UsageError, match=r"at 5000 pixels a side takes about .* smaller --image-s"):
        refuse_too_large(scratch("base_cnn", 5000), 512)
    monkeypatch.delattr("os.sysconf")
    refuse_too_large(scratch("base_cnn", 5000), 512)


def test_an_image_size_of_5000_is_one_line(graft_here, digits, tmp_path):
    train = ["train", digits, "--model", "base_cnn", "--image-size", "5000", "--epochs", "1"]
    ended = graft_here(*train, "--views", "1", "--out", tmp_path / "run")
    assert (ended.code, ended.err.count("\n")) == (2, 1), ended.err
    assert not (tmp_path / "run").exists()
    assert graft_here("augment", digits, "--image-size", "5000").code == 2
