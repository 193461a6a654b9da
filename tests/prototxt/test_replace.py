"""Layers replaced for other classes."""

from __future__ import annotations

import pytest

from proto2torch.errors import NetError
from proto2torch.prototxt.read import read_net
from proto2torch.prototxt.replace import New, apply, parse

NET = """layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 4 } } }
layer { name: "fc7" type: "InnerProduct" bottom: "data" top: "fc7" inner_product_param { num_output: 8 } }
layer { name: "fc8" type: "InnerProduct" bottom: "fc7" top: "fc8" param { lr_mult: 1 } param { lr_mult: 2 decay_mult: 0 }
  inner_product_param { num_output: 1000 weight_filler { type: "xavier" } } }
layer { name: "prob" type: "Softmax" bottom: "fc8" top: "prob" }
"""


def test_the_layer_gets_a_name_outputs_and_ten_times_the_rate() -> None:
    net = apply(read_net(text=NET), {"fc8": New("fc8_flowers", 102)})
    layer = net.layers[2].message
    assert (layer.name, list(layer.bottom), list(layer.top)) == ("fc8_flowers", ["fc7"], ["fc8"])
    assert layer.inner_product_param.num_output == 102
    assert layer.inner_product_param.weight_filler.type == "xavier"
    assert [(p.lr_mult, p.decay_mult) for p in layer.param] == [(10, 1), (20, 0)]
    assert [layer.name for layer in net.layers] == ["data", "fc7", "fc8_flowers", "prob"]
    assert net.layers[2].where().line == 3


def test_rates_that_go_without_saying_are_said() -> None:
    layer = apply(read_net(text=NET), {"fc7": New("anew")}).layers[1].message
    assert [p.lr_mult for p in layer.param] == [10, 10] and layer.inner_product_param.num_output == 8
    without = NET.replace("num_output: 8", "num_output: 8 bias_term: false")
    assert len(apply(read_net(text=without), {"fc7": New("anew")}).layers[1].message.param) == 1


def test_the_net_itself_stays_as_it_was() -> None:
    net = read_net(text=NET)
    apply(net, {"fc8": New("x", 3)})
    assert net.layers[2].name == "fc8" and net.layers[2].message.param[0].lr_mult == 1


@pytest.mark.parametrize(
    "new, message",
    [
        ({"fc9": New("x")}, "there is no layer 'fc9' to replace\n  did you mean 'fc"),
        ({"fc8": New("fc7")}, "a layer of the name 'fc7' is there already"),
        ({"prob": New("x")}, "only layers with outputs can be replaced: InnerProduct, Convolution"),
    ],
)
def test_what_cannot_be(new: dict[str, New], message: str) -> None:
    with pytest.raises(NetError) as raised:
        apply(read_net(text=NET), new)
    assert message in str(raised.value)


def test_as_it_is_typed() -> None:
    assert parse("fc8=fc8_flowers:102") == ("fc8", New("fc8_flowers", 102))
    assert parse("loss3/classifier=mine") == ("loss3/classifier", New("mine", None))
    assert parse("a=b:c:5") == ("a", New("b:c", 5))


@pytest.mark.parametrize(
    "text", ["fc8", "fc8=", "=x", "fc8=x:", "fc8=x:0", "fc8=x:-2", "fc8=:5", "fc8=fc8:102", "fc8=x:many"]
)
def test_what_cannot_be_typed(text: str) -> None:
    with pytest.raises(ValueError, match="expected LAYER=NEW or LAYER=NEW:OUTPUTS"):
        parse(text)
