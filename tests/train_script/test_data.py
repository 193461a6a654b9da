"""What a script reads is what the net's own data layers give."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from PIL import Image

from proto2torch import data
from proto2torch.errors import DataError, UnsupportedError
from proto2torch.prototxt.read import read_net

from .cases import GOLDEN, executed, solved

TOOLS = GOLDEN / "tools"
HEAD = """
layer { name: "pool" type: "Pooling" bottom: "data" top: "pool" pooling_param { pool: AVE global_pooling: true } }
layer { name: "fc" type: "InnerProduct" bottom: "pool" top: "fc" inner_product_param { num_output: 9 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "label" top: "loss" }
"""
SOLVER = 'base_lr: 0.01 lr_policy: "fixed" max_iter: 4 snapshot_prefix: "s" random_seed: 3 '


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Copies of the golden databases: a process opens an LMDB only once."""
    for name in ("lmdb_raw", "lmdb_gray", "lmdb_resized", "lmdb_encoded", "leveldb_raw"):
        shutil.copytree(TOOLS / name, tmp_path / name)
    shutil.copy(TOOLS / "mean.binaryproto", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def batches(namespace: Any, count: int, first: int = 0, workers: int = 0) -> list[list[torch.Tensor]]:
    training = namespace["Training"]("cpu", 3, workers)
    training.iteration = first
    feed = training.train_batches()
    return [next(feed) for _ in range(count)]


def fed(layer: str, count: int, phase: str = "TRAIN") -> list[Sequence[torch.Tensor]]:
    """The batches of the layer's own feed."""
    feed = data.open(read_net(text=layer).layers[0], phase)
    try:
        return [feed.next() for _ in range(count)]
    finally:
        feed.close()


def assert_same(ours: list[list[torch.Tensor]], theirs: list[Sequence[torch.Tensor]]) -> None:
    assert len(ours) == len(theirs)
    for mine, its in zip(ours, theirs, strict=True):
        assert [tensor.dtype for tensor in mine] == [torch.float32] * len(its)
        for a, b in zip(mine, its, strict=True):
            assert torch.equal(a, b)


def layer(kind: str, param: str, transform: str = "") -> str:
    return f'layer {{ name: "data" type: "{kind}" top: "data" top: "label" transform_param {{ {transform} }} {param} }}'


LMDB = 'data_param {{ source: "{}" batch_size: 5 backend: LMDB }}'


@pytest.mark.parametrize(
    ("database", "transform"),
    [
        ("lmdb_raw", ""),
        ("lmdb_raw", "scale: 0.00390625"),
        ("lmdb_raw", 'mean_file: "mean.binaryproto" scale: 0.5'),
        ("lmdb_raw", "mean_value: 104 mean_value: 117.5 mean_value: 123"),
        ("lmdb_gray", "mean_value: 100"),
        ("lmdb_resized", ""),
        ("lmdb_encoded", "scale: 2"),
        ("lmdb_encoded", "force_color: true"),
    ],
)
def test_databases(database: str, transform: str, tools: Path) -> None:
    definition = layer("Data", LMDB.format(database), transform)
    if transform == "scale: 2":  # its images are grey and coloured
        definition = definition.replace("batch_size: 5", "batch_size: 1")
    made = solved(tools, definition + HEAD, SOLVER)
    for name, array in made.arrays.items():
        np.save(name, array)
    assert ("mean_file" in transform) == bool(made.arrays)
    namespace, theirs = executed(made), fed(definition, 3)
    assert_same(batches(namespace, 3), theirs)
    assert_same(batches(namespace, 1, first=2), theirs[2:])
    assert ("Image" in namespace) == (database == "lmdb_encoded")


def test_databases_of_the_test_phase_take_the_middle(tools: Path) -> None:
    definition = layer("Data", LMDB.format("lmdb_raw"), "crop_size: 7 mean_value: 9 scale: 0.25")
    train = definition.replace("transform_param", "include { phase: TRAIN } transform_param")
    test = definition.replace("transform_param", "include { phase: TEST } transform_param")
    namespace = executed(solved(tools, train + test + HEAD, SOLVER + "test_iter: 2 test_interval: 2"))
    theirs = fed(definition, 3, "TEST")
    training = namespace["Training"]("cpu", 3, 0)
    feed = training.test_batches()
    assert_same([next(feed) for _ in range(2)], theirs[:2])
    training.tests = 1
    assert_same([next(training.test_batches())], theirs[2:])


def test_crops_and_mirrors_are_parts_of_the_image_and_follow_from_the_seed(tools: Path) -> None:
    whole = fed(layer("Data", LMDB.format("lmdb_raw"), "mean_value: 3 scale: 0.5"), 4)
    definition = layer("Data", LMDB.format("lmdb_raw"), "crop_size: 7 mirror: true mean_value: 3 scale: 0.5")
    namespace = executed(solved(tools, definition + HEAD, SOLVER))
    found = batches(namespace, 4)
    kinds = set()
    for (images, labels), (sources, expected) in zip(found, whole, strict=True):
        assert torch.equal(labels, expected)
        for image, source in zip(images, sources, strict=True):
            rows, columns = source.shape[1] - 7 + 1, source.shape[2] - 7 + 1
            places = [
                (mirrored, top, left)
                for mirrored in (False, True)
                for top in range(rows)
                for left in range(columns)
                if torch.equal(image.flip(2) if mirrored else image, source[:, top : top + 7, left : left + 7])
            ]
            assert places
            kinds.add(places[0])
    assert len(kinds) > 10 and len({mirrored for mirrored, _, _ in kinds}) == 2
    again = batches(namespace, 1, first=2)
    assert torch.equal(again[0][0], found[2][0])
    assert torch.equal(batches(namespace, 1, first=2, workers=2)[0][0], found[2][0])
    other = namespace["Training"]("cpu", 4, 0).train_batches()
    assert not torch.equal(next(other)[0], found[0][0])


def test_floats_negative_labels_and_what_is_no_datum(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import lmdb

    from proto2torch.train_script.carried import database

    def varint(number: int) -> bytes:
        out = bytearray()
        while number > 127:
            out.append(number & 127 | 128)
            number >>= 7
        return bytes([*out, number])

    shape = b"".join(bytes([field << 3, extent]) for field, extent in ((1, 1), (2, 1), (3, 3)))
    label = b"\x28" + varint(2**64 - 7)
    packed = b"\x32\x0c" + np.array([1.5, -2, 3], "<f4").tobytes()
    single = b"".join(b"\x35" + np.array([x], "<f4").tobytes() for x in (1.5, -2, 3))
    for floats in (packed, single):
        image, number = database.read_datum(shape + floats + label)
        assert image.tolist() == [[[1.5, -2, 3]]] and number == -7
    with pytest.raises(ValueError, match="not a Datum"):
        database.message_fields(b"\x0b")
    with lmdb.open(str(tmp_path / "db")) as made, made.begin(write=True) as transaction:
        transaction.put(b"k", shape + b"\x22\x03abc" + label)
    found = database.Database(str(tmp_path / "db"))[4]
    assert found[0].tolist() == [[[97, 98, 99]]] and found[1] == -7


def images(folder: Path) -> str:
    draw = np.random.default_rng(0)
    lines = []
    for i in range(5):
        Image.fromarray(draw.integers(0, 256, (12, 10, 3), np.uint8)).save(folder / f"im {i}.png")
        lines.append(f"im {i}.png {i % 3}")
    (folder / "list.txt").write_text("\n".join(lines) + "\n")
    return 'image_data_param { source: "list.txt" batch_size: 4 %s }'


@pytest.mark.parametrize(
    ("fields", "transform"), [("", "scale: 0.5"), ("is_color: false", ""), ('root_folder: "./"', "mean_value: 7")]
)
def test_lists_of_images(fields: str, transform: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    definition = layer("ImageData", images(tmp_path) % fields, transform)
    theirs = fed(definition, 3)
    ours = batches(executed(solved(tmp_path, definition + HEAD, SOLVER)), 3)
    if "false" not in fields:
        assert_same(ours, theirs)
    for mine, its in zip(ours, theirs, strict=True):
        assert torch.equal(mine[1], its[1]) and float((mine[0] - its[0]).abs().max()) <= 1


def test_images_are_resized_to_within_one_level(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    definition = layer("ImageData", images(tmp_path) % "new_height: 7 new_width: 9")
    made = solved(tmp_path, definition + HEAD, SOLVER)
    for mine, its in zip(batches(executed(made), 2), fed(definition, 2), strict=True):
        assert mine[0].shape == (4, 3, 7, 9) and float((mine[0] - its[0]).abs().max()) <= 1
    assert "within one level" in made.text


def test_shuffled_images_come_once_a_pass_in_another_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    definition = layer("ImageData", images(tmp_path).replace("batch_size: 4", "batch_size: 5") % "shuffle: true")
    whole = [image.tolist() for image in fed(definition.replace("shuffle: true", ""), 1)[0][0]]
    namespace = executed(solved(tmp_path, definition + HEAD, SOLVER))
    orders = [[whole.index(image.tolist()) for image in batch[0]] for batch in batches(namespace, 4)]
    assert all(sorted(order) == list(range(5)) for order in orders)
    assert len({tuple(order) for order in orders}) > 1


def hdf5(folder: Path) -> str:
    for i, rows in enumerate((5, 3)):
        with h5py.File(folder / f"part{i}.h5", "w") as file:
            file["data"] = np.arange(rows * 4, dtype=np.float64).reshape(rows, 4, 1, 1) + 100 * i
            file["label"] = np.arange(rows) % 3
    (folder / "parts.txt").write_text("part0.h5\npart1.h5\n")
    param = 'hdf5_data_param { source: "parts.txt" batch_size: 3 }'
    return f'layer {{ name: "data" type: "HDF5Data" top: "data" top: "label" {param} }}'


def test_rows_of_several_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    definition = hdf5(tmp_path)
    namespace = executed(solved(tmp_path, definition + HEAD, SOLVER))
    assert_same(batches(namespace, 6), fed(definition, 6))
    assert_same(batches(namespace, 1, first=4), fed(definition, 5)[4:])


def test_shuffled_rows_stay_with_their_file_and_come_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    definition = hdf5(tmp_path).replace("batch_size: 3", "batch_size: 8 shuffle: true")
    rows = [
        batch[0][:, 0, 0, 0].tolist() for batch in batches(executed(solved(tmp_path, definition + HEAD, SOLVER)), 8)
    ]
    for order in rows:
        assert sorted(order) == [0, 4, 8, 12, 16, 100, 104, 108]
        assert [x < 100 for x in order] in ([True] * 5 + [False] * 3, [False] * 3 + [True] * 5)
    assert len({tuple(order) for order in rows}) > 2


def test_files_beside_the_prototxt_are_found_from_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nets").mkdir()
    definition = hdf5(tmp_path / "nets")
    made = solved(tmp_path / "nets", definition + HEAD, SOLVER)
    assert 'root="' in made.text
    assert batches(executed(made), 1)[0][0].flatten(1)[:, 0].tolist() == [0, 4, 8]


def test_arrays_that_the_caller_makes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    inputs = """layer { name: "in" type: "Input" top: "data" top: "label"
      input_param { shape { dim: 2 dim: 4 dim: 1 dim: 1 } shape { dim: 2 } } }"""
    namespace = executed(solved(tmp_path, inputs + HEAD, SOLVER))
    rows = np.arange(24.0).reshape(6, 4, 1, 1)
    np.savez("train_data.npz", data=rows, label=np.arange(6))
    found = batches(namespace, 4)
    assert [batch[1].tolist() for batch in found] == [[0, 1], [2, 3], [4, 5], [0, 1]]
    assert np.array_equal(found[2][0].numpy(), rows[4:].astype(np.float32))
    np.savez("train_data.npz", data=rows[:5], label=np.arange(5))
    with pytest.raises(ValueError, match="data: 5 rows, in batches of 2"):
        batches(namespace, 1)


def test_what_fillers_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    dummy = """layer { name: "d" type: "DummyData" top: "data" top: "label" dummy_data_param {
      shape { dim: 8 dim: 4 dim: 9 dim: 9 } shape { dim: 8 }
      data_filler { type: "gaussian" mean: 3 std: 2 } data_filler { type: "constant" value: 1 } } }"""
    first, second = batches(executed(solved(tmp_path, dummy + HEAD, SOLVER)), 2)
    assert first[1].tolist() == [1] * 8
    assert float(first[0].mean()) == pytest.approx(3, abs=0.2) and float(first[0].std()) == pytest.approx(2, abs=0.2)
    assert not torch.equal(first[0], second[0])


def test_two_data_layers_and_one_top_alone(tools: Path) -> None:
    one = layer("Data", LMDB.format("lmdb_raw")).replace('top: "label"', "")
    two = (
        layer("Data", LMDB.format("lmdb_gray"))
        .replace('"data" type', '"labels" type')
        .replace('top: "data"', 'top: "x"')
    )
    namespace = executed(solved(tools, one + two + HEAD, SOLVER))
    images, others = fed(one, 2), fed(two, 2)
    both = [(image[0], *other) for image, other in zip(images, others, strict=True)]
    assert_same(batches(namespace, 2), both)  # x, which no layer reads, is an output


REFUSED = [
    (
        'layer { name: "d" type: "Data" top: "data" top: "label" data_param { source: "leveldb_raw" batch_size: 5 } }',
        "db copy",
    ),
    (
        'layer { name: "d" type: "WindowData" top: "data" top: "label" transform_param { crop_size: 8 } '
        'window_data_param { source: "w.txt" batch_size: 5 } }',
        "cannot have WindowData layers",
    ),
]


@pytest.mark.parametrize(("definition", "said"), REFUSED)
def test_what_a_script_cannot_read_is_said(definition: str, said: str, tools: Path) -> None:
    with pytest.raises(UnsupportedError) as refused:
        solved(tools, definition + HEAD, SOLVER, shapes={"data": (5, 3, 8, 8), "label": (5,)})
    assert said in str(refused.value)


def test_a_database_that_is_not_there_is_said(tools: Path) -> None:
    with pytest.raises(DataError, match="no_such_lmdb"):
        solved(tools, layer("Data", LMDB.format("no_such_lmdb")) + HEAD, SOLVER)
