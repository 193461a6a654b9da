"""Drawn solvers against a second computation in numpy: every rule and policy with iter_size, clipping, L1 and L2."""

from __future__ import annotations

import math
import random

import h5py
import numpy as np
import pytest

from .cases import relative_error, solver, weights

NET = """
layer { name: "data" type: "HDF5Data" top: "x" top: "y" hdf5_data_param { source: "list.txt" batch_size: 4 }
  include { phase: TRAIN } }
layer { name: "data" type: "HDF5Data" top: "x" top: "y" hdf5_data_param { source: "list.txt" batch_size: 6 }
  include { phase: TEST stage: "a" } }
layer { name: "data" type: "HDF5Data" top: "x" top: "y" hdf5_data_param { source: "list.txt" batch_size: 12 }
  include { phase: TEST stage: "b" } }
layer { name: "ip1" type: "InnerProduct" bottom: "x" top: "ip1" param { lr_mult: 1 } param { lr_mult: 2 decay_mult: 0 }
  inner_product_param { num_output: 8 weight_filler { type: "gaussian" std: 0.5 } } }
layer { name: "tanh" type: "TanH" bottom: "ip1" top: "t" }
layer { name: "ip2" type: "InnerProduct" bottom: "t" top: "ip2" param { lr_mult: 0.5 } param { lr_mult: 0 }
  inner_product_param { num_output: 3 weight_filler { type: "gaussian" std: 0.5 } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip2" bottom: "y" top: "loss" loss_weight: 2 }
layer { name: "acc" type: "Accuracy" bottom: "ip2" bottom: "y" top: "acc" include { stage: "b" } }
"""
FIXED = """
net: "net.prototxt" display: 1 snapshot_after_train: false max_iter: 30
test_iter: 4 test_iter: 2 test_interval: 5 test_state { stage: "a" } test_state { stage: "b" }
"""
MULTIPLIERS = {"ip1_0": (1, 1), "ip1_1": (2, 0), "ip2_0": (0.5, 1), "ip2_1": (0, 1)}
RULES = ("SGD", "Nesterov", "AdaGrad", "RMSProp", "AdaDelta", "Adam")
POLICIES = ("fixed", "step", "exp", "inv", "multistep", "poly", "sigmoid")
RECORDS, UPDATES = 24, 20


def draw(number):
    """The fields of one solver."""
    choose = random.Random(number).choice
    rule = RULES[number % len(RULES)]
    d = {
        "type": rule,
        "lr_policy": choose(POLICIES),
        "base_lr": choose([0.5, 1] if rule == "AdaDelta" else [0.01, 0.1]),
    }
    d |= {"gamma": choose([0.5, 0.9]), "power": choose([0.75, 2]), "stepsize": choose([3, 7])}
    d |= {"stepvalue": choose([[2, 3, 9], [5, 5, 6], [7, 3, 12]])}
    if rule not in ("AdaGrad", "RMSProp"):
        d["momentum"] = choose([0.9, 0.95] if rule == "AdaDelta" else [0, 0.9])
    if rule not in ("SGD", "Nesterov"):
        d["delta"] = 1e-6 if rule == "AdaDelta" else choose([1e-5, 1e-3])
    d |= {"weight_decay": choose([0, 0.0005, 0.01]), "regularization_type": choose(["L1", "L2"])}
    return d | {"iter_size": choose([1, 2, 3]), "clip_gradients": choose([-1, 0.05, 1]), "random_seed": number}


def text(fields):
    def line(name, value):
        return f'{name}: "{value}"\n' if isinstance(value, str) else f"{name}: {value}\n"

    every = ((name, v) for name, value in fields.items() for v in (value if isinstance(value, list) else [value]))
    return FIXED + "".join(line(name, value) for name, value in every)


