"""Rules of whole nets that Caffe's own cases leave out: doubled names, a layer's own phase, nets within a solver."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import proto2torch as p2t

INPUT = 'layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }\n'


def ip(name: str, bottom: str, top: str, value: int) -> str:
    """An InnerProduct of 3 outputs whose weights are all `value`."""
    filler = f'weight_filler {{ type: "constant" value: {value} }}'
    return (
        f'layer {{ name: "{name}" type: "InnerProduct" bottom: "{bottom}" top: "{top}" '
        f"inner_product_param {{ num_output: 3 bias_term: false {filler} }} }}\n"
    )


TWICE = INPUT + ip("a", "x", "y", 1) + ip("a", "y", "z", 2)


def weights_of(net: Any) -> list[float]:
    """The first weight of each layer, in the order of the net."""
    return [float(blob.data.flatten()[0]) for blob in net.learned]


def test_of_layers_of_one_name_a_look_up_finds_the_last() -> None:
    net = p2t.load(text=TWICE)
    assert net(torch.ones(2, 3))["z"].tolist() == [[18, 18, 18]] * 2
    assert float(net.params["a"][0].data[0, 0]) == 2
    assert "an earlier layer has this name too" in net.notes[0]
    assert ":3:" in net.notes[0] or "layer 'a'" in net.notes[0]


def test_each_of_them_is_saved_and_the_first_of_a_binary_file_loads_into_the_first(tmp_path: Path) -> None:
    path = tmp_path / "w.caffemodel"
    p2t.load(text=TWICE).save(str(path))
    net = p2t.load(text=TWICE.replace("value: 1", "value: 7").replace("value: 2", "value: 8"))
    net.load_weights(str(path))
    assert weights_of(net) == [1, 8]


def test_hdf5_cannot_hold_both_but_loads_into_the_last(tmp_path: Path) -> None:
    path = tmp_path / "w.caffemodel.h5"
    with pytest.raises(p2t.Proto2TorchError, match="one name"):
        p2t.load(text=TWICE).save(str(path))
    p2t.load(text=INPUT + ip("a", "x", "y", 5)).save(str(path))
    net = p2t.load(text=TWICE)
    net.load_weights(str(path))
    assert weights_of(net) == [1, 5]


def test_a_net_that_shares_takes_the_last_into_its_first() -> None:
    train, test = p2t.load(text=TWICE), p2t.load(text=TWICE.replace("value: 2", "value: 9"))
    test.share(train)
    assert test(torch.ones(2, 3))["z"].tolist() == [[3 * 2 * 3 * 9] * 3] * 2


def test_layers_without_weights_may_share_a_name_in_silence() -> None:
    relu = 'layer { name: "r" type: "ReLU" bottom: "%s" top: "%s" }\n'
    net = p2t.load(text=INPUT + relu % ("x", "y") + relu % ("y", "z"))
    assert net.notes == ()
    assert net(-torch.ones(2, 3))["z"].tolist() == [[0, 0, 0]] * 2


@pytest.mark.parametrize("phase", ["TRAIN", "TEST"])
def test_a_layers_own_phase_holds_in_every_net(phase: str) -> None:
    dropout = 'layer { name: "d" type: "Dropout" bottom: "x" top: "y" phase: %s dropout_param { dropout_ratio: 0.25 } }'
    torch.manual_seed(0)
    ones = torch.ones(200, 300)
    dropped = p2t.load(text=INPUT + dropout % "TRAIN", phase=phase)(ones)["y"]
    assert sorted(set(dropped.flatten().tolist())) == pytest.approx([0, 4 / 3])
    assert float((dropped == 0).float().mean()) == pytest.approx(0.25, abs=0.01)
    assert torch.equal(p2t.load(text=INPUT + dropout % "TEST", phase=phase)(ones)["y"], ones)


def test_blobs_in_the_prototxt_take_the_place_of_fillers() -> None:
    given = ip("a", "x", "y", 3).replace(
        "inner_product_param", "blobs { shape { dim: 3 dim: 3 } data: [1, 2, 3, 4, 5, 6, 7, 8, 9] } inner_product_param"
    )
    net = p2t.load(text=INPUT + given)
    np.testing.assert_array_equal(net.params["a"][0].data, np.arange(1, 10).reshape(3, 3))


def test_names_tell_capitals_apart() -> None:
    net = p2t.load(text=INPUT + ip("A", "x", "Y", 1) + ip("a", "Y", "y", 2))
    assert list(net.params) == ["A", "a"]
    assert net.outputs == ("y",)
