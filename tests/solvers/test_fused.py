"""The fused updates against the plain ones, which the other tests hold against Caffe."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch

from proto2torch.solvers.fused import fusible
from proto2torch.solvers.rules import RULES

FUSED = {
    "SGD": ({"momentum": 0.9}, "_fused_sgd_"),
    "Nesterov": ({"momentum": 0.95}, "_fused_sgd_"),
    "Adam": ({"momentum": 0.9, "momentum2": 0.99, "delta": 1e-4}, "_fused_adam_"),
}
SHAPES = [(20, 3, 5, 5), (20,), (50, 80), (1,)]


def trained(rule, plain, updates=20, rates=(0.1, 0.01, 0.003), on_device=False, **arguments):
    """Weights and histories after `updates` with drawn gradients and a rate that changes; Caffe's order of slots."""
    draw = torch.Generator().manual_seed(7)
    params = [torch.nn.Parameter(torch.randn(shape, generator=draw)) for shape in SHAPES]
    groups = [{"params": params[::2]}, {"params": params[1::2], "lr_mult": 2.0, "decay_mult": 0.0}]
    usual = FUSED[rule][0] if rule in FUSED else {}
    optimizer = RULES[rule](groups, lr=0.0, **{**usual, **arguments})
    optimizer.keep_updates = plain  # the fused kernels do not give the update itself
    if on_device:
        optimizer.rates_on_device()
    for update in range(updates):
        for group in optimizer.param_groups:
            group["lr"] = rates[update * len(rates) // updates]
        for param in params:
            param.grad = torch.randn(param.shape, generator=draw)
        optimizer.step()
    return [p.detach() for p in params], [slot for p in params for slot in optimizer.history(p)]


@pytest.mark.parametrize("kind", ["L2", "L1"])
@pytest.mark.parametrize("rule", FUSED)
def test_twenty_updates_are_those_of_the_plain_rule(rule, kind):
    arguments = {"weight_decay": 0.05, "regularization": kind}
    fused, plain = trained(rule, False, **arguments), trained(rule, True, **arguments)
    for ours, theirs in zip(fused[0] + fused[1], plain[0] + plain[1], strict=True):
        assert (ours - theirs).norm() <= 1e-6 * theirs.norm()


@pytest.mark.parametrize("rate", [1e-7, 1e-12, 0.0])
def test_the_smallest_rates_keep_their_digits(rate):
    fused, plain = trained("SGD", False, rates=(rate,)), trained("SGD", True, rates=(rate,))
    for ours, theirs in zip(fused[1], plain[1], strict=True):
        assert (ours - theirs).norm() <= 1e-6 * theirs.norm()


@pytest.mark.parametrize("rule", FUSED)
def test_a_group_is_one_launch(rule, called):
    arguments, kernel = FUSED[rule]
    params = [torch.nn.Parameter(torch.ones(shape)) for shape in SHAPES]
    optimizer = RULES[rule](params, lr=0.1, weight_decay=0.1, **arguments)
    for param in params:
        param.grad = torch.ones_like(param)
    optimizer.step()
    with called() as calls:
        optimizer.step()
    assert calls.names.count(kernel) == 1
    assert [name for name in calls.names if not name.startswith("_record_function")] == [kernel]


@pytest.mark.parametrize("rule", FUSED)
def test_a_gradient_that_lies_otherwise_in_memory_meets_its_weights(rule):
    """The kernels walk the memory: paired as it lies, these would be other elements."""
    weights = torch.arange(2.0 * 3 * 4 * 5).reshape(2, 3, 4, 5) / 100
    results = []
    for layout in (torch.contiguous_format, torch.channels_last):
        weight = torch.nn.Parameter(weights.clone().to(memory_format=layout))
        weight.grad = weights.square()
        optimizer = RULES[rule]([weight], lr=0.1, **FUSED[rule][0])
        optimizer.step()
        results.append(weight.detach())
    assert (results[0] - results[1]).norm() <= 1e-6 * results[0].norm()


@pytest.mark.parametrize("rule", ["SGD", "Nesterov"])
def test_without_momentum_the_history_is_the_last_update(rule):
    weight = torch.nn.Parameter(torch.ones(3))
    weight.grad = torch.full((3,), 2.0)
    optimizer = RULES[rule]([weight], lr=0.25)
    optimizer.step()
    assert optimizer.history(weight)[0].tolist() == [0.5] * 3
    assert weight.tolist() == [0.5] * 3


def test_what_may_be_fused():
    a = torch.zeros(2, 3, 4, 5)
    last = a.to(memory_format=torch.channels_last)
    assert fusible([a, last], [a, last])
    assert not fusible([a], [last])
    assert not fusible([a], [a.double()])
    assert not fusible([a.int()], [a.int()])
    assert not fusible([a], [torch.zeros((), device="meta").expand(2, 3, 4, 5)])
    assert not fusible([a.mT], [a.mT])


@pytest.mark.parametrize("rates", [(0.1, 0.0, 0.003), (0.5, 1e-25, 1e-4)])
def test_nesterovs_velocity_survives_every_change_of_the_rate(rates):
    fused, plain = trained("Nesterov", False, rates=rates), trained("Nesterov", True, rates=rates)
    for ours, theirs in zip(fused[0] + fused[1], plain[0] + plain[1], strict=True):
        assert (ours - theirs).norm() <= 1e-6 * theirs.norm()


def test_nesterovs_history_goes_back_as_it_came():
    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = RULES["Nesterov"]([weight], lr=0.25, momentum=0.5)
    for _ in range(2):
        weight.grad = torch.full((3,), 2.0)
        optimizer.step()
    (velocity,) = optimizer.history(weight)
    assert velocity.tolist() == [0.5 * 0.5 + 0.5] * 3  # m * h + a * g, twice
    optimizer.set_history(weight, [velocity])
    assert torch.equal(optimizer.history(weight)[0], velocity)


def same(ours, theirs):
    for mine, other in zip(ours[0] + ours[1], theirs[0] + theirs[1], strict=True):
        assert (mine - other).norm() <= 1e-6 * other.norm()


@pytest.mark.parametrize("kind", ["L2", "L1"])
@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("rule", RULES)
def test_rates_on_the_device_make_the_same_updates(rule, plain, kind):
    arguments = {"weight_decay": 0.05, "regularization": kind}
    same(trained(rule, plain, on_device=True, **arguments), trained(rule, True, **arguments))


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("rates", [(0.1, 0.0, 0.003), (0.5, 1e-25, 1e-4), (1e-12,)])
@pytest.mark.parametrize("rule", ["SGD", "Nesterov"])
def test_a_velocity_survives_every_change_of_a_rate_on_the_device(rule, rates, momentum):
    ours = trained(rule, False, rates=rates, on_device=True, momentum=momentum)
    same(ours, trained(rule, True, rates=rates, momentum=momentum))


@pytest.mark.parametrize("rule", FUSED)
def test_a_rate_on_the_device_is_written_where_it_changes_and_needs_no_launch_beside_the_kernel(rule, called):
    arguments, kernel = FUSED[rule]
    params = [torch.nn.Parameter(torch.ones(shape)) for shape in SHAPES]
    optimizer = RULES[rule](params, lr=0.1, weight_decay=0.1, **arguments)
    optimizer.rates_on_device()
    written = {"SGD": ["_foreach_mul_", "fill_"], "Nesterov": ["_foreach_mul_", "fill_"], "Adam": ["fill_"]}[rule]
    for changed in (False, False, True):
        for param in params:
            param.grad = torch.ones_like(param)
        optimizer.param_groups[0]["lr"] = 0.05 if changed else 0.1
        with called() as prepared:
            assert optimizer.prepare()
        with called() as made:
            optimizer.make()
    assert [name for name in prepared.names if not name.startswith("_record_function")] == written
    assert [name for name in made.names if not name.startswith(("_record_function", "_local_scalar"))] == [kernel]


def test_a_rate_that_must_be_a_number_is_said():
    weight = torch.nn.Parameter(torch.ones(3))
    rules = [RULES[rule]([weight], lr=0.0) for rule in ("SGD", "AdaGrad")]
    for rule in rules:
        rule.rates_on_device()
    assert [rule.prepare() for rule in rules] == [False, True]
    frozen = RULES["SGD"]([{"params": [weight], "lr_mult": 0.0}], lr=0.1)
    frozen.rates_on_device()
    assert frozen.prepare()  # what rests needs no rate
    assert not RULES["SGD"]([weight], lr=0.1).prepare()


def updated(params, optimizer, updates=3):
    """The parameters after `updates` with gradients that follow from their number."""
    for update in range(updates):
        for param in params:
            param.grad = torch.full_like(param, update - 0.5)
        optimizer.step()
    return [param.detach().clone() for param in params]


@pytest.mark.parametrize("on_device", [False, True])
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))])
@pytest.mark.parametrize("rule", RULES)
def test_a_copy_goes_on_by_itself(rule, copied, on_device):
    params = [torch.nn.Parameter(torch.ones(shape)) for shape in SHAPES]
    optimizer = RULES[rule](params, lr=0.1, weight_decay=0.1, **(FUSED[rule][0] if rule in FUSED else {}))
    if on_device:
        optimizer.rates_on_device()
    updated(params, optimizer)
    others, other = copied((params, optimizer))
    assert all(map(torch.equal, updated(others, other), updated(params, optimizer)))


