"""The update rules alone, on a hand-written net, against the weights that Caffe had after each number of updates."""

from __future__ import annotations

import math
import re

import pytest
import torch

from proto2torch.solvers import gradients
from proto2torch.solvers.policies import POLICIES, Policy
from proto2torch.solvers.rules import RULES

from .plain_net import CASES, DATA, LEARNING, PlainNet, batches, expected, relative_error

CHECKED = (1, 2, 5, 10, 20)
FIELD = re.compile(r'^(\w+): "?([^"\n]+)"?$', re.MULTILINE)


def fields(case: str) -> dict[str, str]:
    """The scalar fields of a case's solver file, as text."""
    return dict(FIELD.findall((DATA / case / "solver.prototxt").read_text()))


def policy_of(case: str) -> Policy:
    given = fields(case)
    numbers = {"base_lr": float, "gamma": float, "power": float, "stepsize": int, "max_iter": int}
    values = {name: kind(given[name]) for name, kind in numbers.items() if name in given}
    if given["lr_policy"] == "multistep":
        values["stepvalue"] = (4, 11)
    policy = POLICIES[given["lr_policy"]]
    return policy(**{name: value for name, value in values.items() if name in policy.__dataclass_fields__})


def rule_of(case: str, groups):
    given = fields(case)
    names = ("momentum", "momentum2", "delta", "rms_decay", "weight_decay")
    values = {name: float(given[name]) for name in names if name in given}
    return RULES[given["type"]](groups, lr=0.0, regularization=given.get("regularization_type", "L2"), **values)


@pytest.mark.parametrize("case", CASES)
def test_weights_and_losses_are_caffes(case):
    caffe, given = expected(case), fields(case)
    net = PlainNet(case, caffe, at=0)
    rule, policy, feed = rule_of(case, net.groups()), policy_of(case), batches(case)
    iter_size, limit = int(given.get("iter_size", 1)), float(given.get("clip_gradients", -1))
    for iteration in range(20):
        rule.zero_grad()
        for _ in range(iter_size):
            loss = net(*next(feed))
            loss.backward()
        assert loss.item() == pytest.approx(caffe["loss_last_microbatch"][iteration], rel=1e-4)
        grads = [param.grad for param in net.parameters()]
        if limit >= 0:
            gradients.clip(grads, limit)
        gradients.average(grads, iter_size)
        for group in rule.param_groups:
            group["lr"] = policy.rate(iteration)
        rule.step()
        if iteration + 1 in CHECKED:
            for layer in LEARNING:
                for i, param in enumerate(getattr(net, layer).parameters()):
                    name = f"w{iteration + 1}_{layer}_{i}"
                    assert relative_error(param.detach().numpy(), caffe[name]) <= 1e-4, name


def one(rule, value=1.0, grad=2.0, steps=1, **arguments):
    """A single weight after some steps with the same gradient, and its optimizer."""
    weight = torch.nn.Parameter(torch.tensor([value]))
    optimizer = RULES[rule]([weight], **arguments)
    for _ in range(steps):
        weight.grad = torch.tensor([grad])
        optimizer.step()
    return weight.item(), optimizer


def test_a_lower_rate_keeps_the_velocity_gathered_before():
    weight = torch.nn.Parameter(torch.zeros(1))
    sgd = RULES["SGD"]([weight], lr=1.0, momentum=0.5)
    weight.grad = torch.ones(1)
    sgd.step()
    sgd.param_groups[0]["lr"] = 0.0
    sgd.step()
    assert weight.item() == -1.5  # torch.optim.SGD, which multiplies at the end, would stay at -1


def test_adam_adds_delta_before_the_bias_correction():
    weight, _ = one("Adam", value=0.0, grad=2.0, lr=0.1, momentum=0.9, momentum2=0.99, delta=1.0)
    mean, square = 0.1 * 2, 0.01 * 4
    assert weight == pytest.approx(-0.1 * math.sqrt(1 - 0.99) / (1 - 0.9) * mean / (math.sqrt(square) + 1.0), rel=1e-5)


def test_l1_leaves_a_zero_weight_and_moves_others_by_their_sign():
    weight = torch.nn.Parameter(torch.tensor([-2.0, 0.0, 3.0]))
    sgd = RULES["SGD"]([weight], lr=1.0, weight_decay=0.5, regularization="L1")
    weight.grad = torch.zeros(3)
    sgd.step()
    assert weight.tolist() == [-1.5, 0.0, 2.5]


