"""What Caffe demands of a solver's fields, each as one line of a table or one small function."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Protocol

_AT_LEAST: dict[str, int] = {
    "iter_size": 1,
    "average_loss": 1,
    "max_iter": 0,
    "display": 0,
    "test_interval": 0,
    "snapshot": 0,
    "device_id": 0,
}

_NUMBERS = (
    *("base_lr", "gamma", "power", "momentum", "momentum2", "rms_decay"),
    *("delta", "weight_decay", "clip_gradients"),
)

_WITH_GAMMA = ("step", "exp", "inv", "multistep", "sigmoid", "plateau")
_WITH_STEPSIZE = ("step", "sigmoid")
_WITHOUT_MOMENTUM = ("AdaGrad", "RMSProp")


class Report(Protocol):
    def __call__(self, field: str, text: str, known: Iterable[str] = (), received: str = "") -> None: ...


def run(p: Any, report: Report, *, rules: Iterable[str], policies: Iterable[str]) -> None:
    """Report every field of the SolverParameter `p` whose value cannot be."""
    for name in _NUMBERS:
        if not math.isfinite(getattr(p, name)):
            report(name, f"{name} must be a finite number. Received: {getattr(p, name)}")
    for name, least in _AT_LEAST.items():
        if getattr(p, name) < least:
            report(name, f"{name} must be at least {least}. Received: {getattr(p, name)}")
    _one_of(p, "regularization_type", ("L2", "L1"), report)
    _one_of(p, "eval_type", ("classification", "detection"), report)
    _one_of(p, "ap_version", ("Integral", "MaxIntegral", "11point"), report)
    if _one_of(p, "type", rules, report):
        _rule(p, report)
    if _one_of(p, "lr_policy", policies, report):
        _policy(p, report)


def _one_of(p: Any, name: str, known: Iterable[str], report: Report) -> bool:
    value, known = getattr(p, name), tuple(known)
    if value not in known:
        received = repr(value) if p.HasField(name) else "nothing"
        report(name, f"{name} must be one of {', '.join(known)}. Received: {received}", known=known, received=value)
    return value in known


def _rule(p: Any, report: Report) -> None:
    """The hyperparameters that a rule cannot work with."""
    if p.type in _WITHOUT_MOMENTUM and p.momentum != 0:
        report("momentum", f"momentum cannot be used with {p.type}. Received: {p.momentum:g}")
    if p.type == "RMSProp":
        _fraction(p, "rms_decay", report)
    if p.type == "Adam":
        _fraction(p, "momentum", report)
        _fraction(p, "momentum2", report)


def _fraction(p: Any, name: str, report: Report) -> None:
    value = getattr(p, name)
    if not 0 <= value < 1:
        report(name, f"{name} of {p.type} must be at least 0 and below 1. Received: {value:g}")


def _policy(p: Any, report: Report) -> None:
    """The parameters that a policy cannot work with; one that is missing is told at the policy's own line."""

    def told(field: str, text: str) -> None:
        report(field if p.HasField(field) else "lr_policy", text)

    if p.lr_policy in _WITH_GAMMA and p.gamma < 0:
        told("gamma", f"gamma of the {p.lr_policy} policy must not be negative. Received: {p.gamma:g}")
    if p.lr_policy in _WITH_STEPSIZE and p.stepsize <= 0:
        told("stepsize", f"stepsize of the {p.lr_policy} policy must be positive. Received: {p.stepsize}")
    if p.lr_policy == "poly" and p.max_iter == 0:
        told("max_iter", "max_iter of the poly policy must be positive. Received: 0")
    if p.lr_policy == "multifixed":
        _stages(p, report)
    if p.lr_policy == "plateau" and not p.plateau_winsize:
        report("lr_policy", "the plateau policy needs at least one plateau_winsize. Received: none")


def _stages(p: Any, report: Report) -> None:
    rates, ends = len(p.stagelr), len(p.stageiter)
    if rates != ends or not rates:
        received = f"{rates} stagelr, {ends} stageiter"
        report(
            "stagelr",
            f"the multifixed policy needs one stageiter for each stagelr, and at least one. Received: {received}",
        )
