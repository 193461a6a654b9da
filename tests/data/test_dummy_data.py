from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from proto2torch import data
from proto2torch.errors import NetError
from proto2torch.net import load_definition
from proto2torch.prototxt.read import read_net
from proto2torch.weights.random import Stream

TEXT = """
layer { name: "d" type: "DummyData" top: "x" top: "k" top: "u"
  dummy_data_param {
    shape { dim: 2 dim: 3 } shape { dim: 2 } shape { dim: 2 dim: 1 }
    data_filler { type: "gaussian" std: 2 } data_filler { value: 3 } data_filler { type: "uniform" min: -1 }
  }
}
layer { name: "ip" type: "InnerProduct" bottom: "x" top: "y"
  inner_product_param { num_output: 2 weight_filler { type: "xavier" } } }
"""


def feed(text: str = TEXT, seed: int | None = None) -> data.Feed:
    return data.open(read_net(text=text).layers[0], "TRAIN", seed)


def drawn(stream: Stream) -> list[np.ndarray]:
    """The next batch from a stream: a constant top takes no word of it."""
    x = stream.gaussian(0, 2, 6).reshape(2, 3)
    return [x, np.full(2, 3, np.float32), stream.uniform(-1, 1, 2).reshape(2, 1)]


def test_a_constant_top_stays_and_the_others_are_drawn_for_each_batch() -> None:
    source, stream = feed(seed=5), Stream(5)
    assert source.shapes == [(2, 3), (2,), (2, 1)]
    for _ in range(3):
        for ours, theirs in zip(source.next(), drawn(stream), strict=True):
            assert ours.dtype == torch.float32
            np.testing.assert_array_equal(ours.numpy(), theirs)


def test_the_batches_follow_the_fillers_in_the_stream_of_the_net() -> None:
    net = load_definition(read_net(text=TEXT), phase="TRAIN", stream=Stream(9))
    stream = Stream(9)
    weight = stream.uniform(-1, 1, 6).reshape(2, 3)  # xavier: sqrt(3 / 3)
    np.testing.assert_array_equal(net.params["ip"][0].data.numpy(), weight)
    for _ in range(2):
        x, k, u = drawn(stream)
        outputs = net()
        np.testing.assert_allclose(outputs["y"].detach().numpy(), x @ weight.T, rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(outputs["k"].numpy(), k)
        np.testing.assert_array_equal(outputs["u"].numpy(), u)


def test_one_filler_or_none_is_for_every_top() -> None:
    text = 'layer { name: "d" type: "DummyData" top: "a" top: "b" dummy_data_param { shape { dim: 2 } FILLER } }'
    assert [t.tolist() for t in feed(text.replace("FILLER", "")).next()] == [[0, 0], [0, 0]]
    a, b = feed(text.replace("FILLER", 'data_filler { type: "uniform" }'), seed=1).next()
    expected = Stream(1).uniform(0, 1, 4)
    np.testing.assert_array_equal([*a.numpy(), *b.numpy()], expected)


def test_it_goes_on_from_a_state_of_plain_values() -> None:
    first = feed(seed=2)
    first.next()
    kept = json.loads(json.dumps(first.state()))
    expected = [first.next() for _ in range(2)]
    other = feed(seed=3)
    other.load_state(kept)
    for batch in expected:
        assert all(torch.equal(a, b) for a, b in zip(other.next(), batch, strict=True))


def test_reseeding_begins_another_stream() -> None:
    source = feed(seed=2)
    source.next()
    source.reseed(5)
    np.testing.assert_array_equal(source.next()[0].numpy(), drawn(Stream(5))[0])


def test_a_filler_that_cannot_be_is_named() -> None:
    with pytest.raises(NetError, match=r"no filler is called 'gauss'") as caught:
        feed(TEXT.replace('"gaussian"', '"gauss"')).next()
    assert caught.value.line == 5
