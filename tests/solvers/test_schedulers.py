"""The policies as schedulers of torch optimizers: the rates of Caffe's log, groups, and going on from a state."""

from __future__ import annotations

import re

import pytest
import torch

from proto2torch.solvers.adam import Adam
from proto2torch.solvers.numbers import shown
from proto2torch.solvers.policies import MultiStep, Step
from proto2torch.solvers.schedulers import PolicyLR

from .plain_net import CASES, DATA
from .test_rules import policy_of


def optimizer(lr: float, kind=torch.optim.SGD):
    return kind(
        [{"params": [torch.nn.Parameter(torch.ones(1))]}, {"params": [torch.nn.Parameter(torch.ones(1))]}], lr=lr
    )


def rates(scheduler: PolicyLR, updates: int) -> list[float]:
    """The first group's rate in each of some updates."""
    found = []
    for _ in range(updates):
        found.append(scheduler.optimizer.param_groups[0]["lr"])
        scheduler.optimizer.step()
        scheduler.step()
    return found


@pytest.mark.parametrize("case", CASES)
def test_rates_are_those_of_caffes_log(case):
    logged = re.findall(r"^Iteration \d+, lr = (\S+)$", (DATA / case / "caffe_log.txt").read_text(), re.MULTILINE)
    policy = policy_of(case)
    assert [shown(rate) for rate in rates(PolicyLR(optimizer(policy.base_lr), policy), 20)] == logged


def test_our_rules_take_it_too():
    scheduler = PolicyLR(optimizer(0.5, Adam), Step(0.5, gamma=0.1, stepsize=2))
    assert rates(scheduler, 4) == pytest.approx([0.5, 0.5, 0.05, 0.05])


def test_a_group_keeps_its_ratio_to_the_base_rate():
    weight, bias = torch.nn.Parameter(torch.ones(1)), torch.nn.Parameter(torch.ones(1))
    groups = [{"params": [weight]}, {"params": [bias], "lr": 0.4}]
    scheduler = PolicyLR(torch.optim.SGD(groups, lr=0.2), Step(0.2, gamma=0.5, stepsize=1))
    scheduler.optimizer.step()
    scheduler.step()
    assert [group["lr"] for group in scheduler.optimizer.param_groups] == pytest.approx([0.1, 0.2])


def test_it_goes_on_from_its_state():
    def new():
        return PolicyLR(optimizer(1.0), MultiStep(1.0, gamma=0.5, stepvalue=(2, 3)))

    straight, first, second = rates(new(), 6), new(), new()
    assert rates(first, 3) == straight[:3]
    second.load_state_dict(first.state_dict())
    second.optimizer.load_state_dict(first.optimizer.state_dict())
    assert rates(second, 3) == straight[3:] == [0.25, 0.25, 0.25]
