"""The learning rate and the updates of a script against Caffe's policies and rules."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from proto2torch.errors import SolverError, UnsupportedError
from proto2torch.prototxt.read import read_solver
from proto2torch.solvers import definition, rules
from proto2torch.solvers.definition import SolverDefinition
from proto2torch.train_script import updates

POLICIES = [
    'lr_policy: "fixed"',
    'lr_policy: "step" gamma: 0.3 stepsize: 7',
    'lr_policy: "exp" gamma: 0.97',
    'lr_policy: "inv" gamma: 0.01 power: 0.75',
    'lr_policy: "inv" gamma: 0.01 power: -0.5',
    'lr_policy: "multistep" gamma: 0.1',
    'lr_policy: "multistep" gamma: 0.1 stepvalue: 5',
    'lr_policy: "multistep" gamma: 0.1 stepvalue: 5 stepvalue: 20 stepvalue: 21',
    'lr_policy: "multistep" gamma: 0.5 stepvalue: 0 stepvalue: 9 stepvalue: 9 stepvalue: 4',
    'lr_policy: "poly" power: 1.5',
    'lr_policy: "sigmoid" gamma: 0.4 stepsize: 20',
    'lr_policy: "sigmoid" gamma: 100 stepsize: 20',
    'lr_policy: "multifixed" stagelr: 0.1 stagelr: 0.02 stageiter: 10 stageiter: 30',
]


def read(tmp_path: Path, fields: str) -> SolverDefinition:
    path = tmp_path / "solver.prototxt"
    path.write_text(f'net: "net.prototxt" base_lr: 0.03 max_iter: 50 {fields}')
    return definition.read(read_solver(str(path)))


def defined(source: str) -> dict[str, Any]:
    namespace: dict[str, Any] = {"math": math, "torch": torch}
    exec(source, namespace)
    return namespace


@pytest.mark.parametrize("fields", POLICIES)
def test_rates_are_caffes(fields: str, tmp_path: Path) -> None:
    d = read(tmp_path, fields)
    rate, policy = defined(updates.learning_rate(d))["learning_rate"], d.policy()
    for iteration in range(50):
        assert rate(iteration) == pytest.approx(policy.rate(iteration), rel=2e-6, abs=1e-40), iteration


def test_a_policy_that_follows_the_loss_is_refused(tmp_path: Path) -> None:
    d = read(tmp_path, 'lr_policy: "plateau" gamma: 0.1 plateau_winsize: 5')
    with pytest.raises(UnsupportedError, match="cannot have the policy 'plateau'") as refused:
        updates.write(d, grouped=False)
    assert refused.value.line == 1


@pytest.mark.parametrize("field", ["base_lr", "momentum", "weight_decay", "delta"])
def test_what_torchs_optimizers_do_not_take_is_refused(field: str, tmp_path: Path) -> None:
    d = replace(read(tmp_path, 'lr_policy: "fixed"'), **{field: -0.5})
    with pytest.raises(SolverError, match=f"no {field} below 0. Received: -0.5"):
        updates.write(d, grouped=False)


RULES = {
    "SGD": "momentum: 0.9",
    "Nesterov": "momentum: 0.8",
    "AdaGrad": "delta: 0.001",
    "RMSProp": "rms_decay: 0.9",
    "AdaDelta": "momentum: 0.95 delta: 1e-6",
    "Adam": "momentum: 0.9 momentum2: 0.99",
}
DECAYS = ["", "weight_decay: 0.1", 'weight_decay: 0.1 regularization_type: "L1"']


@pytest.mark.parametrize("decay", DECAYS, ids=["none", "L2", "L1"])
@pytest.mark.parametrize("rule", [*RULES, "SGD without momentum", "Nesterov without momentum"])
@pytest.mark.parametrize("grouped", [False, True])
def test_updates_are_those_of_the_rules(rule: str, decay: str, grouped: bool, tmp_path: Path) -> None:
    kind = rule.split()[0]
    fields = "" if "without" in rule else RULES[kind]
    d = read(tmp_path, f'type: "{kind}" lr_policy: "step" gamma: 0.1 stepsize: 3 {fields} {decay}')
    made = updates.write(d, grouped)
    namespace = defined("\n\n".join(made.functions))
    draw = torch.Generator().manual_seed(0)
    ours = [torch.randn(4, 3, generator=draw).requires_grad_() for _ in range(2)]
    theirs = [value.detach().clone().requires_grad_() for value in ours]
    multipliers = [(1.0, 1.0), (2.0, 0.5)] if grouped else [(1.0, 1.0), (1.0, 1.0)]
    namespace["given"] = ours
    if grouped:
        namespace["given"] = [
            {"params": [value], "lr_mult": lr, **_decaying(made.group_decay, mult)}
            for value, (lr, mult) in zip(ours, multipliers, strict=True)
        ]
    optimizer = eval(made.optimizer.replace(updates.PARAMETERS, "given"), namespace)
    groups = [
        {"params": [value], "lr_mult": lr, "decay_mult": mult}
        for value, (lr, mult) in zip(theirs, multipliers, strict=True)
    ]
    rule_of_ours, policy = rules.build(d, groups), d.policy()
    for iteration in range(7):
        for mine, its in zip(ours, theirs, strict=True):
            mine.grad = torch.randn(4, 3, generator=draw)
            its.grad = mine.grad.clone()
        namespace["step"](optimizer, iteration)
        for group in rule_of_ours.param_groups:
            group["lr"] = policy.rate(iteration)
        rule_of_ours.step()
        for mine, its in zip(ours, theirs, strict=True):
            assert torch.allclose(mine, its, rtol=2e-5, atol=1e-6), iteration


def _decaying(strength: str | None, mult: float) -> dict[str, float]:
    """What the group of a script says of weight decay."""
    if strength is None:
        return {}
    return {"weight_decay": mult * float(strength)} if strength else {"decay_mult": mult}
