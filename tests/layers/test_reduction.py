"""Reduction and ArgMax against numpy."""

from __future__ import annotations

import numpy as np
import pytest

from proto2torch.errors import NetError

from .nets import Case, forward_line, run

X = np.random.default_rng(5).normal(size=(2, 3, 4)).astype(np.float32)
X[0, 0, 0] = 0


@pytest.mark.parametrize("axis", [0, 1, 2, -1, -3])
@pytest.mark.parametrize(
    ("operation", "value", "slope"),
    [
        ("SUM", np.sum, lambda x, n: np.ones_like(x)),
        ("ASUM", lambda x, a: np.abs(x).sum(a), lambda x, n: np.sign(x)),
        ("SUMSQ", lambda x, a: np.square(x).sum(a), lambda x, n: 2 * x),
        ("MEAN", np.mean, lambda x, n: np.ones_like(x) / n),
    ],
)
def test_reduction(operation: str, value, slope, axis: int) -> None:  # type: ignore[no-untyped-def]
    values, grads, _ = run(
        Case("Reduction", f"reduction_param {{ operation: {operation} axis: {axis} coeff: -0.5 }}", (X.shape,)), X
    )
    axes = tuple(range(axis % 3, 3))
    np.testing.assert_allclose(values[0], -0.5 * value(X, axes), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(grads[0], -0.5 * slope(X, np.prod([X.shape[a] for a in axes])), rtol=1e-5)


def test_reduction_over_everything_is_a_scalar() -> None:
    assert Case("Reduction").graph().outputs[0].shape == ()
    assert forward_line(Case("Reduction", "reduction_param { operation: MEAN axis: 1 }")) == "b0.mean((1, 2, 3))"
    with pytest.raises(NetError, match=r"axis must lie in \[-4, 4\)"):
        Case("Reduction", "reduction_param { axis: 4 }").graph()


def descending(values: np.ndarray, k: int) -> np.ndarray:
    """Indices of the k largest of a row, by value and then by index, both falling."""
    return np.array(sorted(range(len(values)), key=lambda i: (values[i], i), reverse=True)[:k], np.float32)


@pytest.mark.parametrize("k", [1, 2, 3])
@pytest.mark.parametrize("axis", [1, 2, -1])
def test_arg_max_along_an_axis(axis: int, k: int) -> None:
    x = np.random.default_rng(k).integers(0, 3, (2, 4, 5)).astype(np.float32)  # many ties
    fields = f"axis: {axis} top_k: {k}"
    indices = run(Case("ArgMax", f"argmax_param {{ {fields} }}", (x.shape,)), x)[0][0]
    np.testing.assert_array_equal(indices, np.apply_along_axis(descending, axis, x, k))
    values = run(Case("ArgMax", f"argmax_param {{ {fields} out_max_val: true }}", (x.shape,)), x)[0][0]
    np.testing.assert_array_equal(values, np.take_along_axis(x, indices.astype(int), axis))


@pytest.mark.parametrize("shape", [(3,), (3, 4), (3, 2, 2), (3, 2, 2, 2), (3, 2, 2, 1, 2)])
def test_arg_max_over_each_item(shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).integers(0, 3, shape).astype(np.float32)
    k = min(2, x[0].size)
    rows = x.reshape(3, -1)
    indices = np.stack([descending(row, k) for row in rows])
    values = np.take_along_axis(rows, indices.astype(int), 1)
    ones = (1,) * (x.ndim - 3)
    plain = run(Case("ArgMax", f"argmax_param {{ top_k: {k} }}", (shape,)), x)[0][0]
    np.testing.assert_array_equal(plain, indices.reshape(3, 1, k, *ones))
    pairs = run(Case("ArgMax", f"argmax_param {{ top_k: {k} out_max_val: true }}", (shape,)), x)[0][0]
    np.testing.assert_array_equal(pairs, np.stack([indices, values], 1).reshape(3, 2, k, *ones))


def test_what_arg_max_refuses() -> None:
    with pytest.raises(NetError, match=r"top_k must lie in \[1, 3\] .* Received: 4"):
        Case("ArgMax", "argmax_param { axis: 1 top_k: 4 }").graph()
    with pytest.raises(NetError, match=r"top_k must lie in \[1, 60\] .* Received: 0"):
        Case("ArgMax", "argmax_param { top_k: 0 }").graph()
    with pytest.raises(NetError, match="needs a bottom of at least one axis"):
        Case("ArgMax", "", ((),)).graph()
