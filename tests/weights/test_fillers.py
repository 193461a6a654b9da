"""Fillers: Caffe's own initial weights bit for bit, its rules, and what it refuses."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from proto2torch.errors import NetError, Where
from proto2torch.prototxt import schema
from proto2torch.prototxt.document import LayerDefinition
from proto2torch.weights import fillers
from proto2torch.weights.random import Stream

from .golden import SOLVERS, parsed

HERE = Where(file="net.prototxt", line=3, layer="conv")


def filler(**fields: Any) -> Any:
    message = schema.new("FillerParameter")
    for name, value in fields.items():
        if name == "variance_norm":
            value = ("FAN_IN", "FAN_OUT", "AVERAGE").index(value)
        setattr(message, name, value)
    return message


def fill(shape: tuple[int, ...], seed: int = 1, **fields: Any) -> np.ndarray[Any, Any]:
    return fillers.fill(filler(**fields), shape, Stream(seed), HERE)


@pytest.mark.parametrize("folder", SOLVERS, ids=lambda p: p.name)
def test_initial_weights_are_caffes_bit_for_bit(folder: Path) -> None:
    solver, net = (
        parsed(folder / "solver.prototxt", "SolverParameter"),
        parsed(folder / "train.prototxt", "NetParameter"),
    )
    expected = {layer.name: layer.blobs for layer in parsed(folder / "init.caffemodel", "NetParameter").layer}
    stream, compared = Stream(solver.random_seed), 0
    for layer in net.layer:
        fillers.data_layer_draws(LayerDefinition(layer), "TRAIN", stream)
        own = {"Convolution": layer.convolution_param, "InnerProduct": layer.inner_product_param}.get(layer.type)
        if own is None:
            continue
        for blob, message in zip(expected[layer.name], (own.weight_filler, own.bias_filler), strict=True):
            shape = tuple(blob.shape.dim)
            values = fillers.fill(message, shape, stream, HERE)
            assert values.dtype == np.float32
            assert values.shape == shape
            assert values.tobytes() == np.array(blob.data, np.float32).tobytes(), (layer.name, message.type)
            compared += 1
    assert compared == 6


def test_no_filler_is_zeros_and_takes_no_word() -> None:
    stream = Stream(1)
    assert np.array_equal(fillers.fill(None, (2, 3), stream, HERE), np.zeros((2, 3)))
    assert np.array_equal(fillers.fill(filler(), (2,), stream, HERE), np.zeros(2))
    assert stream.word() == Stream(1).word()


def test_constant() -> None:
    assert fill((2, 2), type="constant", value=0.1).tolist() == [[np.float32(0.1)] * 2] * 2
    assert fill((), type="constant", value=2).tolist() == 2.0


def test_uniform_lies_in_its_range() -> None:
    values = fill((100, 100), type="uniform", min=-2, max=3)
    assert -2 <= values.min() < -1.99
    assert 2.99 < values.max() <= 3


@pytest.mark.parametrize(
    "norm, shape, n",
    [
        ("FAN_IN", (20, 5, 3, 3), 45),
        ("FAN_OUT", (20, 5, 3, 3), 180),
        ("AVERAGE", (20, 5, 3, 3), 112.5),
        ("FAN_IN", (7, 11), 11),
        ("FAN_OUT", (7, 11), 7),
        ("FAN_IN", (6,), 1),
        ("FAN_OUT", (6,), 6),
    ],
)
def test_xavier_and_msra_scale_with_the_fan(norm: str, shape: tuple[int, ...], n: float) -> None:
    count = math.prod(shape)
    a = float(np.sqrt(np.float32(3) / np.float32(n)))
    assert np.array_equal(fill(shape, type="xavier", variance_norm=norm).ravel(), Stream(1).uniform(-a, a, count))
    std = float(np.sqrt(np.float32(2) / np.float32(n)))
    assert np.array_equal(fill(shape, type="msra", variance_norm=norm).ravel(), Stream(1).gaussian(0, std, count))


def test_positive_unitball_rows_sum_to_one() -> None:
    values = fill((4, 3, 2), type="positive_unitball")
    assert values.shape == (4, 3, 2)
    assert values.min() > 0
    assert np.allclose(values.reshape(4, -1).sum(1), 1, atol=1e-6)
    draws = Stream(1).uniform(0, 1, 24).reshape(4, 6)
    total = np.float32(0)
    for value in draws[2]:
        total += value
    assert np.array_equal(values.reshape(4, -1)[2], draws[2] / total)


def test_sparse_gaussian_keeps_a_share_after_all_are_drawn() -> None:
    values = fill((100, 300), type="gaussian", std=0.5, sparse=15)
    stream = Stream(1)
    z = stream.gaussian(0, 0.5, 30_000)
    kept = stream.words(30_000).astype(np.float32) <= np.float32(15) / np.float32(100) * np.float32(2**32)
    assert np.array_equal(values.ravel(), np.where(kept, z, 0))
    assert abs(np.count_nonzero(values) - 4500) < 5 * math.sqrt(30_000 * 0.15 * 0.85)


def test_bilinear_of_four_is_the_known_kernel() -> None:
    row = np.array([0.25, 0.75, 0.75, 0.25])
    values = fill((2, 3, 4, 4), type="bilinear")
    assert np.array_equal(values, np.broadcast_to(np.outer(row, row), (2, 3, 4, 4)))


def test_bilinear_of_three() -> None:
    row = np.array([0.5, 1, 0.5])
    assert np.array_equal(fill((1, 1, 3, 3), type="bilinear")[0, 0], np.outer(row, row))


@pytest.mark.parametrize(
    "shape, fields, message",
    [
        ((2, 2), {"type": "xaviar"}, "no filler is called 'xaviar'"),
        ((2, 2), {"type": "gaussian", "std": 0}, "needs std > 0. Received: 0"),
        ((2, 2), {"type": "gaussian", "std": -1}, "needs std > 0. Received: -1"),
        ((2, 2), {"type": "uniform", "min": 1, "max": 0}, "needs min <= max. Received: min 1, max 0"),
        ((2, 2), {"type": "uniform", "max": math.inf}, "filler max must be a finite number. Received: inf"),
        ((2, 2), {"type": "xavier", "sparse": 1}, "only a gaussian filler can be sparse. Received: type 'xavier'"),
        ((2, 2), {"type": "gaussian", "sparse": -2}, r"sparse must lie in \[0, 2\]"),
        ((2, 2), {"type": "gaussian", "sparse": 3}, r"sparse must lie in \[0, 2\]"),
        ((2, 0), {"type": "constant"}, r"an empty blob cannot be filled. Received: shape \(2, 0\)"),
        ((2, 2), {"type": "bilinear"}, r"a blob of 4 axes with a square kernel. Received: \(2, 2\)"),
        ((1, 1, 2, 3), {"type": "bilinear"}, "square kernel"),
        ((), {"type": "xavier"}, "needs a blob with an axis"),
    ],
)
def test_what_caffe_refuses_is_an_error_at_its_line(
    shape: tuple[int, ...], fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(NetError, match=message) as raised:
        fill(shape, **fields)
    assert raised.value.where == HERE


def test_an_unknown_type_offers_the_closest() -> None:
    with pytest.raises(NetError) as raised:
        fill((2, 2), type="xaviar")
    assert raised.value.hint == "did you mean 'xavier'?"
