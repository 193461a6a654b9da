"""Features against what Caffe's extract_features wrote, in every format."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import h5py
import lmdb
import numpy as np
import pytest
import scipy.io
import torch

import proto2torch as p2t
from proto2torch.data.datum import parse
from proto2torch.data.records import open_records
from proto2torch.errors import DataError, Proto2TorchError
from proto2torch.training import feature_files, mat
from proto2torch.training.features import extract, images, own
from proto2torch.training.spool import Spool

TOOLS = Path(__file__).parents[1] / "golden/data/tools"
BLOBS = ["fc", "pool"]


def caffes(blob: str) -> list[tuple[bytes, bytes]]:
    """The records that Caffe wrote."""
    with lmdb.open(str(TOOLS / f"features_{blob}"), readonly=True, lock=False) as env, env.begin() as transaction:
        return [(bytes(key), bytes(value)) for key, value in transaction.cursor()]


def values(blob: str) -> np.ndarray:
    """What they hold, (12, …)."""
    found = [parse(memoryview(value)).image() for _, value in caffes(blob)]
    return np.stack(found).reshape(12, *((4,) if blob == "fc" else (5, 6, 6)))


def write(paths: list[str], blobs: list[str] = BLOBS, say: list[str] | None = None) -> None:
    net = p2t.load(str(TOOLS / "net.prototxt"), str(TOOLS / "net.caffemodel"))
    with feature_files.writing(paths, blobs, (say if say is not None else []).append) as sink:
        for batch in extract(net, blobs, own(3)):
            sink.add(batch)
    net.close()


@pytest.mark.parametrize("backend", ["lmdb", "leveldb"])
def test_databases_are_those_of_extract_features_record_by_record(backend: str, tmp_path: Path) -> None:
    paths = [str(tmp_path / f"{blob}.{backend}") for blob in BLOBS]
    write(paths)
    for path, blob in zip(paths, BLOBS, strict=True):
        records = open_records(path)
        ours = [(bytes(key), bytes(value)) for key, value in records.take(0, len(records))]
        records.close()
        theirs = caffes(blob)
        assert [key for key, _ in ours] == [key for key, _ in theirs]
        for (_, our), (_, their) in zip(ours, theirs, strict=True):
            a, b = parse(memoryview(our)), parse(memoryview(their))
            assert (a.channels, a.height, a.width, a.label) == (b.channels, b.height, b.width, b.label)
            assert len(our) == len(their)  # each float with its own tag, as Caffe's schema has it
            np.testing.assert_allclose(a.image(), b.image(), rtol=1e-4, atol=1e-8)


def test_the_bytes_of_a_record_are_caffes() -> None:
    for blob in BLOBS:
        for row, (_, value) in zip(values(blob), caffes(blob), strict=True):
            assert feature_files.float_datum(row) == value


def read(path: Path, blob: str) -> np.ndarray:
    if path.suffix == ".txt":
        return np.loadtxt(path)
    if path.suffix == ".h5":
        with h5py.File(path) as file:
            return np.asarray(file[blob])
    if path.suffix == ".mat":
        return np.asarray(scipy.io.loadmat(path)[blob])
    found = np.load(path)
    return np.asarray(found if path.suffix == ".npy" else found[blob])


@pytest.mark.parametrize("ending", [".txt", ".npy", ".npz", ".mat", ".h5"])
def test_files_hold_what_caffe_computed(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"f{ending}"
    write([str(path)])
    for blob in BLOBS:
        at = path if ending in feature_files.SEVERAL else tmp_path / f"f-{blob}{ending}"
        found, expected = read(at, blob), values(blob)
        if ending != ".txt":
            assert found.shape == expected.shape and found.dtype == np.float32
        np.testing.assert_allclose(found.reshape(expected.shape), expected, rtol=1e-4, atol=1e-8)
    assert not list(tmp_path.glob(".*"))


def test_one_blob_takes_the_name_itself_and_several_names_are_in_order(tmp_path: Path) -> None:
    write([str(tmp_path / "a.npy")], ["fc"])
    write([str(tmp_path / "b.npy"), str(tmp_path / "c.txt")], ["pool", "fc"])
    assert np.array_equal(np.load(tmp_path / "a.npy"), np.loadtxt(tmp_path / "c.txt").astype(np.float32))
    assert np.load(tmp_path / "b.npy").shape == (12, 5, 6, 6)


def test_the_text_is_numpys(tmp_path: Path) -> None:
    write([str(tmp_path / "f.txt"), str(tmp_path / "f.npy")], ["fc", "pool"])
    write([str(tmp_path / "fc.npy")], ["fc"])
    np.savetxt(tmp_path / "numpy.txt", np.load(tmp_path / "fc.npy"))
    assert (tmp_path / "f.txt").read_bytes() == (tmp_path / "numpy.txt").read_bytes()


def test_what_was_there_stays_where_the_work_fails(tmp_path: Path) -> None:
    path = tmp_path / "f.npz"
    path.write_text("before")
    with pytest.raises(RuntimeError), feature_files.writing([str(path)], ["a"]) as sink:
        sink.add({"a": np.zeros((2, 3), np.float32)})
        raise RuntimeError
    assert path.read_text() == "before"
    assert [p.name for p in tmp_path.iterdir()] == ["f.npz"]


@pytest.mark.parametrize(
    "paths, message",
    [
        (["f.png"], r"expected a name that ends in \.txt, \.npy, "),
        (["a.npy", "b.npy", "c.npy"], "expected one file, or one for each of 2 blobs. Received: 3"),
        (["a.npy", "./a.npy"], "two blobs would be written to one file"),
    ],
)
def test_names_that_cannot_be(paths: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message), feature_files.writing(paths, BLOBS):
        pass


def test_a_missing_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(Proto2TorchError, match="cannot write it"):
        write([str(tmp_path / "no/f.npy")], ["fc"])


def test_rows_must_keep_their_shape() -> None:
    text = """layer { name: "d" type: "Input" top: "d" input_param { shape { dim: 1 dim: 1 dim: 4 dim: 4 } } }
    layer { name: "p" type: "Pooling" bottom: "d" top: "p" pooling_param { kernel_size: 2 stride: 2 } }"""
    net = p2t.load(text=text)
    batches = [{"d": torch.ones(2, 1, 4, 4)}, {"d": torch.ones(1, 1, 4, 4)}, {"d": torch.ones(2, 1, 6, 6)}]
    found = extract(net, ["p"], batches)
    assert [next(found)["p"].shape for _ in range(2)] == [(2, 1, 2, 2), (1, 1, 2, 2)]
    with pytest.raises(DataError, match=r"blob 'p' must keep their shape, \(1, 2, 2\). Received: \(1, 3, 3\)"):
        next(found)


def test_matlab_names() -> None:
    names = ["fc7", "conv4_3_norm/mbox", "1x1", "end", "_a", "b" * 70, "b" * 80, "a-b", "a/b"]
    given = mat.variables(names)
    assert list(given.values())[:5] == ["fc7", "conv4_3_norm_mbox", "x1x1", "xend", "x_a"]
    assert [len(v) for v in list(given.values())[5:7]] == [63, 63]
    assert given["a-b"] == "a_b" and given["a/b"] == "a_b_2"
    assert len(set(given.values())) == len(names)


def test_a_renamed_variable_is_said(tmp_path: Path) -> None:
    said: list[str] = []
    with feature_files.writing([str(tmp_path / "f.mat")], ["a/b"], said.append) as sink:
        sink.add({"a/b": np.ones((2, 3), np.float32)})
    assert said == [f"{tmp_path}/f.mat: MATLAB's names are letters, digits and underscores: a/b is a_b"]
    assert scipy.io.loadmat(tmp_path / "f.mat")["a_b"].tolist() == [[1, 1, 1], [1, 1, 1]]


def test_large_arrays_become_matlab_7_3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mat, "LARGEST", 1000)
    monkeypatch.setattr(mat, "_BLOCK", 50)
    array, said = np.arange(5 * 3 * 4 * 6, dtype=np.float32).reshape(5, 3, 4, 6), []
    with feature_files.writing([str(tmp_path / "f.mat")], ["a"], said.append) as sink:
        sink.add({"a": array[:2]})
        sink.add({"a": array[2:]})
    head = (tmp_path / "f.mat").read_bytes()[:128]
    assert head.startswith(b"MATLAB 7.3 MAT-file") and head[124:] == b"\x00\x02IM"
    with h5py.File(tmp_path / "f.mat") as file:
        assert file["a"].attrs["MATLAB_class"] == b"single"
        assert np.array_equal(np.asarray(file["a"]).transpose(), array)  # MATLAB sees the axes the other way round
    assert "written as MATLAB 7.3" in said[0]


@pytest.mark.parametrize("shape", [(7,), (3, 1), (2, 3, 4), (4, 3, 2, 5)])
def test_scipy_reads_version_5_whatever_the_blocks(
    shape: tuple[int, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mat, "_BLOCK", 8)
    array = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    mat.write(tmp_path / "f.mat", {"a": array, "b": array * 2})
    found = scipy.io.loadmat(tmp_path / "f.mat")
    expected = array.reshape(-1, 1) if array.ndim == 1 else array
    assert np.array_equal(found["a"], expected) and np.array_equal(found["b"], expected * 2)
    assert found["a"].dtype == np.float32


def test_memory_does_not_grow_with_the_rows(tmp_path: Path) -> None:
    def most(batches: int) -> int:
        tracemalloc.start()
        with feature_files.writing([str(tmp_path / "f.npz")], ["a"]) as sink:
            for _ in range(batches):
                sink.add({"a": np.ones((64, 1024), np.float32)})
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    most(2)
    assert most(200) < most(4) + (1 << 20)  # 52 MB of rows


def test_a_spool_of_nothing_is_an_empty_array(tmp_path: Path) -> None:
    with Spool(tmp_path / "a.npy") as spool:
        assert spool.finish().shape == (0,)


def test_the_callers_own_work_is_not_in_inference_mode() -> None:
    net = p2t.load(str(TOOLS / "net.prototxt"), str(TOOLS / "net.caffemodel"))
    for _ in extract(net, BLOBS, own(1)):
        assert not torch.is_inference_mode_enabled()
        assert torch.is_grad_enabled()
    net.close()


def test_images_are_decoded_ahead_and_the_work_ends_with_the_caller(tmp_path: Path) -> None:
    seen: list[str] = []

    def prepare(path: str) -> np.ndarray:
        seen.append(path)
        return np.full(3, int(path), np.float32)

    paths = [str(number) for number in range(20)]
    found = [batch["data"] for batch in images(paths, prepare, 3, "data")]  # type: ignore[arg-type]
    assert [len(batch) for batch in found] == [3, 3, 3, 3, 3, 3, 2]
    assert torch.cat(found)[:, 0].tolist() == list(range(20))
    seen.clear()
    batches = images([str(number) for number in range(300)], prepare, 3, "data")  # type: ignore[arg-type]
    next(batches)
    batches.close()  # type: ignore[attr-defined]
    assert len(seen) <= 15
    with pytest.raises(ValueError, match="'x'"):
        list(images(["1", "x"], prepare, 1, "data"))  # type: ignore[arg-type]
