"""The optimiser and its schedule, against PyTorch's own classes."""

import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as some

from graft.learning.optimiser import AdamW, one_cycle


@settings(deadline=None)
@given(total=some.integers(3, 300), warm_up=some.floats(0.05, 0.9))
def test_one_cycle_is_that_of_pytorch(total, warm_up):
    warm_up = max(warm_up, 2 / total)
    weight = torch.nn.Parameter(torch.zeros(1))
    theirs = torch.optim.AdamW([weight], 0.3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(theirs, 0.3, total, pct_start=warm_up)
    for step in range(total):
        share, beta1 = one_cycle(step, total, warm_up)
        assert 0.3 * share == pytest.approx(theirs.param_groups[0]["lr"], rel=1e-9)
        assert beta1 == pytest.approx(theirs.param_groups[0]["betas"][0], rel=1e-9)
        theirs.step()
        if step + 1 < total:
            schedule.step()


def test_its_steps_are_those_of_pytorchs_adamw_bit_for_bit():
    torch.manual_seed(0)
    mine = torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.ReLU(), torch.nn.Linear(7, 3))
    theirs = torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.ReLU(), torch.nn.Linear(7, 3))
    theirs.load_state_dict(mine.state_dict())
    ours = AdamW(mine.parameters(), 0.02)
    reference = torch.optim.AdamW(theirs.parameters(), 1e-2, weight_decay=0.02, fused=True)
    for _ in range(5):
        x = torch.randn(4, 5)
        for model, optimiser in ((mine, ours), (theirs, reference)):
            optimiser.zero_grad()
            model(x).square().sum().backward()
        ours.step(1e-2)
        reference.step()
    for a, b in zip(mine.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_step_does_not_import_pytorchs_compiler():
    program = """
import sys, torch
from graft.learning.optimiser import AdamW
weight = torch.nn.Parameter(torch.ones(3))
optimiser = AdamW([weight], 0.01)
weight.sum().backward()
torch.nn.utils.clip_grad_norm_([weight], 1.0)
optimiser.step(0.1)
sys.exit("torch._dynamo" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
