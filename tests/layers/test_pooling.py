"""Pooling and SPP against a plain loop over Caffe's windows."""

from __future__ import annotations

from math import ceil, floor

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from proto2torch.errors import NetError
from proto2torch.prototxt.style import written_as

from .nets import Case, forward_line, run

LOWEST = np.finfo(np.float32).min


Pair = tuple[int, int]


def caffe_extents(size: Pair, kernel: Pair, stride: Pair, pad: Pair, rounding: str) -> list[int]:
    rounds = ceil if rounding == "CEIL" else floor
    out = [rounds((e + 2 * p - k) / s) + 1 for e, k, s, p in zip(size, kernel, stride, pad, strict=True)]
    if any(pad):
        out = [o - ((o - 1) * s >= e + p) for o, e, s, p in zip(out, size, stride, pad, strict=True)]
    return out


def caffe_pool(
    x: np.ndarray, pool: str, kernel: Pair, stride: Pair, pad: Pair, rounding: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Top, mask, and the gradient of the bottom under a gradient of ones."""
    n, c, h, w = x.shape
    y = np.full((n, c, *caffe_extents((h, w), kernel, stride, pad, rounding)), LOWEST, np.float32)
    mask, dx = np.full(y.shape, -1.0, np.float32), np.zeros_like(x)
    for b, ch, i, j in np.ndindex(y.shape):
        top, left = i * stride[0] - pad[0], j * stride[1] - pad[1]
        rows = range(max(top, 0), min(top + kernel[0], h))
        columns = range(max(left, 0), min(left + kernel[1], w))
        if pool == "MAX":
            for r in rows:
                for q in columns:
                    if x[b, ch, r, q] > y[b, ch, i, j]:
                        y[b, ch, i, j], mask[b, ch, i, j] = x[b, ch, r, q], r * w + q
            if mask[b, ch, i, j] >= 0:
                dx[b, ch, int(mask[b, ch, i, j]) // w, int(mask[b, ch, i, j]) % w] += 1
        else:
            area = (min(top + kernel[0], h + pad[0]) - top) * (min(left + kernel[1], w + pad[1]) - left)
            total = sum(x[b, ch, r, q] for r in rows for q in columns)
            y[b, ch, i, j] = total / area if area else np.nan
            for r in rows:
                for q in columns:
                    dx[b, ch, r, q] += 1 / area
    return y, mask, dx


@st.composite
def windows(draw: st.DrawFn) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int], tuple[int, int], str]:
    size, kernel = draw(st.tuples(*[st.integers(1, 7)] * 2)), draw(st.tuples(*[st.integers(1, 5)] * 2))
    pad = tuple(draw(st.integers(0, k - 1)) for k in kernel) if draw(st.booleans()) else (0, 0)
    return size, kernel, draw(st.tuples(*[st.integers(1, 6)] * 2)), pad, draw(st.sampled_from(["CEIL", "FLOOR"]))


def pooling(pool: str, size: tuple[int, int], geometry: tuple, rounding: str, tops: int = 1) -> Case:
    kernel, stride, pad = geometry
    fields = f"pool: {pool} round_mode: {rounding} kernel_h: {kernel[0]} kernel_w: {kernel[1]}"
    fields += f" stride_h: {stride[0]} stride_w: {stride[1]} pad_h: {pad[0]} pad_w: {pad[1]}"
    return Case("Pooling", f"pooling_param {{ {fields} }}", ((2, 2, *size),), tops)


@settings(max_examples=80, deadline=None)
@given(windows(), st.sampled_from(["MAX", "AVE"]), st.integers(1, 2), st.integers(0, 2**31))
def test_any_window_is_caffes(window: tuple, pool: str, tops: int, seed: int) -> None:
    size, kernel, stride, pad, rounding = window
    assume(min(caffe_extents(size, kernel, stride, pad, rounding)) > 0)
    x = np.random.default_rng(seed).integers(-3, 4, (2, 2, *size)).astype(np.float32)  # many ties
    y, mask, dx = caffe_pool(x, pool, kernel, stride, pad, rounding)
    values, grads, _ = run(pooling(pool, size, (kernel, stride, pad), rounding, tops if pool == "MAX" else 1), x)
    np.testing.assert_allclose(values[0], y, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(grads[0], dx, rtol=1e-6, atol=1e-6)
    if len(values) == 2:
        np.testing.assert_array_equal(values[1], mask)


def test_a_window_beyond_an_unpadded_bottom_stays() -> None:
    geometry = ((2, 2), (3, 3), (0, 0))
    maximum, _, _ = run(pooling("MAX", (6, 6), geometry, "CEIL"), np.ones((2, 2, 6, 6)))
    average, _, _ = run(pooling("AVE", (6, 6), geometry, "CEIL"), np.ones((2, 2, 6, 6)))
    assert maximum[0].shape == (2, 2, 3, 3)
    assert (maximum[0][..., 2, :] == LOWEST).all()
    assert np.isnan(average[0][..., 2, :]).all()


def test_a_pad_of_more_than_half_the_kernel_is_legal() -> None:
    x = np.arange(9, dtype=np.float32).reshape(1, 1, 3, 3).repeat(2, 0).repeat(2, 1)
    values, _, _ = run(pooling("MAX", (3, 3), ((3, 3), (1, 1), (2, 2)), "CEIL"), x)
    assert values[0][0, 0].tolist() == [[0, 1, 2, 2, 2], [3, 4, 5, 5, 5], *[[6, 7, 8, 8, 8]] * 3]


def test_torchs_own_pooling_serves_where_it_agrees() -> None:
    assert forward_line(Case("Pooling", "pooling_param { kernel_size: 2 stride: 2 }", ((1, 1, 8, 8),))) == (
        "F.max_pool2d(b0, 2, ceil_mode=True)"
    )
    assert forward_line(Case("Pooling", "pooling_param { pool: AVE global_pooling: true }")) == (
        "F.adaptive_avg_pool2d(b0, 1)"
    )


def test_contiguous_planes_of_many_channels_are_pooled_by_ours() -> None:
    case = Case("Pooling", "pooling_param { kernel_size: 2 stride: 2 }", ((1, 16, 8, 8),))
    assert forward_line(case) == "max_pool2d(b0, 2, ceil_mode=True)"
    with written_as(plain=True):
        assert forward_line(case) == "F.max_pool2d(b0, 2, ceil_mode=True)"
    with written_as(memory_format="channels_last"):
        assert forward_line(case) == "F.max_pool2d(b0, 2, ceil_mode=True)"


def test_stochastic_pooling_in_test_weighs_each_value_by_its_share() -> None:
    x = np.array([[1, 2], [0, 1]], np.float32).reshape(1, 1, 2, 2)
    case = Case("Pooling", "pooling_param { pool: STOCHASTIC kernel_size: 2 }", ((1, 1, 2, 2),))
    assert run(case, x)[0][0].item() == pytest.approx(6 / 4)
    assert run(case, 0 * x)[0][0].item() == 0


def test_stochastic_pooling_in_training_draws_an_element_and_sends_the_gradient_there() -> None:
    x = np.zeros((1, 1, 2, 2), np.float32)
    x[0, 0, 1, 0] = 3
    case = Case("Pooling", "pooling_param { pool: STOCHASTIC kernel_size: 2 }", ((1, 1, 2, 2),), phase="TRAIN")
    values, grads, _ = run(case, x)
    assert values[0].item() == 3
    np.testing.assert_array_equal(grads[0], x / 3)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ("", "needs kernel_size, or kernel_h and kernel_w"),
        ("kernel_size: 0", "kernel_size must be greater than zero"),
        ("kernel_size: 2 kernel_h: 2 kernel_w: 2", "give either kernel_size or kernel_h and kernel_w, not both"),
        ("kernel_h: 2", "kernel_h and kernel_w go together"),
        ("kernel_size: 2 pad: 2", "pad must be smaller than the kernel"),
        ("global_pooling: true kernel_size: 2", "with global_pooling the kernel is the whole plane"),
        ("global_pooling: true pad: 1", "global_pooling needs pad 0 and stride 1"),
        ("pool: STOCHASTIC kernel_size: 2 pad: 1", "STOCHASTIC pooling takes no padding"),
        ("kernel_size: 40", "the kernel is larger than the padded bottom"),
        ("kernel_size: 2 pad_t: 1", "field 'pad_t' of PoolingParameter is not Caffe's"),
    ],
)
def test_what_is_refused(fields: str, message: str) -> None:
    with pytest.raises(NetError, match=message):
        Case("Pooling", f"pooling_param {{ {fields} }}").graph()


def test_only_max_has_a_mask_and_only_planes_are_pooled() -> None:
    with pytest.raises(NetError, match="only MAX pooling has a second top"):
        Case("Pooling", "pooling_param { pool: AVE kernel_size: 2 }", tops=2).graph()
    with pytest.raises(NetError, match=r"pools the last two of 4 axes. Received: a bottom of shape \(2, 3\)"):
        Case("Pooling", "pooling_param { kernel_size: 2 }", ((2, 3),)).graph()


@pytest.mark.parametrize("pool", ["MAX", "AVE"])
@pytest.mark.parametrize("size", [(9, 12), (10, 11), (16, 7), (5, 5)])
def test_a_pyramid_is_its_levels_behind_one_another(pool: str, size: tuple[int, int]) -> None:
    x = np.random.default_rng(0).normal(size=(2, 3, *size)).astype(np.float32)
    levels, dx = [], np.zeros_like(x)
    for bins in (1, 2):
        kernel = tuple(ceil(e / bins) for e in size)
        pad = tuple((bins * k - e + 1) // 2 for k, e in zip(kernel, size, strict=True))
        y, _, d = caffe_pool(x, pool, kernel, kernel, pad, "CEIL")  # type: ignore[arg-type]
        levels.append(y.reshape(2, -1))
        dx += d
    values, grads, _ = run(Case("SPP", f"spp_param {{ pyramid_height: 2 pool: {pool} }}", ((2, 3, *size),)), x)
    np.testing.assert_allclose(values[0], np.concatenate(levels, 1), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(grads[0], dx, rtol=1e-5, atol=1e-6)


def test_a_single_level_keeps_four_axes() -> None:
    assert Case("SPP", "spp_param { pyramid_height: 1 }").graph().outputs[0].shape == (2, 3, 1, 1)


def test_a_pyramid_too_high_for_its_bottom_is_refused() -> None:
    with pytest.raises(NetError, match="too small for 8 windows a side"):
        Case("SPP", "spp_param { pyramid_height: 4 }", ((1, 1, 9, 9),)).graph()
    with pytest.raises(NetError, match="pyramid_height must lie in"):
        Case("SPP", "spp_param { pool: AVE }").graph()
    with pytest.raises(NetError, match="STOCHASTIC pooling in a pyramid"):
        Case("SPP", "spp_param { pyramid_height: 2 pool: STOCHASTIC }").graph()
