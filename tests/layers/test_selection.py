"""Slice, Crop, Tile, BatchReindex, Filter, Embed and Parameter: what they copy, and where gradients go."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from proto2torch.errors import DataError, NetError

from .nets import Case, forward_line, run

X = np.arange(2 * 6 * 4, dtype=np.float32).reshape(2, 6, 4)


@pytest.mark.parametrize(
    ("fields", "tops", "parts"),
    [
        ("", 3, [(0, 2), (2, 4), (4, 6)]),
        ("slice_point: 1 slice_point: 4", 3, [(0, 1), (1, 4), (4, 6)]),
        ("slice_point: 5 slice_point: 6", 3, [(0, 5), (5, 6), (6, 6)]),
        ("axis: -2", 2, [(0, 3), (3, 6)]),
        ("slice_dim: 1 slice_point: 2", 2, [(0, 2), (2, 6)]),
        ("", 1, [(0, 6)]),
    ],
)
def test_slice(fields: str, tops: int, parts: list[tuple[int, int]]) -> None:
    values, grads, _ = run(Case("Slice", f"slice_param {{ {fields} }}", (X.shape,), tops), X)
    for value, (start, end) in zip(values, parts, strict=True):
        np.testing.assert_array_equal(value, X[:, start:end])
    np.testing.assert_array_equal(grads[0], np.ones_like(X))


@pytest.mark.parametrize(
    ("fields", "tops", "message"),
    [
        ("", 4, r"4 tops must divide axis 1 of a bottom of shape \(2, 6, 4\)"),
        ("slice_point: 1", 3, "needs one slice_point less than tops: 2. Received: 1"),
        ("slice_point: 3 slice_point: 3", 3, r"slice_point must rise, from above 0 on. Received: \[3, 3\]"),
        ("slice_point: 0", 2, "slice_point must rise, from above 0 on"),
        ("slice_point: 7", 2, "slice_point must lie within axis 1"),
        ("axis: 1 slice_dim: 1", 2, "give either axis or slice_dim, not both"),
        ("axis: 3", 2, r"axis must lie in \[-3, 3\)"),
    ],
)
def test_what_slice_refuses(fields: str, tops: int, message: str) -> None:
    with pytest.raises(NetError, match=message):
        Case("Slice", f"slice_param {{ {fields} }}", (X.shape,), tops).graph()


@pytest.mark.parametrize(
    ("fields", "part"),
    [
        ("", np.s_[:, :, :3]),
        ("offset: 1", np.s_[:, :, 1:4]),
        ("axis: 1", np.s_[:, :2, :3]),
        ("axis: 1 offset: 1", np.s_[:, 1:3, 1:4]),
        ("axis: -2 offset: 3 offset: 0", np.s_[:, 3:5, :3]),
        ("axis: 0 offset: 1 offset: 4 offset: 1", np.s_[1:, 4:, 1:]),
    ],
)
def test_crop(fields: str, part: tuple[slice, ...]) -> None:
    like = np.zeros((1, 2, 3), np.float32)
    values, grads, _ = run(Case("Crop", f"crop_param {{ {fields} }}", (X.shape, like.shape)), X, like)
    np.testing.assert_array_equal(values[0], X[part])
    expected = np.zeros_like(X)
    expected[part] = 1
    np.testing.assert_array_equal(grads[0], expected)
    assert grads[1] is None


@pytest.mark.parametrize(
    ("fields", "like", "message"),
    [
        ("axis: 1 offset: 1 offset: 2 offset: 3", (2, 2, 2), "offset must be given once, or once for each of 2"),
        ("offset: 3", (2, 2, 2), "2 from offset 3 on lie beyond axis 2 of bottom 0"),
        ("", (2, 6, 5), "5 from offset 0 on lie beyond axis 2"),
        ("", (2, 6), "bottom 1 must have the axes of bottom 0"),
    ],
)
def test_what_crop_refuses(fields: str, like: tuple[int, ...], message: str) -> None:
    with pytest.raises(NetError, match=message):
        Case("Crop", f"crop_param {{ {fields} }}", (X.shape, like)).graph()


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
@pytest.mark.parametrize("tiles", [1, 3])
def test_tile(axis: int, tiles: int) -> None:
    repeats = [1] * 3
    repeats[axis] = tiles
    values, grads, _ = run(Case("Tile", f"tile_param {{ axis: {axis} tiles: {tiles} }}", (X.shape,)), X)
    np.testing.assert_array_equal(values[0], np.tile(X, repeats))
    np.testing.assert_array_equal(grads[0], np.full_like(X, tiles))


def test_tile_needs_tiles() -> None:
    with pytest.raises(NetError, match=r"tiles must be greater than zero. Received: 0"):
        Case("Tile").graph()


def test_batch_reindex_repeats_and_drops_items() -> None:
    index = np.array([1.9, 0, 1, -0.5], np.float32)  # cut toward zero
    values, grads, _ = run(Case("BatchReindex", "", (X.shape, (4,))), X, index)
    np.testing.assert_array_equal(values[0], X[[1, 0, 1, 0]])
    np.testing.assert_array_equal(grads[0], np.full_like(X, 2))
    assert grads[1] is None


def test_batch_reindex_refuses_what_is_no_index() -> None:
    with pytest.raises(NetError, match="needs items, and indices of one axis"):
        Case("BatchReindex", "", (X.shape, (4, 1))).graph()
    with pytest.raises(DataError, match="index out of range"):
        run(Case("BatchReindex", "", (X.shape, (1,))), X, np.array([-1.0]))


def test_filter_keeps_the_items_that_the_selector_marks() -> None:
    x, y = np.arange(8.0).reshape(4, 2), np.arange(4.0)
    selector = np.array([1, 0, -2, 0]).reshape(4, 1, 1)
    values, grads, _ = run(Case("Filter", "", ((4, 2), (4,), (4, 1, 1)), 2), x, y, selector)
    np.testing.assert_array_equal(values[0], x[[0, 2]])
    np.testing.assert_array_equal(values[1], y[[0, 2]])
    np.testing.assert_array_equal(grads[0], [[1, 1], [0, 0], [1, 1], [0, 0]])
    np.testing.assert_array_equal(grads[1], [1, 0, 1, 0])


def test_filter_may_keep_nothing() -> None:
    values, grads, _ = run(Case("Filter", "", ((4, 2), (4,))), np.ones((4, 2)), np.zeros(4))
    assert values[0].shape == (0, 2)
    assert not grads[0].any()


def test_what_filter_refuses() -> None:
    with pytest.raises(NetError, match=r"needs a top for every bottom but the selector: 1. Received: 2"):
        Case("Filter", "", ((4, 2), (4,)), 2).graph()
    with pytest.raises(NetError, match=r"the selector must hold one value an item. Received: shape \(4, 2\)"):
        Case("Filter", "", ((4, 2), (4, 2))).graph()
    with pytest.raises(NetError, match=r"needs 3 items, as the selector has. Received: \(4, 2\)"):
        Case("Filter", "", ((4, 2), (3,))).graph()


@pytest.mark.parametrize("bias", [True, False])
def test_embed_reads_rows(bias: bool) -> None:
    weight, offset = np.arange(15.0).reshape(5, 3), np.array([100.0, 200, 300])
    fields = f"num_output: 3 input_dim: 5 bias_term: {str(bias).lower()}"
    net = Case("Embed", f"embed_param {{ {fields} }}", ((2, 2),)).net()
    net.load_weights({"layer": [weight, offset][: 1 + bias]})
    index = np.array([[0, 4.7], [1, 1]], np.float32)
    top = net(index)["t0"]
    top.sum().backward()
    np.testing.assert_array_equal(top.detach().numpy(), weight[[[0, 4], [1, 1]]] + offset * bias)
    assert net.params["layer"][0].grad[:, 0].tolist() == [1, 2, 0, 0, 1]
    if bias:
        assert net.params["layer"][1].grad.tolist() == [4, 4, 4]


def test_what_embed_refuses() -> None:
    with pytest.raises(NetError, match="needs input_dim greater than zero"):
        Case("Embed", "embed_param { num_output: 1 }").graph()
    with pytest.raises(NetError, match="needs num_output greater than zero"):
        Case("Embed", "embed_param { input_dim: 1 }").graph()


def test_a_parameter_starts_at_zero_and_keeps_its_last_gradient_alone() -> None:
    net = Case("Parameter", "parameter_param { shape { dim: 2 dim: 2 } }", (), phase="TRAIN").net()
    assert not net()["t0"].any()
    for factor in (3, 5):
        (net()["t0"] * factor).sum().backward()
    assert net.params["layer"][0].grad.tolist() == [[5, 5], [5, 5]]
    with torch.no_grad():
        net.params["layer"][0].data[0, 1] = 7
    assert net()["t0"][0, 1] == 7


def test_the_code_of_the_routing_layers() -> None:
    assert "t0, t1, t2 = b0.chunk(3, 1)" in Case("Slice", "", (X.shape,), 3).source().text
    crop = Case("Crop", "crop_param { axis: 2 offset: 3 }", ((1, 2, 9, 9), (1, 2, 5, 5)))
    assert forward_line(crop) == "b0[:, :, 3 : 3 + b1.shape[2], 3 : 3 + b1.shape[3]]"
    assert forward_line(Case("BatchReindex", "", (X.shape, (4,)))) == "b0.index_select(0, b1.long())"
