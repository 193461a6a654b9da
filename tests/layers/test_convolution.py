"""Convolution, Deconvolution and Im2col against a plain loop over the places of the kernel."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from math import prod

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from proto2torch.errors import NetError

from .nets import Case, forward_line


@dataclass(frozen=True)
class Geometry:
    size: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    pad: tuple[int, ...]
    dilation: tuple[int, ...]

    @property
    def text(self) -> str:
        names = {"kernel_size": self.kernel, "stride": self.stride, "pad": self.pad, "dilation": self.dilation}
        return " ".join(f"{name}: {v}" for name, values in names.items() for v in values)

    @property
    def slid(self) -> tuple[int, ...]:
        reach = [d * (k - 1) + 1 for k, d in zip(self.kernel, self.dilation, strict=True)]
        sides = zip(self.size, self.pad, reach, self.stride, strict=True)
        return tuple(int((n + 2 * p - r) / s) + 1 for n, p, r, s in sides)  # int() cuts toward zero, as C does

    @property
    def spread(self) -> tuple[int, ...]:
        reach = [d * (k - 1) + 1 for k, d in zip(self.kernel, self.dilation, strict=True)]
        return tuple(
            s * (n - 1) + r - 2 * p for n, s, r, p in zip(self.size, self.stride, reach, self.pad, strict=True)
        )

    def read(self, place: tuple[int, ...], offset: tuple[int, ...]) -> tuple[int, ...]:
        """Where the kernel's element `offset` lies on the bottom, with the kernel at `place`."""
        sides = zip(place, self.stride, self.pad, offset, self.dilation, strict=True)
        return tuple(q * s - p + o * d for q, s, p, o, d in sides)


def inside(at: tuple[int, ...], size: tuple[int, ...]) -> bool:
    return all(0 <= a < n for a, n in zip(at, size, strict=True))


def columns(x: np.ndarray, g: Geometry) -> np.ndarray:
    """(N, C, size…) to (N, C, kernel…, places…)."""
    out = np.zeros((*x.shape[:2], *g.kernel, *g.slid), x.dtype)
    for offset, place in product(np.ndindex(g.kernel), np.ndindex(g.slid)):
        at = g.read(place, offset)
        if inside(at, g.size):
            out[(..., *offset, *place)] = x[(..., *at)]
    return out


