from __future__ import annotations

import pytest

from tests.prototxt.nets import layers, messages, problems, upgraded

RELU = ' layer { name: "a" type: "ReLU" bottom: "data" top: "y" }'


def test_input_dims_make_a_first_layer() -> None:
    net = upgraded(
        'input: "data" input_dim: 2 input_dim: 3 input_dim: 5 input_dim: 4 '
        'input: "label" input_dim: 2 input_dim: 1 input_dim: 1 input_dim: 1' + RELU
    )
    assert messages(net) == layers(
        'layer { name: "input" type: "Input" top: "data" top: "label" input_param { '
        "shape { dim: 2 dim: 3 dim: 5 dim: 4 } shape { dim: 2 dim: 1 dim: 1 dim: 1 } } }" + RELU
    )
    assert net.notes == ()


def test_input_shapes_may_have_any_number_of_axes() -> None:
    net = upgraded('input: "data" input_shape { dim: 7 } input: "s" input_shape { dim: 2 dim: 0 }' + RELU)
    assert messages(net) == layers(
        'layer { name: "input" type: "Input" top: "data" top: "s" '
        "input_param { shape { dim: 7 } shape { dim: 2 dim: 0 } } }" + RELU
    )


def test_input_shape_beats_input_dim() -> None:
    net = upgraded('input: "data" input_dim: 1 input_dim: 1 input_dim: 1 input_dim: 1 input_shape { dim: 7 }' + RELU)
    assert [list(shape.dim) for shape in messages(net)[0].input_param.shape] == [[7]]
    assert net.notes == ("net.prototxt:1:15: Caffe ignores 'input_dim' beside 'input_shape'",)


def test_an_input_without_a_shape_is_dropped_with_a_note() -> None:
    net = upgraded('input: "data"' + RELU)
    assert messages(net) == layers(RELU)
    assert net.notes == (
        "net.prototxt:1:1: input 'data' has neither 'input_shape' nor 'input_dim', and Caffe drops it",
    )


@pytest.mark.parametrize("shape", ["input_shape { dim: 1 }", "input_dim: 1"])
def test_a_shape_without_an_input_is_noted(shape: str) -> None:
    net = upgraded(shape + RELU)
    assert messages(net) == layers(RELU)
    assert f"Caffe ignores '{shape.split()[0].rstrip(':')}' without 'input'" in net.notes[0]


MISSING = [
    ('input: "data"\ninput_dim: 1 input_dim: 2 input_dim: 3', "1 input(s) take 4 'input_dim' each, 4 in all", 3),
    ('input: "data" input: "b"\ninput_shape { dim: 3 }', "2 input(s) take one 'input_shape' each, 2 in all", 1),
]


@pytest.mark.parametrize(("source", "message", "given"), MISSING)
def test_a_shape_too_few_is_refused(source: str, message: str, given: int) -> None:
    (problem,) = problems(upgraded, source + RELU)
    assert problem.message == f"{message}. Received: {given}"
    assert problem.line == 2


def test_shapes_too_many_are_ignored_with_a_note() -> None:
    net = upgraded('input: "data" input_shape { dim: 7 } input_shape { dim: 8 }' + RELU)
    assert [list(shape.dim) for shape in messages(net)[0].input_param.shape] == [[7]]
    assert net.notes[0].endswith("1 in all. Received: 2, and Caffe ignores the rest")


def test_marks_lead_to_the_input_fields() -> None:
    dims = "".join(f"input_dim: {n}\n" for n in range(1, 9))
    layer = upgraded(f'input: "data"\ninput: "b"\n{dims}' + RELU).layers[0]
    lines = {"": 1, "top[1]": 2, "input_param.shape[0]": 3, "input_param.shape[1]": 7, "input_param.shape[1].dim[2]": 9}
    assert {path: layer.where(path).line for path in lines} == lines
