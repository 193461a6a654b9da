"""Graphs of nets whose databases are not there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from proto2torch.cost.reading import graph
from proto2torch.errors import DataError
from proto2torch.ir.graph import Shape
from proto2torch.prototxt.read import read_net


def shapes(fields: str, kind: str = "Data", tops: str = 'top: "data" top: "label"') -> list[Shape]:
    text = f'layer {{ name: "d" type: "{kind}" {tops} {fields} }}'
    return [value.shape for value in graph(read_net(text=text), "TRAIN").inputs]


@pytest.mark.parametrize(
    ("fields", "kind", "expected"),
    [
        ('transform_param { crop_size: 227 } data_param { source: "no" batch_size: 8 }', "Data", (8, 3, 227, 227)),
        (
            'transform_param { crop_size: 9 mean_value: 1 } data_param { source: "no" batch_size: 8 }',
            "Data",
            (8, 3, 9, 9),
        ),
        (
            "transform_param { crop_size: 9 mean_value: 1 mean_value: 2 mean_value: 3 mean_value: 4 }"
            ' data_param { source: "no" batch_size: 8 }',
            "Data",
            (8, 4, 9, 9),
        ),
        (
            'transform_param { crop_size: 9 force_gray: true } data_param { source: "no" batch_size: 8 }',
            "Data",
            (8, 1, 9, 9),
        ),
        ('image_data_param { source: "no" batch_size: 2 new_height: 5 new_width: 6 }', "ImageData", (2, 3, 5, 6)),
        (
            'image_data_param { source: "no" batch_size: 2 new_height: 5 new_width: 6 is_color: false }',
            "ImageData",
            (2, 1, 5, 6),
        ),
    ],
)
def test_what_the_fields_say_stands_in_for_the_database(fields: str, kind: str, expected: Shape) -> None:
    assert shapes(fields, kind) == [expected, expected[:1]]


def test_it_is_said() -> None:
    text = 'layer { name: "d" type: "Data" top: "x" transform_param { crop_size: 9 } data_param { source: "no_db" batch_size: 8 } }'
    (note,) = graph(read_net(text=text)).notes
    assert "'no_db' is not there: its batches are taken to be (8, 3, 9, 9)" in note
    assert "--shape x=8,3,9,9" in note


def test_where_nothing_says_the_extent_it_is_asked_for() -> None:
    with pytest.raises(DataError, match="no database is there") as caught:
        shapes('data_param { source: "no" batch_size: 8 }')
    assert "--shape data=N,C,H,W" in str(caught.value)


def test_shapes_that_are_given_count_and_nothing_is_said() -> None:
    text = 'layer { name: "d" type: "Data" top: "x" transform_param { crop_size: 9 } data_param { source: "no" batch_size: 8 } }'
    net = graph(read_net(text=text), shapes={"x": (1, 2, 3, 4)})
    assert (net.inputs[0].shape, net.notes) == ((1, 2, 3, 4), ())


def test_a_database_that_is_there_is_read() -> None:
    """Its images, not what crop_size alone would say of them, give the channels."""
    source = Path(__file__).resolve().parents[1] / "golden/data/tools/lmdb_gray"
    text = f'layer {{ name: "d" type: "Data" top: "x" transform_param {{ crop_size: 9 }} data_param {{ source: "{source}" batch_size: 8 backend: LMDB }} }}'
    net = graph(read_net(text=text))
    assert (net.inputs[0].shape, net.notes) == ((8, 1, 9, 9), ())


def test_torch_is_not_imported(tmp_path: Path) -> None:
    (tmp_path / "net.prototxt").write_text(
        'layer { name: "d" type: "Data" top: "x" transform_param { crop_size: 9 } data_param { source: "no" batch_size: 8 } }'
        'layer { name: "ip" type: "InnerProduct" bottom: "x" top: "y" inner_product_param { num_output: 2 } }'
    )
    script = (
        "import sys\nfrom proto2torch.cli import main\n"
        "main(['show', 'net.prototxt', '--phase', 'TRAIN'], standalone_mode=False)\n"
        "print([m for m in ('torch', 'h5py') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.rstrip().endswith("[]"), done.stdout
