"""The pointwise layers against their formulas, value and gradient, out of place and in place."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from proto2torch.errors import NetError, UnsupportedError

from .nets import Case, forward_line, run

X = np.array([-3.0, -1.5, -0.4, 0.0, 0.25, 0.6, 1.0, 4.0], np.float32)
POSITIVE = np.array([0.1, 0.5, 1.0, 1.5, 2.0, 3.0, 7.0, 20.0], np.float32)

Formula = Callable[[np.ndarray], np.ndarray]


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


FORMULAS: list[tuple[str, str, np.ndarray, Formula, Formula]] = [
    ("AbsVal", "", X, np.abs, np.sign),
    ("BNLL", "", X, lambda x: np.log(1 + np.exp(x)), sigmoid),
    ("Clip", "clip_param { min: -1.5 max: 1 }", X, lambda x: np.clip(x, -1.5, 1), lambda x: (x >= -1.5) & (x <= 1)),
    ("Exp", "", X, np.exp, np.exp),
    ("Exp", "exp_param { scale: 0.5 shift: -2 }", X, lambda x: np.exp(0.5 * x - 2), lambda x: 0.5 * np.exp(0.5 * x - 2)),
    ("Exp", "exp_param { base: 2 shift: 1 }", X, lambda x: 2 ** (x + 1), lambda x: np.log(2) * 2 ** (x + 1)),
    ("Exp", "exp_param { base: 3 scale: -1 }", X, lambda x: 3**-x, lambda x: -np.log(3) * 3**-x),
    ("Log", "", POSITIVE, np.log, lambda x: 1 / x),
    ("Log", "log_param { base: 2 shift: 1 }", POSITIVE, lambda x: np.log2(x + 1), lambda x: 1 / ((x + 1) * np.log(2))),
    ("Log", "log_param { base: 10 scale: 3 }", POSITIVE, lambda x: np.log10(3 * x), lambda x: 1 / (x * np.log(10))),
    ("Log", "log_param { base: 5 }", POSITIVE, lambda x: np.log(x) / np.log(5), lambda x: 1 / (x * np.log(5))),
    ("Power", "", X, lambda x: x, np.ones_like),
    ("Power", "power_param { scale: -1 shift: 2 }", X, lambda x: 2 - x, lambda x: -np.ones_like(x)),
    ("Power", "power_param { scale: 0.5 shift: -1 }", X, lambda x: 0.5 * x - 1, lambda x: 0.5 * np.ones_like(x)),
    ("Power", "power_param { power: 2 }", X, np.square, lambda x: 2 * x),
    ("Power", "power_param { power: 2 scale: 3 shift: 1 }", X, lambda x: (3 * x + 1) ** 2, lambda x: 6 * (3 * x + 1)),
    ("Power", "power_param { power: 0.5 scale: 2 }", POSITIVE, lambda x: (2 * x) ** 0.5, lambda x: (2 * x) ** -0.5),
    ("Power", "power_param { power: -1 shift: 5 }", X, lambda x: 1 / (x + 5), lambda x: -1 / (x + 5) ** 2),
    ("Power", "power_param { power: 0 shift: 5 }", X, np.ones_like, np.zeros_like),
    ("Power", "power_param { power: 3 scale: 0 shift: 2 }", X, lambda x: 0 * x + 8, np.zeros_like),
    ("Swish", "", X, lambda x: x * sigmoid(x), lambda x: sigmoid(x) * (1 + x * (1 - sigmoid(x)))),
    ("Swish", "swish_param { beta: 2 }", X, lambda x: x * sigmoid(2 * x), lambda x: sigmoid(2 * x) * (1 + 2 * x * sigmoid(-2 * x))),
    ("ReLU", "", X, lambda x: np.maximum(x, 0), lambda x: x > 0),
    ("ReLU", "relu_param { negative_slope: 0.5 }", X, lambda x: np.where(x > 0, x, x / 2), lambda x: np.where(x > 0, 1, 0.5)),
    ("ELU", "elu_param { alpha: 2 }", X, lambda x: np.where(x > 0, x, 2 * np.expm1(x)), lambda x: np.where(x > 0, 1, 2 * np.exp(x))),
]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "fields", "x", "value", "slope"), FORMULAS, ids=lambda v: v if isinstance(v, str) else ""
)
def test_value_and_gradient(kind: str, fields: str, x: np.ndarray, value: Formula, slope: Formula) -> None:
    exact = x.astype(np.float64)
    values, grads, _ = run(Case(kind, fields, ((8,),), force=True), x)
    np.testing.assert_allclose(values[0], value(exact), rtol=2e-6, atol=2e-7)
    np.testing.assert_allclose(grads[0], slope(exact), rtol=4e-6, atol=4e-7)


def test_power_has_no_gradient_where_its_base_is_zero() -> None:
    for fields in ("power: 3", "power: 0.5", "power: 3 shift: 1 scale: -1"):
        x = np.array([1.0 if "shift" in fields else 0.0], np.float32)
        values, grads, _ = run(Case("Power", f"power_param {{ {fields} }}", ((1,),), force=True), x)
        assert values[0].item() == 0
        assert np.isnan(grads[0]).all()
    assert run(Case("Power", "power_param { power: 2 }", ((1,),)), np.zeros(1))[1][0] == 0


def test_exp_overflows_before_its_shift_makes_it_small() -> None:
    """Caffe multiplies exp(x) by exp(shift), it does not add in the exponent."""
    assert np.isinf(run(Case("Exp", "exp_param { shift: -60 }", ((1,),)), np.full(1, 100))[0][0]).all()


def test_threshold_is_strict() -> None:
    values, grads, _ = run(Case("Threshold", "threshold_param { threshold: 0.25 }", ((8,),)), X)
    assert values[0].tolist() == [0, 0, 0, 0, 0, 1, 1, 1]
    assert grads == [None]


def test_the_code_reads_as_written_by_hand() -> None:
    def line(kind: str, fields: str = "", force: bool = False) -> str:
        return forward_line(Case(kind, fields, force=force))

    assert line("Power", "power_param { scale: 0.00390625 shift: -0.5 }") == "0.00390625 * b0 - 0.5"
    assert line("Power", "power_param { power: 2 shift: 1 }") == "(b0 + 1).square()"
    assert line("Power", "power_param { power: -0.5 shift: 1 }") == "(b0 + 1) ** -0.5"
    assert line("Power", "power_param { power: 0.75 shift: 1 }", force=True) == "caffe_power(b0, 0.75, shift=1)"
    assert line("Exp", "exp_param { base: 10 scale: 0.1 shift: 2 }") == "10 ** 2 * 10 ** (0.1 * b0)"
    assert line("Log", "log_param { base: 2 }") == "torch.log2(b0)"
    assert line("Clip", "clip_param { min: 0 max: 6 }") == "b0.clamp(0, 6)"
    assert line("Clip", "clip_param { min: 0 max: 6 }", force=True) == "clip(b0, 0, 6)"
    assert line("Swish") == "F.silu(b0)"


def in_place(kind: str, fields: str = "", phase: str = "TRAIN") -> Case:
    return Case(kind, fields, ((8,),), phase=phase, inplace=True, force=phase == "TRAIN")


def test_clip_in_place_passes_every_gradient() -> None:
    values, grads, _ = run(in_place("Clip", "clip_param { min: -1 max: 0.5 }"), X)
    np.testing.assert_array_equal(values[0], X.clip(-1, 0.5))
    np.testing.assert_array_equal(grads[0], np.ones_like(X))


def test_bnll_in_place_takes_the_slope_at_its_top() -> None:
    values, grads, _ = run(in_place("BNLL"), X)
    np.testing.assert_allclose(values[0], np.log(1 + np.exp(X)), rtol=1e-6)
    np.testing.assert_allclose(grads[0], sigmoid(values[0]), rtol=1e-6)


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("Log", ""),
        ("Power", "power_param { power: 2 }"),
        ("Power", "power_param { power: 0.5 }"),
        ("ReLU", "relu_param { negative_slope: -1 }"),
        ("ELU", "elu_param { alpha: -1 }"),
    ],
)
def test_a_gradient_that_caffe_loses_in_place_is_refused_and_the_forward_is_not(kind: str, fields: str) -> None:
    with pytest.raises(UnsupportedError, match=f"{kind} computes a wrong gradient in place"):
        in_place(kind, fields).net()
    out_of_place = run(Case(kind, fields, ((8,),)), POSITIVE)[0][0]
    np.testing.assert_array_equal(run(in_place(kind, fields, "TEST"), POSITIVE)[0][0], out_of_place)


@pytest.mark.parametrize(
    ("kind", "fields", "message"),
    [
        ("Clip", "clip_param { min: 1 max: 0 }", "min must not be larger than max. Received: 1 and 0"),
        ("Exp", "exp_param { base: 0 }", "base must be -1, for e, or greater than zero. Received: 0"),
        ("Log", "log_param { base: 1 }", "base must be -1, for e, or greater than zero and not 1. Received: 1"),
        ("Log", "log_param { base: -2 }", "base must be -1, for e"),
        ("Power", "power_param { saturate: Signed }", "field 'saturate' of PowerParameter is not Caffe's"),
    ],
)
def test_what_is_refused(kind: str, fields: str, message: str) -> None:
    with pytest.raises(NetError, match=message):
        Case(kind, fields).graph()


def test_absval_cannot_work_in_place() -> None:
    with pytest.raises(NetError, match="AbsVal cannot work in place"):
        in_place("AbsVal").graph()
