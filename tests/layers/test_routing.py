"""Flatten, Reshape, Concat, Split, Eltwise and PReLU: shapes, refusals, and the gradients that differ from torch's."""

from __future__ import annotations

import numpy as np
import pytest

import proto2torch as p2t
from proto2torch.errors import NetError

from .nets import Case, forward_line, run

X = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype(np.float32)


@pytest.mark.parametrize(
    ("fields", "shape"),
    [
        ("", (2, 60)),
        ("axis: 2", (2, 3, 20)),
        ("axis: 0 end_axis: 1", (6, 4, 5)),
        ("axis: -3 end_axis: -2", (2, 12, 5)),
        ("axis: 1 end_axis: 1", (2, 3, 4, 5)),
    ],
)
def test_flatten(fields: str, shape: tuple[int, ...]) -> None:
    values, _, _ = run(Case("Flatten", f"flatten_param {{ {fields} }}"), X)
    np.testing.assert_array_equal(values[0], X.reshape(shape))


@pytest.mark.parametrize(
    ("fields", "shape"),
    [
        ("shape { dim: 0 dim: -1 }", (2, 60)),
        ("shape { dim: -1 }", (120,)),
        ("shape { dim: 0 dim: 0 dim: 20 }", (2, 3, 20)),
        ("axis: 1 num_axes: 2 shape { dim: 12 }", (2, 12, 5)),
        ("axis: 1 num_axes: 0 shape { dim: 1 }", (2, 1, 3, 4, 5)),
        ("axis: -1 shape { dim: 1 dim: 1 }", (2, 3, 4, 5, 1, 1)),
        ("axis: -2 shape { dim: -1 dim: 1 }", (2, 3, 4, 5, 1)),
        ("axis: 2 num_axes: 1 shape { dim: 2 dim: 2 }", (2, 3, 2, 2, 5)),
    ],
)
def test_reshape(fields: str, shape: tuple[int, ...]) -> None:
    values, _, _ = run(Case("Reshape", f"reshape_param {{ {fields} }}"), X)
    np.testing.assert_array_equal(values[0], X.reshape(shape))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ("shape { dim: -1 dim: -1 }", r"at most one dim may be -1. Received: \[-1, -1\]"),
        ("shape { dim: -2 }", r"dims must be at least -1. Received: \[-2\]"),
        ("shape { dim: 7 }", r"as many elements as the bottom \(2, 3, 4, 5\). Received: \(7,\)"),
        ("shape { dim: 7 dim: -1 }", "cannot infer the -1"),
        ("axis: 5 shape { dim: 1 }", r"axis must lie in \[-5, 4\]"),
        ("axis: 2 num_axes: 3 shape { dim: 1 }", "num_axes must be -1, or fit"),
        ("axis: -1 shape { dim: 0 }", "dim 0 copies axis 4 of the bottom"),
    ],
)
def test_what_reshape_refuses(fields: str, message: str) -> None:
    with pytest.raises(NetError, match=message):
        Case("Reshape", f"reshape_param {{ {fields} }}").graph()


@pytest.mark.parametrize("kind", ["Flatten", "Reshape"])
def test_they_cannot_work_in_place(kind: str) -> None:
    with pytest.raises(NetError, match=f"{kind} cannot work in place"):
        Case(kind, "reshape_param { shape { dim: -1 } }" if kind == "Reshape" else "", inplace=True).graph()


@pytest.mark.parametrize(("fields", "axis"), [("", 1), ("axis: 0", 0), ("axis: -1", 3), ("concat_dim: 2", 2)])
def test_concat(fields: str, axis: int) -> None:
    values, grads, _ = run(Case("Concat", f"concat_param {{ {fields} }}", (X.shape,) * 3), X, X + 1, X + 2)
    np.testing.assert_array_equal(values[0], np.concatenate([X, X + 1, X + 2], axis))
    assert all((g == 1).all() for g in grads)


def test_what_concat_refuses() -> None:
    with pytest.raises(NetError, match="give either axis or concat_dim, not both"):
        Case("Concat", "concat_param { axis: 1 concat_dim: 1 }").graph()
    with pytest.raises(NetError, match=r"save along axis 1. Received: \(2, 3, 4, 6\)"):
        Case("Concat", "", (X.shape, (2, 3, 4, 6))).graph()
    with pytest.raises(NetError, match=r"save along axis 1. Received: \(2, 3\)"):
        Case("Concat", "", (X.shape, (2, 3))).graph()


