from __future__ import annotations

import pytest

from tests.prototxt.nets import layers, messages, problems, upgraded


def norm(params: str) -> str:
    return f'layer {{ name: "n" type: "BatchNorm" bottom: "x" top: "y"\n {params} }}'


def test_three_params_of_batch_norm_get_no_rates_and_keep_their_names() -> None:
    net = upgraded(norm('param { lr_mult: 1 decay_mult: 2 name: "m" } param { share_mode: PERMISSIVE } param { }'))
    assert messages(net) == layers(
        norm(
            'param { lr_mult: 0 decay_mult: 0 name: "m" } param { share_mode: PERMISSIVE lr_mult: 0 decay_mult: 0 } '
            "param { lr_mult: 0 decay_mult: 0 }"
        )
    )
    (note,) = net.notes
    assert note == (
        "layer 'n' (BatchNorm), net.prototxt:2:10: BatchNorm's statistics are not learned, so lr_mult 1 becomes 0"
    )


@pytest.mark.parametrize("count", [0, 1, 2, 4])
def test_any_other_number_of_params_is_left_to_the_layer(count: int) -> None:
    source = norm("param { lr_mult: 1 } " * count)
    net = upgraded(source)
    assert messages(net) == layers(source)
    assert net.notes == ()


def test_three_params_of_another_type_are_left_alone() -> None:
    source = norm("param { } " * 3).replace("BatchNorm", "Scale")
    assert messages(upgraded(source)) == layers(source)


UNREAD = [("Data", "data_param"), ("ImageData", "image_data_param")]


@pytest.mark.parametrize(("type", "holder"), UNREAD)
@pytest.mark.parametrize("field", ["scale: 0.5", 'mean_file: "m"', "crop_size: 3", "mirror: true"])
def test_what_caffe_does_not_read_of_todays_data_layers_is_noted(type: str, holder: str, field: str) -> None:
    source = f'layer {{ name: "d" type: "{type}" top: "x"\n {holder} {{ {field} }} }}'
    net = upgraded(source)
    assert messages(net) == layers(source)
    name = field.split(":")[0]
    column = len(holder) + 5
    assert net.notes == (
        f"layer 'd' ({type}), net.prototxt:2:{column}: Caffe ignores '{name}' of {holder}: "
        f"it reads transform_param.{name}",
    )


def test_window_data_reads_its_own_scale() -> None:
    source = 'layer { name: "d" type: "WindowData" top: "x" window_data_param { scale: 0.5 crop_size: 3 } }'
    (note,) = upgraded(source).notes
    assert "'crop_size' of window_data_param: it reads transform_param.crop_size" in note


def test_every_layer_without_a_type_is_named() -> None:
    found = problems(upgraded, 'layer { name: "a" }\nlayer { type: "ReLU" }\nlayer { name: "b" type: "" }')
    assert [(p.line, p.layer, p.message) for p in found] == [
        (1, "a", "the layer has no type"),
        (3, "b", "the layer has no type"),
    ]
