"""Scale and Bias: what they cover, their gradients, and the gradient that overwrites."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import proto2torch as p2t
from proto2torch.errors import NetError

from .nets import Case, forward_line, run


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@st.composite
def spans(draw: st.DrawFn) -> tuple[tuple[int, ...], int, int]:
    """A shape of a batch of at least 2, and the axes that the operand covers, from `start` to before `end`."""
    x = (2, *draw(st.lists(st.integers(1, 4), min_size=0, max_size=3)))
    start = draw(st.integers(0, len(x) - 1))
    return x, start, draw(st.integers(start, len(x)))


@settings(max_examples=60, deadline=None)
@given(spans(), st.sampled_from(["Scale", "Bias"]), st.booleans(), st.integers(0, 2**31))
def test_the_operand_is_repeated_along_the_other_axes(span: tuple, kind: str, second: bool, seed: int) -> None:
    shape, start, end = span
    x, operand = rng(seed).normal(size=shape), rng(seed + 1).normal(size=shape[start:end])
    wide = operand.reshape(*operand.shape, *(1,) * (len(shape) - end)) if end > start else operand
    message = f"{kind.lower()}_param {{ axis: {start} num_axes: {end - start} }}"
    case = Case(kind, message, (shape, operand.shape) if second else (shape,))
    net = case.net()
    bottoms = [torch.tensor(b, dtype=torch.float32, requires_grad=True) for b in (x, operand)[: 1 + second]]
    if not second:
        net.load_weights({"layer": [operand.astype(np.float32)]})
    top = net(**{f"b{i}": b for i, b in enumerate(bottoms)})["t0"]
    dy = rng(seed + 2).normal(size=shape)
    top.backward(torch.tensor(dy, dtype=torch.float32))
    product, added = x * wide, x + wide
    np.testing.assert_allclose(top.detach().numpy(), product if kind == "Scale" else added, rtol=1e-5, atol=1e-5)
    into = dy * x if kind == "Scale" else dy
    outside = tuple(i for i in range(len(shape)) if not start <= i < end)
    grad = bottoms[1].grad if second else net.params["layer"][0].grad
    np.testing.assert_allclose(grad.numpy(), into.sum(outside).reshape(operand.shape), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(bottoms[0].grad.numpy(), dy * wide if kind == "Scale" else dy, rtol=1e-5, atol=1e-5)


def accumulated(case: Case, *batches: np.ndarray) -> np.ndarray:
    """The gradient of blob 0 after a forward and a backward of ones for each batch, none cleared between."""
    net = case.net()
    for x in batches:
        net(torch.from_numpy(x.astype(np.float32)))["t0"].sum().backward()
    grad = net.params["layer"][0].grad
    assert grad is not None
    return grad.numpy()


@pytest.mark.parametrize(
    ("shape", "fields", "overwrites"),
    [
        ((1, 3, 4, 4), "", True),  # one item: the channels' gradients are sums over one plane each
        ((2, 3, 4, 4), "", False),
        ((1, 1, 4, 4), "", False),  # a single element is summed another way
        ((1, 3), "", True),  # as many elements as the bottom
        ((2, 3), "", False),
        ((2, 3), "axis: 0 num_axes: -1", True),
        ((2, 3, 4), "axis: 0", True),
        ((1, 2, 3), "axis: 2", False),
        ((1, 1, 3), "axis: 2", True),
        ((1, 3, 4), "num_axes: 0", False),
        ((1, 1, 1), "num_axes: 0", True),
    ],
)
def test_when_the_gradient_of_a_scale_overwrites(shape: tuple[int, ...], fields: str, overwrites: bool) -> None:
    case = Case("Scale", f"scale_param {{ {fields} }}", (shape,), phase="TRAIN")
    first, second = rng(1).normal(size=shape), rng(2).normal(size=shape)
    one, two = accumulated(case, first), accumulated(case, second)
    both = accumulated(case, first, second)
    np.testing.assert_allclose(both, two if overwrites else one + two, rtol=1e-5, atol=1e-6)


def test_the_offset_of_a_scale_and_a_bias_accumulate_whatever_the_batch() -> None:
    x = np.ones((1, 3, 4, 4))
    net = Case("Scale", "scale_param { bias_term: true }", (x.shape,), phase="TRAIN").net()
    for _ in range(2):
        net(torch.from_numpy(x.astype(np.float32)))["t0"].sum().backward()
    assert net.params["layer"][1].grad.tolist() == [32.0] * 3
    assert accumulated(Case("Bias", "", (x.shape,), phase="TRAIN"), x, x).tolist() == [32.0] * 3


def test_a_scalar_second_bottom_needs_no_axis() -> None:
    values, grads, _ = run(Case("Scale", "", ((3,), ())), np.arange(3), np.array(2.0))
    assert values[0].tolist() == [0, 2, 4]
    assert grads[1].item() == 3


def test_initial_values() -> None:
    assert Case("Scale", "scale_param { bias_term: true }").net().params["layer"][0].data.tolist() == [1.0] * 3
    assert Case("Scale", "scale_param { bias_term: true }").net().params["layer"][1].data.tolist() == [0.0] * 3
    assert Case("Bias").net().params["layer"][0].data.tolist() == [0.0] * 3


def test_equal_extents_stay_a_shape() -> None:
    assert "Scale((3, 3), 0)" in Case("Scale", "scale_param { num_axes: 2 }", ((2, 3, 3),)).source().text
    assert forward_line(Case("Bias", "", ((2, 3, 4, 5), (3,)))) == "b0 + b1[..., None, None]"


@pytest.mark.parametrize("kind", ["Scale", "Bias"])
def test_what_is_refused(kind: str) -> None:
    message = f"{kind.lower()}_param"
    with pytest.raises(NetError, match="num_axes must be -1, or fit from axis 1"):
        Case(kind, f"{message} {{ num_axes: 4 }}").graph()
    with pytest.raises(NetError, match=r"axis must lie in \[-4, 4\)"):
        Case(kind, f"{message} {{ axis: 4 }}").graph()
    with pytest.raises(
        NetError, match=r"bottom 1 must match the dims of bottom 0, .* from axis 1 on. Received: \(4,\)"
    ):
        Case(kind, "", ((2, 3, 4), (4,))).graph()
    with pytest.raises(NetError, match=f"{kind} takes 1 to 2 bottoms. Received: 3"):
        Case(kind, "", ((2, 3), (3,), (3,))).graph()


SHARED = """
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: %d dim: 3 dim: 2 dim: 2 } } }
layer { name: "a" type: "Scale" bottom: "x" top: "a" param { name: "s" } }
layer { name: "b" type: "Scale" bottom: "a" top: "b" param { name: "s" } loss_weight: 1 }
"""


def test_a_shared_scale_is_not_trained_on_single_items() -> None:
    with pytest.raises(NetError, match="it shares its scale with another layer"):
        p2t.load(text=SHARED % 1, phase="TRAIN")
    net = p2t.load(text=SHARED % 2, phase="TRAIN")
    net(torch.ones(2, 3, 2, 2))
    net.loss.backward()
    assert net.params["a"][0].grad.tolist() == [16.0] * 3  # y = s * s * x, at s = 1