def rate(d, iteration, steps):
    """The facts' table of policies; `steps` counts those of multistep."""
    base, gamma, step = d["base_lr"], d["gamma"], d["stepsize"]
    if iteration >= (d["stepvalue"][steps[0]] if steps[0] < len(d["stepvalue"]) else math.inf):
        steps[0] += 1
    return {
        "fixed": base,
        "step": base * gamma ** (iteration // step),
        "exp": base * gamma**iteration,
        "inv": base * (1 + gamma * iteration) ** -d["power"],
        "multistep": base * gamma ** steps[0],
        "poly": base * (1 - iteration / 30) ** d["power"],
        "sigmoid": base / (1 + math.exp(-gamma * (iteration - step))),
    }[d["lr_policy"]]


def gradient(w, x, y):
    """The objective and its gradients of one batch."""
    t = np.tanh(x @ w["ip1_0"].T + w["ip1_1"])
    z = t @ w["ip2_0"].T + w["ip2_1"]
    p = np.exp(z - z.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    loss = -2 * np.log(p[range(len(y)), y]).mean()
    p[range(len(y)), y] -= 1
    dz = p * 2 / len(y)
    dt = dz @ w["ip2_0"] * (1 - t * t)
    return loss, {"ip1_0": dt.T @ x, "ip1_1": dt.sum(0), "ip2_0": dz.T @ t, "ip2_1": np.zeros(3)}


def update(d, rate, g, h, t):
    """What the facts' table of rules takes from the weights; `h` is renewed."""
    m, delta = d.get("momentum", 0), d.get("delta", 1e-8)
    before = h[0]
    if d["type"] in ("SGD", "Nesterov"):
        h[0] = m * h[0] + rate * g
        return h[0] if d["type"] == "SGD" else (1 + m) * h[0] - m * before
    if d["type"] in ("AdaGrad", "RMSProp"):
        h[0] = h[0] + g * g if d["type"] == "AdaGrad" else 0.99 * h[0] + 0.01 * g * g
        return rate * g / (np.sqrt(h[0]) + delta)
    if d["type"] == "AdaDelta":
        h[0] = m * h[0] + (1 - m) * g * g
        v = g * np.sqrt((h[1] + delta) / (h[0] + delta))
        h[1] = m * h[1] + (1 - m) * v * v
        return rate * v
    h[0], h[1] = m * h[0] + (1 - m) * g, 0.999 * h[1] + 0.001 * g * g
    return rate * math.sqrt(1 - 0.999**t) / (1 - m**t) * h[0] / (np.sqrt(h[1]) + delta)


def train(d, w, x, y):
    """The weights after the updates, and the objective of each iteration."""
    history = {name: [np.zeros_like(value), np.zeros_like(value)] for name, value in w.items()}
    at, losses, steps = 0, [], [0]
    for iteration in range(UPDATES):
        batches = [(at + 4 * i + np.arange(4)) % RECORDS for i in range(d["iter_size"])]
        at += 4 * d["iter_size"]
        found = [gradient(w, x[batch], y[batch]) for batch in batches]
        losses.append(np.mean([loss for loss, _ in found]))
        sums = {name: sum(g[name] for _, g in found) for name in w}
        norm, limit = math.sqrt(sum((g**2).sum() for g in sums.values())), d["clip_gradients"]
        scale = (limit / norm if 0 <= limit < norm else 1) / d["iter_size"]
        now = rate(d, iteration, steps)
        for name, (lr_mult, decay_mult) in MULTIPLIERS.items():
            penalty = w[name] if d["regularization_type"] == "L2" else np.sign(w[name])
            g = sums[name] * scale + d["weight_decay"] * decay_mult * penalty
            w[name] = w[name] - update(d, now * lr_mult, g, history[name], iteration + 1)
    return w, losses


@pytest.mark.parametrize("number", range(12))
def test_a_drawn_solver(number, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    draws, d = np.random.default_rng(number), draw(number)
    x, y = draws.standard_normal((RECORDS, 5)).astype("f"), draws.integers(0, 3, RECORDS)
    with h5py.File("data.h5", "w") as file:
        file["x"], file["y"] = x, y.astype("f")
    (tmp_path / "list.txt").write_text("data.h5\n")
    (tmp_path / "net.prototxt").write_text(NET)
    (tmp_path / "solver.prototxt").write_text(text(d))
    ours, _ = solver(tmp_path)
    start = {name: value.astype("d") for name, value in weights(ours).items()}
    ours.step(UPDATES)
    expected, losses = train(d, start, x.astype("d"), y)
    assert max(relative_error(value, expected[name]) for name, value in weights(ours).items()) < 1e-4
    assert [event.loss for event in ours.history.displays] == pytest.approx(losses, rel=1e-4)
    sixes, twelves = (dict(ours.history.series("loss", f"test{i}")) for i in (0, 1))  # each sees all records
    assert list(sixes) == [0, 5, 10, 15] and sixes == pytest.approx(twelves, rel=1e-5)
    assert not ours.history.series("acc", "test0") and len(ours.history.series("acc", "test1")) == 4