def convolved(x: np.ndarray, w: np.ndarray, b: np.ndarray, g: Geometry, group: int) -> np.ndarray:
    cols = columns(x, g).reshape(len(x), group, -1, prod(g.slid))
    y = np.einsum("ngkp,gok->ngop", cols, w.reshape(group, w.shape[0] // group, -1))
    return y.reshape(len(x), w.shape[0], *g.slid) + b.reshape(-1, *(1,) * len(g.kernel))


def deconvolved(x: np.ndarray, w: np.ndarray, b: np.ndarray, g: Geometry, group: int) -> np.ndarray:
    outputs, inputs = w.shape[1], x.shape[1] // group
    y = np.zeros((len(x), group * outputs, *g.spread), x.dtype)
    for offset, place in product(np.ndindex(g.kernel), np.ndindex(g.size)):
        at = g.read(place, offset)
        if inside(at, g.spread):
            for i in range(group):
                mine = slice(i * inputs, (i + 1) * inputs)
                y[(slice(None), slice(i * outputs, (i + 1) * outputs), *at)] += (
                    x[(slice(None), mine, *place)] @ w[(mine, slice(None), *offset)]
                )
    return y + b.reshape(-1, *(1,) * len(g.kernel))


@st.composite
def geometries(draw: st.DrawFn) -> Geometry:
    n = draw(st.integers(0, 3))

    def several(low: int, high: int) -> tuple[int, ...]:
        return tuple(draw(st.lists(st.integers(low, high), min_size=n, max_size=n)))

    return Geometry(several(1, 5 if n < 3 else 3), several(1, 3), several(1, 3), several(0, 2), several(1, 2))


def tops(case: Case, x: np.ndarray, *blobs: np.ndarray) -> list[np.ndarray]:
    net = case.net()
    if blobs:
        net.load_weights({"layer": list(blobs)})
    given = {f"b{i}": torch.from_numpy(x + i) for i in range(len(case.bottoms))}
    return [t.detach().numpy() for t in net(**given).values()]


def drawn(seed: int, *shapes: tuple[int, ...]) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.normal(size=s).astype(np.float32) for s in shapes]


@settings(max_examples=60, deadline=None)
@given(geometries(), st.integers(1, 2), st.integers(0, 2**31))
def test_convolution_is_the_sum_under_the_kernel(g: Geometry, group: int, seed: int) -> None:
    assume(min(g.slid, default=1) > 0)
    x, w, b = drawn(seed, (2, 2 * group, *g.size), (3 * group, 2, *g.kernel), (3 * group,))
    case = Case("Convolution", f"convolution_param {{ num_output: {3 * group} group: {group} {g.text} }}", (x.shape,))
    np.testing.assert_allclose(tops(case, x, w, b)[0], convolved(x, w, b, g, group), rtol=1e-4, atol=1e-4)


@settings(max_examples=60, deadline=None)
@given(geometries(), st.integers(1, 2), st.integers(0, 2**31))
def test_deconvolution_adds_the_kernel_for_each_value(g: Geometry, group: int, seed: int) -> None:
    assume(min(g.spread, default=1) > 0)
    x, w, b = drawn(seed, (2, 2 * group, *g.size), (2 * group, 3, *g.kernel), (3 * group,))
    case = Case("Deconvolution", f"convolution_param {{ num_output: {3 * group} group: {group} {g.text} }}", (x.shape,))
    np.testing.assert_allclose(tops(case, x, w, b)[0], deconvolved(x, w, b, g, group), rtol=1e-4, atol=1e-4)


@settings(max_examples=60, deadline=None)
@given(geometries(), st.integers(0, 2**31))
def test_im2col_lays_out_what_the_kernel_reads(g: Geometry, seed: int) -> None:
    assume(g.size and min(g.slid) > 0)
    (x,) = drawn(seed, (2, 3, *g.size))
    case = Case("Im2col", f"convolution_param {{ {g.text} }}", (x.shape,))
    expected = columns(x, g).reshape(2, 3 * prod(g.kernel), *g.slid)
    np.testing.assert_array_equal(tops(case, x)[0], expected)


def test_a_kernel_beyond_the_bottom_by_less_than_a_stride_gives_one_output() -> None:
    x, w, b = drawn(0, (1, 1, 2, 2), (1, 1, 3, 3), (1,))
    case = Case("Convolution", "convolution_param { num_output: 1 kernel_size: 3 stride: 2 }", ((1, 1, 2, 2),))
    y = tops(case, x, w, b)[0]
    assert y.shape == (1, 1, 1, 1)
    assert y.item() == pytest.approx(float((x[0, 0] * w[0, 0, :2, :2]).sum() + b[0]), rel=1e-5)


@pytest.mark.parametrize("kind", ["Convolution", "Deconvolution"])
@pytest.mark.parametrize("axis", [0, 1, 2, -2])
def test_the_axes_before_the_channels_are_batch(kind: str, axis: int) -> None:
    """A kernel over axis 1 of (batch, channels, length), applied to each of what stands before `axis`."""
    shape = {0: (2, 5), 1: (3, 2, 5)}.get(axis, (3, 4, 2, 5))
    x, w, b = drawn(1, shape, (2, 2, 3), (2,))
    g = Geometry((5,), (3,), (1,), (1,), (1,))
    case = Case(kind, f"convolution_param {{ num_output: 2 axis: {axis} kernel_size: 3 pad: 1 }}", (shape,))
    reference = convolved if kind == "Convolution" else deconvolved
    expected = reference(x.reshape(-1, 2, 5), w, b, g, 1).reshape(shape)
    np.testing.assert_allclose(tops(case, x, w, b)[0], expected, rtol=1e-5, atol=1e-5)


def test_several_bottoms_share_the_filters() -> None:
    x, w, b = drawn(2, (2, 3, 4, 4), (2, 3, 1, 1), (2,))
    case = Case("Convolution", "convolution_param { num_output: 2 kernel_size: 1 }", (x.shape,) * 2, 2)
    first, second = tops(case, x, w, b)  # the second bottom is the first plus one
    np.testing.assert_allclose(second - first, w.sum((1, 2, 3)).reshape(1, 2, 1, 1).repeat(2, 0) + 0 * first, atol=1e-5)


def test_the_code_is_torchs_own_module() -> None:
    case = Case("Convolution", "convolution_param { num_output: 96 kernel_size: 11 stride: 4 }", ((1, 3, 227, 227),))
    assert "self.layer = nn.Conv2d(3, 96, 11, stride=4)" in case.source().text
    assert forward_line(case) == "self.layer(b0)"
    case = Case("Deconvolution", "convolution_param { num_output: 2 kernel_size: 4 stride: 2 bias_term: false }")
    assert "self.layer = nn.ConvTranspose2d(3, 2, 4, stride=2, bias=False)" in case.source().text


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ("kernel_size: 1", "needs num_output greater than zero"),
        ("num_output: 2", "kernel_size must be given once or once for each of the 2 spatial axes. Received: nothing"),
        ("num_output: 2 kernel_size: 0", "kernel_size must be greater than zero"),
        ("num_output: 2 kernel_size: 1 stride: 0", "stride must be greater than zero"),
        (
            "num_output: 2 kernel_size: 1 kernel_size: 1 kernel_size: 1",
            "kernel_size must be given once or once for each",
        ),
        ("num_output: 2 kernel_h: 2", "kernel_size must be greater than zero"),
        ("num_output: 2 kernel_size: 1 kernel_h: 1 kernel_w: 1", "give either kernel_size or kernel_h and kernel_w"),
        ("num_output: 2 kernel_size: 1 group: 0", "group must be greater than zero"),
        ("num_output: 2 kernel_size: 1 group: 2", "group 2 must divide the bottom's channels. Received: 3"),
        ("num_output: 2 kernel_size: 1 group: 3", "group 3 must divide num_output. Received: 2"),
        ("num_output: 2 kernel_size: 9", "a kernel that reaches"),
        ("num_output: 2 kernel_size: 1 axis: 4", r"axis must lie in \[-4, 4\)"),
        ("num_output: 2 kernel_size: 1 submanifold_sparse: true", "field 'submanifold_sparse' of ConvolutionParameter"),
    ],
)
def test_what_is_refused(fields: str, message: str) -> None:
    with pytest.raises(NetError, match=message):
        Case("Convolution", f"convolution_param {{ {fields} }}").graph()


