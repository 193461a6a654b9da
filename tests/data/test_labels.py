"""A label that no class has is named as its source names it: the record, the line or the row."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

import proto2torch as p2t
from proto2torch.errors import DataError

from .records import datum, pictures, write_lmdb

HEAD = """
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 10 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""


def lmdb(folder: Path) -> tuple[str, str]:
    labels = [0, 1, 2, 3, 4, 12, 6]
    write_lmdb(folder / "db", [datum(image, label) for image, label in zip(pictures(7), labels, strict=True)])
    text = f'type: "Data" data_param {{ source: "{folder}/db" batch_size: 2 backend: LMDB }}'
    return text, f"the record '00000005' of '{folder}/db'"


def image_list(folder: Path) -> tuple[str, str]:
    Image.fromarray(np.zeros((4, 5, 3), np.uint8)).save(folder / "a b.png")
    (folder / "list.txt").write_text("a b.png 1\na b.png 2\na b.png 3\na b.png 12\n")
    text = (
        f'type: "ImageData" image_data_param {{ source: "{folder}/list.txt" root_folder: "{folder}/" batch_size: 2 }}'
    )
    return text, f"'a b.png', line 4 of '{folder}/list.txt'"


def rows(folder: Path) -> tuple[str, str]:
    for name, labels in (("one.h5", [0, 1, 2]), ("two.h5", [3, 12])):
        with h5py.File(folder / name, "w") as file:
            file["data"], file["label"] = np.zeros((len(labels), 4), np.float32), np.array(labels, np.float32)
    (folder / "files.txt").write_text(f"{folder}/one.h5\n{folder}/two.h5\n")
    return (
        f'type: "HDF5Data" hdf5_data_param {{ source: "{folder}/files.txt" batch_size: 2 }}',
        f"row 1 of '{folder}/two.h5'",
    )


@pytest.mark.parametrize("source", [lmdb, image_list, rows])
def test_where_the_label_stands(tmp_path: Path, source: object) -> None:
    assert callable(source)
    layer, name = source(tmp_path)
    net = p2t.load(text=f'layer {{ name: "d" top: "data" top: "label" {layer} }} {HEAD}')
    net()
    with pytest.raises(DataError, match="Target 12 is out of bounds") as caught:
        for _ in range(3):
            net()
    assert caught.value.message.endswith(f"The label is that of {name}")
    net.close()


def test_a_label_that_was_given(tmp_path: Path) -> None:
    text = 'layer { name: "d" type: "Input" top: "data" top: "label" input_param { shape { dim: 1 dim: 4 } shape { dim: 1 } } }'
    net = p2t.load(text=text + HEAD)
    with pytest.raises(DataError, match=r"Target 12 is out of bounds\. Received: data \(1, 4\), label \(1,\)$"):
        net(data=np.zeros((1, 4)), label=np.array([12]))
