"""What the layers without bottoms accept, and the shapes that they know without reading anything."""

from __future__ import annotations

import pytest

from proto2torch.errors import NetError
from proto2torch.layers import REGISTRY
from proto2torch.layers.base import Layer
from proto2torch.prototxt.read import read_net

from .nets import Case


def layer(kind: str, fields: str, tops: int = 2, phase: str = "TRAIN") -> Layer:
    names = " ".join(f'top: "t{i}"' for i in range(tops))
    (definition,) = read_net(text=f'layer {{ name: "layer" type: "{kind}" {names} {fields} }}').layers
    op = REGISTRY[kind](definition, phase)
    op.check()
    return op


@pytest.mark.parametrize(
    ("fields", "tops", "shapes"),
    [
        ("shape { dim: 2 dim: 3 }", 1, [(2, 3)]),
        ("shape { dim: 2 }", 3, [(2,)] * 3),
        ("shape { dim: 2 } shape { }", 2, [(2,), ()]),
        ("num: 2 channels: 3 height: 4 width: 5", 2, [(2, 3, 4, 5)] * 2),
        ("num: 2 channels: 3 channels: 1 height: 4 height: 1 width: 5 width: 1", 2, [(2, 3, 4, 5), (2, 1, 1, 1)]),
    ],
)
def test_shapes_of_dummy_data(fields: str, tops: int, shapes: list[tuple[int, ...]]) -> None:
    assert layer("DummyData", f"dummy_data_param {{ {fields} }}", tops).shapes() == shapes


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ("", "shape must be given 1 or 3 times. Received: 0"),
        ("shape { dim: 1 } shape { dim: 1 }", "shape must be given 1 or 3 times. Received: 2"),
        ("shape { dim: 1 } num: 1", "give either shape or num, channels, height and width, not both"),
        ("num: 1 channels: 1 height: 1", "width must be given 1 or 3 times. Received: 0"),
        ("num: 1 num: 2 channels: 1 height: 1 width: 1", "num must be given 1 or 3 times. Received: 2"),
        (
            "shape { dim: 1 } data_filler { } data_filler { }",
            "data_filler must be given 0 or 1 or 3 times. Received: 2",
        ),
    ],
)
def test_what_dummy_data_refuses(fields: str, message: str) -> None:
    with pytest.raises(NetError, match=message):
        layer("DummyData", f"dummy_data_param {{ {fields} }}", tops=3)


def test_shapes_of_memory_and_window_data() -> None:
    memory = "memory_data_param { batch_size: 4 channels: 3 height: 5 width: 6 }"
    assert layer("MemoryData", memory).shapes() == [(4, 3, 5, 6), (4,)]
    with pytest.raises(NetError, match="needs channels greater than zero"):
        layer("MemoryData", "memory_data_param { batch_size: 4 }")
    window = "window_data_param { batch_size: 4 } transform_param { crop_size: 8 }"
    assert layer("WindowData", window).shapes() == [(4, 3, 8, 8), (4,)]
    with pytest.raises(NetError, match=r"needs the extent of its windows, transform_param.crop_size"):
        layer("WindowData", "window_data_param { batch_size: 4 }")


def test_image_data_resizes_both_ways_or_not() -> None:
    layer("ImageData", "image_data_param { new_height: 4 new_width: 4 }")
    with pytest.raises(NetError, match="new_height and new_width go together"):
        layer("ImageData", "image_data_param { new_height: 4 }")


def test_hdf5_output_computes_nothing_and_needs_a_file() -> None:
    sink = Case("HDF5Output", 'hdf5_output_param { file_name: "out.h5" }', ((2, 3), (2,)), tops=0)
    assert [node.type for node in sink.graph().nodes] == ["Input", "Input", "HDF5Output"]
    assert sink.source().inputs == sink.source().returns == ()
    with pytest.raises(NetError, match="needs file_name"):
        Case("HDF5Output", "", ((2, 3), (2,)), tops=0).graph()