A, B, C = (np.array(v, np.float32) for v in ([1, 5, 2, 0], [1, 3, 4, -1], [1, 5, 4, 2]))


def test_sum_with_coefficients() -> None:
    case = Case("Eltwise", "eltwise_param { coeff: 1 coeff: -1 coeff: 0.5 }", ((4,),) * 3)
    values, grads, _ = run(case, A, B, C)
    np.testing.assert_allclose(values[0], A - B + 0.5 * C)
    assert [g[0] for g in grads] == [1, -1, 0.5]
    assert forward_line(case) == "b0 - b1 + 0.5 * b2"


def test_of_equal_maxima_the_second_bottom_wins_and_a_later_one_must_be_larger() -> None:
    values, grads, _ = run(Case("Eltwise", "eltwise_param { operation: MAX }", ((4,),) * 3), A, B, C)
    assert values[0].tolist() == [1, 5, 4, 2]
    assert [g.tolist() for g in grads] == [[0, 1, 0, 0], [1, 0, 1, 0], [0, 0, 0, 1]]


def test_the_gradient_of_a_product() -> None:
    _, stable, _ = run(Case("Eltwise", "eltwise_param { operation: PROD }", ((4,),) * 3), A, B, C)
    np.testing.assert_allclose(stable, [B * C, A * C, A * B])
    fields = "eltwise_param { operation: PROD stable_prod_grad: false }"
    _, unstable, _ = run(Case("Eltwise", fields, ((4,),) * 3), A, B, C)
    with np.errstate(invalid="ignore"):
        np.testing.assert_allclose(unstable, [A * B * C / v for v in (A, B, C)])
    assert np.isnan(unstable[0][3])


OVERWRITTEN = """
force_backward: true
layer { name: "a" type: "Input" top: "a" top: "b" input_param { shape { dim: 4 } } }
layer { name: "product" type: "Eltwise" bottom: "a" bottom: "b" top: "c"
        eltwise_param { operation: PROD stable_prod_grad: %s } }
layer { name: "tanh" type: "TanH" bottom: "c" top: "c" loss_weight: 1 }
"""


def test_a_quotient_of_a_product_that_was_written_over_is_refused() -> None:
    p2t.load(text=OVERWRITTEN % "true", phase="TRAIN")
    with pytest.raises(NetError, match="works in place on 'c', which the backward of this Eltwise reads"):
        p2t.load(text=OVERWRITTEN % "false", phase="TRAIN")


def test_what_eltwise_refuses() -> None:
    with pytest.raises(NetError, match=r"coeff must be given for every bottom or for none: 2 times. Received: 1"):
        Case("Eltwise", "eltwise_param { coeff: 1 }", ((4,),) * 2).graph()
    with pytest.raises(NetError, match="coeff holds for SUM, not for PROD"):
        Case("Eltwise", "eltwise_param { operation: PROD coeff: 1 coeff: 1 }", ((4,),) * 2).graph()
    with pytest.raises(NetError, match="every bottom must have the shape of the first"):
        Case("Eltwise", "", ((4,), (5,))).graph()
    with pytest.raises(NetError, match=r"Eltwise takes at least 2 bottoms. Received: 1"):
        Case("Eltwise", "", ((4,),)).graph()
    with pytest.raises(NetError, match="Eltwise cannot work in place"):
        Case("Eltwise", "", ((4,), (4,)), inplace=True).graph()


@pytest.mark.parametrize("shared", [True, False])
def test_prelu_at_zero_takes_the_slope(shared: bool) -> None:
    x = np.array([[-2, 3], [0, -4]], np.float32)
    case = Case("PReLU", f"prelu_param {{ channel_shared: {str(shared).lower()} }}", ((2, 2),))
    net = case.net()
    blob = net.params["layer"][0]
    assert blob.shape == (() if shared else (2,))
    assert (blob.data == 0.25).all()
    values, grads, net = run(case, x)
    np.testing.assert_array_equal(values[0], [[-0.5, 3], [0, -1]])
    np.testing.assert_array_equal(grads[0], [[0.25, 1], [0.25, 0.25]])
    assert net.params["layer"][0].grad.tolist() == (-6 if shared else [-2, -4])
