from __future__ import annotations

from pathlib import Path

import pytest

from proto2torch.errors import PrototxtError
from proto2torch.prototxt import binary, read
from tests.prototxt.nets import document, layers, messages

NET = 'layers { name: "a" type: RELU bottom: "x" top: "y" blobs { data: 1 } }'
NEW = 'layer { name: "a" type: "ReLU" bottom: "x" top: "y" blobs { data: 1 } }'


def file(folder: Path, content: str | bytes) -> str:
    path = folder / "net.prototxt"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(path)


def test_a_text_file_is_upgraded_and_keeps_its_blobs(tmp_path: Path) -> None:
    path = file(tmp_path, NET)
    net = read.read_net(path)
    assert messages(net) == layers(NEW)
    assert (net.path, net.notes) == (path, ())


def test_text_takes_the_place_of_a_file() -> None:
    net = read.read_net(text=NET)
    assert messages(net) == layers(NEW)
    assert net.path is None


def test_neither_a_path_nor_text() -> None:
    with pytest.raises(TypeError, match="a path or text="):
        read.read_net()


def test_a_binary_file_is_told_by_its_content_and_loses_its_blobs(tmp_path: Path) -> None:
    path = file(tmp_path, binary.dump(document(NET).message))
    net = read.read_net(path)
    assert messages(net) == layers(NEW.replace("blobs { data: 1 }", ""))
    assert net.notes == (f"{path}: the weights in this binary net are left out",)
    assert net.layers[0].where().file == path


def test_a_binary_file_keeps_its_blobs_where_asked(tmp_path: Path) -> None:
    net = read.read_net(file(tmp_path, binary.dump(document(NET).message)), weights=True)
    assert messages(net) == layers(NEW)
    assert net.notes == ()


REFUSED = [
    (b"", "empty"),
    (b"\x89HDF\r\n\x1a\n" + bytes(64), "HDF5"),
    (bytes(range(256)), "neither the text of a net nor a whole binary net"),
    (NET.encode("utf-16"), "UTF-16"),
    (b"layer {\x01" + b" " * 100 + b"name: 'a' }", "expected the name of a field"),
]


@pytest.mark.parametrize(("content", "message"), REFUSED)
def test_what_is_no_net_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = file(tmp_path, content)
    with pytest.raises(PrototxtError, match=message) as raised:
        read.read_net(path)
    assert raised.value.file == path


@pytest.mark.parametrize("reader", [read.read_net, read.read_solver])
def test_files_that_cannot_be_read(tmp_path: Path, reader: object) -> None:
    for path in (str(tmp_path), str(tmp_path / "none.prototxt")):
        with pytest.raises(PrototxtError, match="cannot read it") as raised:
            reader(path)  # type: ignore[operator]
        assert raised.value.file == path


def test_a_solver_is_upgraded(tmp_path: Path) -> None:
    path = tmp_path / "my_solver.prototxt"
    path.write_text("solver_type: ADAM")
    solver = read.read_solver(str(path)).message
    assert (solver.type, solver.snapshot_prefix) == ("Adam", str(tmp_path / "my_solver"))
