"""The learning-rate policies against the rates that Caffe logged, and against its formulas."""

from __future__ import annotations

import math
import re

import pytest

from proto2torch.errors import SolverError
from proto2torch.solvers.numbers import float32, shown
from proto2torch.solvers.policies import Exp, Fixed, Inv, MultiFixed, MultiStep, Plateau, Poly, Sigmoid, Step

from .plain_net import CASES, DATA
from .test_rules import policy_of


@pytest.mark.parametrize("case", CASES)
def test_rates_are_those_of_caffes_log(case):
    logged = re.findall(r"^Iteration (\d+), lr = (\S+)$", (DATA / case / "caffe_log.txt").read_text(), re.MULTILINE)
    assert len(logged) == 20
    policy = policy_of(case)
    assert [shown(policy.rate(int(iteration))) for iteration, _ in logged] == [rate for _, rate in logged]


@pytest.mark.parametrize("run, policy", [("lenet-inv", Inv(0.01, gamma=0.0001, power=0.75)), ("bn-step", None)])
def test_rates_are_those_of_longer_runs(run, policy):
    policy = policy or Step(0.05, gamma=0.3, stepsize=40)
    text = (DATA.parent / "runs" / run / "log.txt").read_text()
    logged = re.findall(r"^Iteration (\d+), lr = (\S+)$", text, re.MULTILINE)
    assert len(logged) >= 10
    assert [shown(policy.rate(int(iteration))) for iteration, _ in logged] == [rate for _, rate in logged]


@pytest.mark.parametrize(
    "policy, iteration, rate",
    [
        (Fixed(0.1), 7, 0.1),
        (Step(0.1, gamma=0.5, stepsize=10), 29, 0.1 * 0.5**2),
        (Step(0.1, gamma=0.0, stepsize=10), 9, 0.1),
        (Step(0.1, gamma=0.0, stepsize=10), 10, 0.0),
        (Exp(0.1, gamma=0.9), 3, 0.1 * 0.9**3),
        (Inv(0.1, gamma=0.5, power=2.0), 4, 0.1 / 9),
        (Poly(0.1, power=2.0, max_iter=10), 5, 0.1 / 4),
        (Poly(0.1, power=0.5, max_iter=10), 10, 0.0),
        (Sigmoid(0.1, gamma=1.0, stepsize=10), 10, 0.05),
        (Sigmoid(0.1, gamma=1.0, stepsize=10), 12, 0.1 / (1 + math.exp(-2))),
        (Sigmoid(0.1, gamma=1000.0, stepsize=10), 1, 0.0),
        (Exp(0.1, gamma=1e30), 1000, math.inf),
    ],
)
def test_formulas(policy, iteration, rate):
    assert policy.rate(iteration) == pytest.approx(rate, rel=1e-6)


def test_rates_are_float32():
    assert Fixed(0.1).rate(0) == float32(0.1) != 0.1


def test_multistep_moves_one_step_a_query():
    policy = MultiStep(1.0, gamma=0.1, stepvalue=(2, 3, 4))
    steps = []
    for iteration in (1, 9, 9, 9, 9):
        policy.rate(iteration)
        steps.append(policy.current_step)
    assert steps == [0, 1, 2, 3, 3]


def test_peeking_moves_nothing():
    policy = MultiStep(1.0, gamma=0.5, stepvalue=(2, 3))
    assert policy.peek(2) == policy.peek(2) == 0.5
    assert policy.current_step == 0


def test_poly_has_no_rate_beyond_its_end():
    with pytest.raises(SolverError, match="Received: iteration 11"):
        Poly(0.1, power=0.5, max_iter=10).rate(11)


def test_multifixed_holds_each_rate_to_the_end_of_its_stage():
    policy = MultiFixed(0.0, stagelr=(0.1, 0.02, 0.003), stageiter=(2, 4, 6))
    rates = [policy.rate(iteration) for iteration in range(9)]
    assert rates == pytest.approx([0.1, 0.1, 0.1, 0.02, 0.02, 0.003, 0.003, 0.003, 0.003])


def test_plateau_drops_where_the_loss_has_rested_for_its_window():
    policy = Plateau(1.0, gamma=0.5, plateau_winsize=(2, 3))
    rates = []
    for iteration, loss in enumerate([5.0, 4.0, 4.0, 4.0, 3.0, 6.0, 6.0, 6.0, 6.0, 6.0, 6.0]):
        policy.observe(loss)
        rates.append(policy.rate(iteration))
    # lowest at 1: a step at 3; lowest again at 4: a step at 7; no third window
    assert rates == [1, 1, 1, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.25]
    assert policy.state() == {"minimum_loss": 3.0, "last_event": 7}


def test_plateau_goes_on_from_its_state():
    first = Plateau(1.0, gamma=0.5, plateau_winsize=(3,))
    first.observe(2.0)
    first.rate(4)
    second = Plateau(1.0, gamma=0.5, plateau_winsize=(3,))
    second.load_state(first.state())
    second.observe(9.0)
    assert [second.rate(6), second.rate(7)] == [1.0, 0.5]
