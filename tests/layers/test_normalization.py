"""MVN and LRN against their formulas, value and gradient."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from proto2torch.errors import NetError, UnsupportedError

from .nets import Case, forward_line


def ran(case: Case, x: np.ndarray, dy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    b = torch.tensor(x, dtype=torch.float32, requires_grad=True)
    y = case.net()(b)["t0"]
    y.backward(torch.tensor(dy, dtype=torch.float32).reshape(y.shape))
    return y.detach().numpy(), b.grad.numpy()


def drawn(*shape: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    return rng.normal(size=shape), rng.normal(size=shape)


@pytest.mark.parametrize("eps", [1e-9, 0.5])
@pytest.mark.parametrize(("across", "axes"), [("false", (2, 3)), ("true", (1, 2, 3))])
def test_mvn_adds_eps_to_the_deviation_and_leaves_it_out_of_the_derivative(
    across: str, axes: tuple, eps: float
) -> None:
    x, dy = drawn(2, 3, 4, 5)
    y, dx = ran(Case("MVN", f"mvn_param {{ across_channels: {across} eps: {eps} }}"), x, dy)
    mean = {"axis": axes, "keepdims": True}
    deviation = x.std(**mean) + eps
    expected = (x - x.mean(**mean)) / deviation
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)
    gradient = (dy - dy.mean(**mean) - expected * (dy * expected).mean(**mean)) / deviation
    np.testing.assert_allclose(dx, gradient, rtol=1e-4, atol=1e-5)


def test_mvn_without_variance_subtracts_the_mean() -> None:
    x, dy = drawn(2, 3, 4, 5)
    case = Case("MVN", "mvn_param { normalize_variance: false }")
    y, dx = ran(case, x, dy)
    np.testing.assert_allclose(y, x - x.mean((2, 3), keepdims=True), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(dx, dy - dy.mean((2, 3), keepdims=True), rtol=1e-4, atol=1e-6)
    assert forward_line(case) == "b0 - b0.mean((2, 3), keepdim=True)"


def test_mvn_of_a_plane_without_variance_is_zero() -> None:
    y, dx = ran(Case("MVN", "", ((1, 1, 2, 2),)), np.full((1, 1, 2, 2), 3.0), np.array([1.0, 2, 3, 4]))
    assert not y.any()
    np.testing.assert_allclose(dx.ravel(), np.array([-1.5, -0.5, 0.5, 1.5]) * 1e9, rtol=1e-5)


def test_the_top_of_mvn_has_four_axes() -> None:
    x, dy = drawn(3, 7)
    y, dx = ran(Case("MVN", "mvn_param { across_channels: true }", ((3, 7),)), x, dy)
    assert y.shape == (3, 7, 1, 1)
    assert dx.shape == (3, 7)
    np.testing.assert_allclose(y[:, :, 0, 0].std(1), 1, rtol=1e-5)
    with pytest.raises(NetError, match="needs a bottom of 4 axes at most"):
        Case("MVN", "", ((1, 1, 1, 1, 1),)).graph()


def test_mvn_in_place_is_right_forward_alone() -> None:
    with pytest.raises(UnsupportedError, match="MVN computes a wrong gradient in place"):
        Case("MVN", phase="TRAIN", inplace=True, force=True).net()
    x, _ = drawn(2, 3, 4, 5)
    given = torch.tensor(x, dtype=torch.float32)
    torch.testing.assert_close(Case("MVN", inplace=True).net()(given)["b0"], Case("MVN").net()(given)["t0"])


def windowed(energy: np.ndarray, size: int, axes: tuple[int, ...]) -> np.ndarray:
    """The sum over a zero padded window of `size` along each of the axes."""
    for axis in axes:
        pads = [(size // 2, size // 2) if i == axis else (0, 0) for i in range(energy.ndim)]
        padded = np.pad(energy, pads)
        energy = sum(np.take(padded, range(i, i + energy.shape[axis]), axis) for i in range(size))
    return energy


@pytest.mark.parametrize("size", [1, 3, 5])
def test_lrn_across_channels(size: int) -> None:
    x, dy = drawn(2, 6, 3, 4)
    fields = f"local_size: {size} alpha: 0.3 beta: 0.6 k: 2"
    y, dx = ran(Case("LRN", f"lrn_param {{ {fields} }}", (x.shape,)), x, dy)
    s = 2 + 0.3 / size * windowed(x * x, size, (1,))
    np.testing.assert_allclose(y, x * s**-0.6, rtol=1e-5, atol=1e-6)
    gradient = dy * s**-0.6 - 2 * 0.3 * 0.6 / size * x * windowed(dy * x * s**-1.6, size, (1,))
    np.testing.assert_allclose(dx, gradient, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [1, 3, 5])
def test_lrn_within_a_channel_ignores_k(size: int) -> None:
    x, dy = drawn(2, 3, 4, 6)
    fields = f"local_size: {size} alpha: 0.3 beta: 0.6 k: 2 norm_region: WITHIN_CHANNEL"
    y, dx = ran(Case("LRN", f"lrn_param {{ {fields} }}", (x.shape,)), x, dy)
    s = 1 + 0.3 / size**2 * windowed(x * x, size, (2, 3))
    np.testing.assert_allclose(y, x * s**-0.6, rtol=1e-5, atol=1e-6)
    gradient = dy * s**-0.6 - 2 * 0.3 * 0.6 / size**2 * x * windowed(dy * x * s**-1.6, size, (2, 3))
    np.testing.assert_allclose(dx, gradient, rtol=1e-4, atol=1e-5)


def test_what_lrn_refuses() -> None:
    with pytest.raises(NetError, match=r"local_size must be odd. Received: 4"):
        Case("LRN", "lrn_param { local_size: 4 }").graph()
    with pytest.raises(NetError, match=r"needs a bottom of 4 axes. Received: \(2, 3\)"):
        Case("LRN", "", ((2, 3),)).graph()
    with pytest.raises(UnsupportedError, match="LRN computes a wrong gradient in place"):
        Case("LRN", phase="TRAIN", inplace=True, force=True).net()
