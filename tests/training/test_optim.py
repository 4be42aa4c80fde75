"""The optimizer and its schedule, against PyTorch's own classes."""

import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as some

from graft.training.optim import (
    BETA1,
    PLATEAU_EPOCHS,
    PLATEAU_FACTOR,
    Group,
    Optimizer,
    cosine,
    one_cycle,
    plateau,
    schedule,
)


@settings(deadline=None)
@given(total=some.integers(3, 300), warmup=some.floats(0.05, 0.9))
def test_one_cycle_is_that_of_pytorch(total, warmup):
    warmup = max(warmup, 2 / total)
    weight = torch.nn.Parameter(torch.zeros(1))
    theirs = torch.optim.AdamW([weight], 0.3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(theirs, 0.3, total, pct_start=warmup)
    for step in range(total):
        fraction, beta1 = one_cycle(step, total, warmup)
        assert 0.3 * fraction == pytest.approx(theirs.param_groups[0]["lr"], rel=1e-9)
        assert beta1 == pytest.approx(theirs.param_groups[0]["betas"][0], rel=1e-9)
        theirs.step()
        if step + 1 < total:
            schedule.step()


@pytest.mark.parametrize("kind", ["adamw", "sgd"])
def test_its_steps_are_those_of_pytorch_bit_for_bit(kind):
    torch.manual_seed(0)
    mine = torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.ReLU(), torch.nn.Linear(7, 3))
    theirs = torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.ReLU(), torch.nn.Linear(7, 3))
    theirs.load_state_dict(mine.state_dict())
    ours = Optimizer([Group(list(mine.parameters()))], kind, 0.02)
    reference = (
        torch.optim.AdamW(theirs.parameters(), 1e-2, weight_decay=0.02, fused=True)
        if kind == "adamw"
        else torch.optim.SGD(
            theirs.parameters(), 1e-2, 0.9, nesterov=True, weight_decay=0.02, fused=True
        )
    )
    for _ in range(5):
        x = torch.randn(4, 5)
        for model, optimizer in ((mine, ours), (theirs, reference)):
            optimizer.zero_grad()
            model(x).square().sum().backward()
        ours.step(1e-2)
        reference.step()
    for a, b in zip(mine.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_step_does_not_import_pytorchs_compiler():
    program = """
import sys, torch
from graft.training.optim import Group, Optimizer
weight = torch.nn.Parameter(torch.ones(3))
optimizer = Optimizer([Group([weight])])
weight.sum().backward()
torch.nn.utils.clip_grad_norm_([weight], 1.0)
optimizer.step(0.1)
sys.exit("torch._dynamo" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_a_groups_rate_multiplies_that_of_the_schedule():
    slow, fast = (torch.nn.Parameter(torch.ones(2)) for _ in range(2))
    optimizer = Optimizer([Group([slow], 0.1), Group([fast])], "sgd")
    (slow.sum() + fast.sum()).backward()
    optimizer.step(0.5)
    assert torch.allclose((1 - slow) * 10, 1 - fast)


def test_its_state_continues_where_it_was():
    torch.manual_seed(0)
    weights = [torch.nn.Parameter(torch.ones(3)) for _ in range(2)]
    optimizers = [Optimizer([Group([w])]) for w in weights]
    for step in range(6):
        if step == 3:
            optimizers[1] = Optimizer([Group([weights[1]])])
            optimizers[1].load({k: v.clone() for k, v in optimizers[0].state().items()})
            weights[1].data.copy_(weights[0].data)
        gradient = torch.randn(3)
        for weight, optimizer in zip(weights, optimizers, strict=True):
            weight.grad = gradient.clone()
            if weight is weights[0] or step >= 3:
                optimizer.step(0.1)
    assert torch.equal(*weights)


@given(total=some.integers(3, 300), warmup=some.floats(0.0, 0.5))
def test_cosine_rises_to_one_and_falls_to_almost_nothing(total, warmup):
    fractions = [cosine(step, total, warmup)[0] for step in range(total)]
    top = fractions.index(max(fractions))
    assert max(fractions) <= 1 + 1e-12
    assert fractions[: top + 1] == sorted(fractions[: top + 1])
    assert fractions[top:] == sorted(fractions[top:], reverse=True)


def test_a_schedule_of_few_steps_warms_up_and_peaks_at_the_rate_given():
    for kind, losses in (("one-cycle", []), ("cosine", []), ("plateau", [])):
        rates = [schedule(kind, 0.5, 0.0, 4, losses)(step)[0] for step in range(4)]
        assert rates[0] < max(rates) == pytest.approx(0.5), kind
    fallen = schedule("plateau", 0.5, 0.1, 100, [1.0] * (PLATEAU_EPOCHS + 1))
    assert fallen(50)[0] == pytest.approx(0.5 * PLATEAU_FACTOR)


def test_plateau_cuts_the_rate_when_validation_stops_improving():
    losses = [1.0, 0.9, *[0.95] * PLATEAU_EPOCHS]
    assert plateau(100, 1000, 0.01, losses[:-1]) == (1.0, BETA1)
    assert plateau(100, 1000, 0.01, losses) == (PLATEAU_FACTOR, BETA1)
    assert plateau(0, 1000, 0.01, [])[0] == pytest.approx(0.1)
