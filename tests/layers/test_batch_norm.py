"""BatchNorm's statistics: what a forward adds to them, and what it normalises with."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from proto2torch.errors import NetError

from .nets import Case


def blobs(net) -> list[np.ndarray]:  # type: ignore[no-untyped-def]
    return [b.data.numpy().copy() for b in net.params["layer"]]


@pytest.mark.parametrize("shape", [(4, 3), (2, 3, 5), (2, 3, 4, 5), (2, 3, 2, 2, 2), (2, 3, 1, 2, 2, 2)])
def test_each_forward_decays_the_sums_and_adds_the_batch(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    net = Case("BatchNorm", "batch_norm_param { moving_average_fraction: 0.9 }", (shape,), phase="TRAIN").net()
    mean_sum, variance_sum, scale = np.zeros(3), np.zeros(3), 0.0
    axes = (0, *range(2, len(shape)))
    for _ in range(3):
        x = rng.normal(2, 3, shape)
        y = net(torch.tensor(x, dtype=torch.float32))["t0"].numpy()
        count = x.size // 3
        mean_sum = 0.9 * mean_sum + x.mean(axes)
        variance_sum = 0.9 * variance_sum + x.var(axes) * count / (count - 1)
        scale = 0.9 * scale + 1
        wide = (1, 3, *(1,) * (len(shape) - 2))
        expected = (x - x.mean(axes).reshape(wide)) / np.sqrt(x.var(axes).reshape(wide) + 1e-5)
        np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)
    for ours, expected in zip(blobs(net), (mean_sum, variance_sum, [scale]), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-5)


@pytest.mark.parametrize("shape", [(1, 3), (1, 3, 1, 1)])
def test_one_value_a_channel_is_its_own_mean(shape: tuple[int, ...]) -> None:
    net = Case("BatchNorm", "", (shape,), phase="TRAIN").net()
    x = torch.tensor([1.0, 2, 3]).reshape(shape).requires_grad_()
    y = net(x)["t0"]
    y.sum().backward()
    assert not y.any()
    assert not x.grad.any()
    assert [b.tolist() for b in blobs(net)] == [[1, 2, 3], [0, 0, 0], [1]]


@pytest.mark.parametrize("phase", ["TEST", "TRAIN"])
@pytest.mark.parametrize("scale", [0.0, 1.0, 4.0])
def test_stored_statistics_are_divided_by_the_scale(phase: str, scale: float) -> None:
    net = Case("BatchNorm", "batch_norm_param { use_global_stats: true }", ((2, 3),), phase=phase).net()
    net.load_weights({"layer": [np.array([2.0, 4, 8]), np.array([4.0, 8, 12]), np.array([scale])]})
    x = np.array([[1.0, 2, 3], [4, 5, 6]])
    mean, variance = ((v / scale if scale else 0 * v) for v in (np.array([2.0, 4, 8]), np.array([4.0, 8, 12])))
    y = net(x)["t0"].numpy()
    np.testing.assert_allclose(y, (x - mean) / np.sqrt(variance + 1e-5), rtol=1e-5)
    assert blobs(net)[2] == scale


def test_a_test_net_may_ask_for_the_batchs_own_statistics_and_then_updates_them() -> None:
    net = Case("BatchNorm", "batch_norm_param { use_global_stats: false }", ((2, 3),)).net()
    net(np.array([[1.0, 2, 3], [3, 4, 5]]))
    assert [b.tolist() for b in blobs(net)] == [[2, 3, 4], [2, 2, 2], [1]]


def test_what_is_refused() -> None:
    with pytest.raises(NetError, match="needs a channel axis behind the batch"):
        Case("BatchNorm", "", ((3,),)).graph()
    with pytest.raises(NetError, match="lr_mult must be 0"):
        Case("BatchNorm", "param { lr_mult: 1 }").graph()
    with pytest.raises(NetError, match=r"lr_mult must be 0\. Received: 1"):
        Case("BatchNorm", "param { decay_mult: 0 }").graph()  # an lr_mult that is not given is 1
    with pytest.raises(NetError, match=r"at most as many param. Received: 4"):
        Case("BatchNorm", "param { lr_mult: 0 } " * 4).graph()