@pytest.mark.parametrize("rule", ["SGD", "Nesterov"])
def test_a_state_of_before_velocities_were_divided(rule):
    params = [torch.nn.Parameter(torch.ones(3))]
    optimizer = RULES[rule](params, lr=0.1, momentum=0.5)
    updated(params, optimizer)
    state = optimizer.state_dict()
    velocity = optimizer.history(params[0])[0].clone()
    del state["param_groups"][0]["scale"]
    optimizer.load_state_dict(state)
    assert torch.equal(optimizer.history(params[0])[0], velocity)
    updated(params, optimizer)


@pytest.mark.parametrize("on_device", [False, True])
@pytest.mark.parametrize("rule", ["SGD", "Nesterov"])
def test_in_float16_a_velocity_keeps_its_room_when_the_rate_falls(rule, on_device):
    weight = torch.nn.Parameter(torch.ones(3, dtype=torch.float16))
    optimizer = RULES[rule]([weight], lr=0.1, momentum=0.9)
    if on_device:
        optimizer.rates_on_device()
    for rate in (0.1, 1e-6):
        optimizer.param_groups[0]["lr"] = rate
        weight.grad = torch.ones_like(weight)
        optimizer.step()
    assert optimizer.history(weight)[0].tolist() == pytest.approx([0.09] * 3, rel=1e-3)
    assert weight.isfinite().all()


@pytest.mark.parametrize("rule", RULES)
def test_what_never_moved_still_rests_when_its_history_comes_back(rule):
    """Else a recording would wait in vain for a rate that it can take."""
    weights = [torch.nn.Parameter(torch.ones(3)), torch.nn.Parameter(torch.ones(2))]
    groups = [{"params": weights[:1]}, {"params": weights[1:], "lr_mult": 0.0}]
    optimizer = RULES[rule](groups, lr=0.1, **(FUSED[rule][0] if rule in FUSED else {}))
    optimizer.rates_on_device()
    for weight in weights:
        optimizer.set_history(weight, [torch.zeros_like(weight) for _ in optimizer.slots])
    assert optimizer.prepare()
    assert optimizer.history(weights[1])[0].tolist() == [0.0, 0.0]
