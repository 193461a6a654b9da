from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from proto2torch.errors import NetError
from proto2torch.prototxt import filters, splits
from proto2torch.prototxt.document import NetDefinition
from tests.prototxt.nets import GOLDEN, document, layers, messages, problems, upgraded


def inserted(source: str) -> NetDefinition:
    net = upgraded(source)
    before = [layer.message.SerializeToString(deterministic=True) for layer in net.layers]
    result = splits.insert(net)
    assert [layer.message.SerializeToString(deterministic=True) for layer in net.layers] == before
    return result


def layer(name: str, bottoms: str, tops: str, rest: str = "", type: str = "ReLU") -> str:
    parts = "".join(f' bottom: "{b}"' for b in bottoms.split()) + "".join(f' top: "{t}"' for t in tops.split())
    return f'layer {{ name: "{name}" type: "{type}"{parts} {rest} }}\n'


DATA = layer("data", "", "x", type="Input")


def test_a_blob_read_once_is_not_split() -> None:
    source = DATA + layer("a", "x", "a")
    assert messages(inserted(source)) == layers(source)


def test_a_blob_read_twice_is_split_after_its_maker() -> None:
    net = inserted(DATA + layer("a", "x", "a") + layer("b", "x", "b"))
    assert messages(net) == layers(
        DATA
        + layer("x_data_0_split", "x", "x_data_0_split_0 x_data_0_split_1", type="Split")
        + layer("a", "x_data_0_split_0", "a")
        + layer("b", "x_data_0_split_1", "b")
    )


def test_copies_go_to_bottoms_in_order_and_tops_are_counted() -> None:
    source = layer("d/1", "", "p q", type="Input") + layer("a", "q q", "a", type="Eltwise") + layer("b", "q p", "b")
    assert messages(inserted(source)) == layers(
        layer("d/1", "", "p q", type="Input")
        + layer("q_d/1_1_split", "q", "q_d/1_1_split_0 q_d/1_1_split_1 q_d/1_1_split_2", type="Split")
        + layer("a", "q_d/1_1_split_0 q_d/1_1_split_1", "a", type="Eltwise")
        + layer("b", "q_d/1_1_split_2 p", "b")
    )


def test_each_version_of_a_blob_counts_for_itself() -> None:
    source = DATA + layer("c", "x", "c") + layer("r", "c", "c") + layer("a", "c", "a") + layer("b", "c", "b")
    assert messages(inserted(source)) == layers(
        DATA
        + layer("c", "x", "c")
        + layer("r", "c", "c")
        + layer("c_r_0_split", "c", "c_r_0_split_0 c_r_0_split_1", type="Split")
        + layer("a", "c_r_0_split_0", "a")
        + layer("b", "c_r_0_split_1", "b")
    )


def test_a_weighted_top_that_is_read_gives_its_weight_to_the_first_copy() -> None:
    source = DATA + layer("l", "x", "l", "loss_weight: 0.5") + layer("p", "l", "p")
    assert messages(inserted(source)) == layers(
        DATA
        + layer("l", "x", "l")
        + layer("l_l_0_split", "l", "l_l_0_split_0 l_l_0_split_1", "loss_weight: 0.5 loss_weight: 0", type="Split")
        + layer("p", "l_l_0_split_1", "p")
    )


def test_all_weights_of_the_maker_are_cleared() -> None:
    source = DATA + layer("l", "x", "l m", "loss_weight: 2 loss_weight: 3") + layer("p", "m", "p")
    net = inserted(source)
    assert messages(net) == layers(
        DATA
        + layer("l", "x", "l m")
        + layer("m_l_1_split", "m", "m_l_1_split_0 m_l_1_split_1", "loss_weight: 3 loss_weight: 0", type="Split")
        + layer("p", "m_l_1_split_1", "p")
    )


@pytest.mark.parametrize("weight", ["", "loss_weight: 0", "loss_weight: 2"])
def test_no_split_for_one_use(weight: str) -> None:
    reader = "" if "2" in weight else layer("p", "l", "p")
    source = DATA + layer("l", "x", "l", weight) + reader
    assert messages(inserted(source)) == layers(source)


def test_a_loss_layer_without_a_top_makes_none() -> None:
    source = DATA + layer("l", "x", "", "loss_weight: 2", type="EuclideanLoss")
    assert messages(inserted(source)) == layers(source)


def test_places_stay_and_a_split_has_the_file_alone() -> None:
    net = inserted(DATA + layer("a", "x", "a") + layer("b", "x", "b"))
    assert [part.where().line for part in net.layers] == [1, None, 2, 3]
    assert [part.where().file for part in net.layers] == ["net.prototxt"] * 4


CASES = sorted(GOLDEN.glob("*.prototxt"))


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_golden_nets_have_caffes_outputs(path: Path) -> None:
    expected = np.load(path.with_suffix(".npz"))
    stages = json.loads(str(expected["stages"]))
    net = filters.select(upgraded(path.read_text()), str(expected["phase"]), int(expected["level"]), stages)
    whole = splits.insert(net)
    unread = {top for part in whole.layers for top in part.message.top}
    unread -= {bottom for part in whole.layers for bottom in part.message.bottom}
    assert sorted(unread, key=str.encode) == json.loads(str(expected["outputs"]))