def test_bottoms_and_tops_must_fit_each_other() -> None:
    one = "convolution_param { num_output: 2 kernel_size: 1 }"
    with pytest.raises(NetError, match="every bottom must have the shape of the first"):
        Case("Convolution", one, ((1, 2, 3, 3), (1, 2, 3, 4)), 2).graph()
    with pytest.raises(NetError, match=r"needs as many tops as bottoms. Received: 1"):
        Case("Convolution", one, ((1, 2, 3, 3),) * 2).graph()
    with pytest.raises(NetError, match="4 spatial axes are beyond torch"):
        Case("Convolution", one, ((1, 2, 3, 3, 3, 3),)).graph()
    with pytest.raises(NetError, match=r"kernel_h and kernel_w hold for 2 spatial axes. Received: 1"):
        Case("Convolution", "convolution_param { num_output: 2 kernel_h: 1 kernel_w: 1 }", ((1, 2, 3),)).graph()
    with pytest.raises(NetError, match="needs a spatial axis behind axis 1"):
        Case("Im2col", "convolution_param { kernel_size: 1 }", ((1, 2),)).graph()
    with pytest.raises(NetError, match="leaves nothing of the top"):
        Case("Deconvolution", "convolution_param { num_output: 1 kernel_size: 1 pad: 2 }", ((1, 1, 2, 2),)).graph()
