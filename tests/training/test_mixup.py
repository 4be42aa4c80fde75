"""Mixup and CutMix, against their definitions."""

import torch

from graft.training.mixup import mixed


def test_nothing_is_mixed_unless_asked_for():
    x, labels = torch.randn(5, 3), torch.arange(5)
    assert mixed(x, labels, 0, 0) == (x, labels, 1.0)
    assert mixed(x, labels, 0, 1.0)[2] == 1.0, "there is no box in a vector"


def test_mixup_blends_each_row_with_the_row_whose_label_it_gives():
    torch.manual_seed(0)
    labels = torch.arange(6)
    x = torch.nn.functional.one_hot(labels).float()
    out, other, fraction = mixed(x, labels, 0.4, 0)
    assert 0 <= fraction <= 1
    assert torch.allclose(out, fraction * x + (1 - fraction) * x[other])


def test_cutmix_pastes_a_box_whose_area_is_the_other_fraction():
    torch.manual_seed(1)
    labels = torch.arange(4)
    x = labels.view(4, 1, 1, 1).expand(4, 16, 12, 3).to(torch.uint8)
    out, other, fraction = mixed(x, labels, 0, 1.0)
    for image, label, pasted in zip(out, labels, other, strict=True):
        if label != pasted:
            own = (image == label).all(-1).float().mean()
            assert abs(float(own) - fraction) < 1e-6
            assert ((image == label) | (image == pasted)).all()
    assert x.unique().tolist() == [0, 1, 2, 3], "the batch itself is not changed"