def test_there_are_golden_nets() -> None:
    assert len(CASES) == 108


def test_splits_of_a_split_net_change_nothing() -> None:
    once = inserted(DATA + layer("a", "x", "a") + layer("b", "x", "b"))
    assert messages(splits.insert(once)) == messages(once)


# What Caffe refuses


def test_an_unknown_bottom_names_the_nearest_blob() -> None:
    (problem,) = problems(inserted, DATA + layer("conv1", "x", "conv1") + layer("r", "conv2", "r"))
    assert isinstance(problem, NetError)
    assert problem.message == "unknown bottom blob 'conv2': no layer makes it"
    assert (problem.line, problem.where.column, problem.layer) == (3, 32, "r")
    assert problem.hint == "did you mean 'conv1'?"


def test_an_unknown_bottom_that_is_made_below() -> None:
    (problem,) = problems(inserted, DATA + layer("r", "late", "r") + layer("l", "x", "late"))
    assert problem.message == (
        "unknown bottom blob 'late': layer 'l' (line 3) makes it, but stands below; Caffe builds layers in order"
    )
    assert problem.hint == "move layer 'l' above this one"


def test_an_unknown_bottom_that_the_layer_itself_makes() -> None:
    (problem,) = problems(inserted, layer("r", "x", "x"))
    assert problem.message == "unknown bottom blob 'x': only this layer itself makes it"


def test_an_unknown_bottom_whose_maker_is_left_out() -> None:
    whole = upgraded(layer("d", "", "x", "include { phase: TRAIN }", type="Input") + layer("r", "x", "r"))
    (problem,) = problems(splits.insert, filters.select(whole, "TEST"), whole)
    assert problem.message == (
        "unknown bottom blob 'x': layer 'd' (line 1) makes it, and its include and exclude rules leave it out"
    )


def test_an_unknown_bottom_may_be_an_input_without_its_shape() -> None:
    (problem,) = problems(inserted, 'input: "data" ' + layer("r", "data", "r"))
    assert problem.message == "unknown bottom blob 'data': no layer makes it"
    assert problem.hint == "an input of the net takes an Input layer, or 'input' and its 'input_shape'"


def test_names_are_case_sensitive() -> None:
    (problem,) = problems(inserted, DATA + layer("r", "X", "r"))
    assert problem.hint == "did you mean 'x'?"


def test_a_top_made_twice_names_both_layers() -> None:
    (problem,) = problems(inserted, DATA + layer("a", "x", "t") + layer("b", "t", "u") + layer("c", "u", "t"))
    assert problem.message == "top blob 't' is made twice: layer 'a' (line 2) makes it already"
    assert (problem.layer, problem.line, problem.hint) == ("c", 4, None)


def test_in_place_takes_the_same_index() -> None:
    source = layer("d", "", "p q", type="Input") + layer("s", "p q", "n p")
    (problem,) = problems(inserted, source)
    assert problem.message == "top blob 'p' is made twice: layer 'd' (line 1) makes it already"
    assert problem.hint == "a layer works in place where top and bottom of the same name have the same index"


def test_one_layer_that_lists_a_top_twice() -> None:
    (problem,) = problems(inserted, DATA + layer("s", "x", "t t"))
    assert problem.message == "top blob 't' is made twice: layer 's' (line 2) makes it already"


def test_a_top_that_has_the_name_of_a_copy() -> None:
    source = DATA + layer("a", "x", "x_data_0_split_1") + layer("b", "x", "b")
    (problem,) = problems(inserted, source)
    assert problem.message == ("top blob 'x_data_0_split_1' is made twice: layer 'x_data_0_split' makes it already")


def test_a_reader_before_an_in_place_layer() -> None:
    source = DATA + layer("c", "x", "c") + layer("side", "c", "s") + layer("r", "c", "c")
    (problem,) = problems(inserted, source)
    assert problem.message == (
        "blob 'c' cannot be changed in place: layer 'side' (line 3) reads it before, "
        "so Caffe splits it and then finds 'c' made twice"
    )
    assert (problem.layer, problem.line) == ("r", 4)
    assert problem.hint == ("give this layer's top another name, or move layer 'side' below it to read the result")


def test_a_loss_weight_before_an_in_place_layer() -> None:
    source = DATA + layer("c", "x", "c", "loss_weight: 1") + layer("r", "c", "c")
    (problem,) = problems(inserted, source)
    assert "cannot be changed in place: layer 'c' (line 2) gives it a loss_weight" in problem.message


def test_a_layer_that_reads_its_in_place_blob_twice() -> None:
    (problem,) = problems(inserted, DATA + layer("e", "x x", "x", type="Eltwise"))
    assert "cannot be changed in place: this layer reads it twice" in problem.message


def test_all_problems_of_a_net_come_at_once() -> None:
    source = DATA + layer("a", "y", "a") + layer("b", "x", "a") + layer("c", "z", "c")
    found = problems(inserted, source)
    assert [(problem.line, problem.layer) for problem in found] == [(2, "a"), (3, "b"), (4, "c")]


def test_a_golden_net_as_the_newest_format_is_read_again() -> None:
    path = GOLDEN / "dag-0.prototxt"
    net = upgraded(path.read_text())
    assert messages(net) == list(document(path.read_text()).message.layer)