def test_a_parameter_without_gradient_decays_and_keeps_its_velocity():
    weight = torch.nn.Parameter(torch.tensor([4.0]))
    sgd = RULES["SGD"]([weight], lr=0.5, momentum=0.5, weight_decay=0.5)
    sgd.step()
    assert weight.item() == 4 - 0.5 * 0.5 * 4
    assert sgd.history(weight)[0].item() == 1.0


@pytest.mark.parametrize("rule", RULES)
def test_a_frozen_parameter_stays_while_its_history_gathers_the_decay(rule):
    weight = torch.tensor([2.0])
    optimizer = RULES[rule]([{"params": [weight], "lr_mult": 0.0}], lr=1.0, weight_decay=0.5)
    optimizer.step()
    assert weight.item() == 2.0
    gathered = {"SGD": 0, "Nesterov": 0, "AdaGrad": 1, "RMSProp": 0.01, "AdaDelta": 1, "Adam": 1}
    assert optimizer.history(weight)[0].item() == pytest.approx(gathered[rule], rel=1e-5)


def test_a_frozen_parameter_without_decay_takes_no_memory():
    weight = torch.tensor([2.0])
    optimizer = RULES["Adam"]([{"params": [weight], "lr_mult": 0.0, "decay_mult": 0.0}], lr=1.0, weight_decay=0.5)
    optimizer.step()
    assert not optimizer.state
    assert [value.item() for value in optimizer.history(weight)] == [0.0, 0.0]


def test_multipliers_scale_rate_and_decay():
    weight = torch.nn.Parameter(torch.tensor([1.0]))
    group = {"params": [weight], "lr_mult": 2.0, "decay_mult": 3.0}
    RULES["SGD"]([group], lr=0.25, weight_decay=0.5).step()
    assert weight.item() == 1 - 0.25 * 2 * (0.5 * 3)


def test_the_update_is_left_in_the_gradient_when_asked_for():
    weight = torch.nn.Parameter(torch.tensor([1.0]))
    sgd = RULES["SGD"]([weight], lr=0.5)
    sgd.keep_updates = True
    weight.grad = torch.tensor([3.0])
    sgd.step()
    assert weight.grad.item() == 1.5


@pytest.mark.parametrize("rule", RULES)
def test_state_dict_continues_where_it_was(rule):
    straight, _ = one(rule, steps=4, lr=0.1)
    _, optimizer = one(rule, steps=2, lr=0.1)
    weight = torch.nn.Parameter(optimizer.param_groups[0]["params"][0].detach().clone())
    again = RULES[rule]([weight], lr=0.1)
    again.load_state_dict(optimizer.state_dict())
    for _ in range(2):
        weight.grad = torch.tensor([2.0])
        again.step()
    assert weight.item() == straight


def test_a_closure_gives_loss_and_gradient():
    weight = torch.nn.Parameter(torch.tensor([3.0]))
    sgd = RULES["SGD"]([weight], lr=0.5)

    def closure():
        sgd.zero_grad()
        loss = weight.square().sum()
        loss.backward()
        return loss

    assert sgd.step(closure).item() == 9.0
    assert weight.item() == 0.0


def test_an_unknown_regularization_is_refused():
    with pytest.raises(ValueError, match="Received: 'L3'"):
        one("SGD", lr=1.0, regularization="L3")


def test_clipping_is_by_the_norm_of_all_gradients_together():
    grads = [torch.tensor([3.0]), torch.tensor([[4.0]])]
    norm, factor = gradients.clip(grads, 2.5)
    assert (norm.item(), factor.item()) == (5.0, 0.5)
    assert [g.item() for g in grads] == [1.5, 2.0]


def test_clipping_leaves_what_is_below_the_limit():
    grads = [torch.tensor([3.0]), torch.tensor([4.0])]
    norm, factor = gradients.clip(grads, 5.0)
    assert (norm.item(), factor.item()) == (5.0, 1.0)
    assert [g.item() for g in grads] == [3.0, 4.0]


def test_clipping_at_zero_stops_everything():
    grads = [torch.tensor([3.0]), torch.tensor([0.0])]
    gradients.clip(grads, 0.0)
    assert [g.item() for g in grads] == [0.0, 0.0]


def test_no_gradients_have_no_average():
    gradients.average([], 3)
