"""`proto2torch convert mnist`, from idx files of a few pixels."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from click.testing import CliRunner

from proto2torch.cli import main


@pytest.fixture
def idx(tmp_path: Path) -> tuple[str, str]:
    """Three images of 2 x 2 pixels and their labels."""
    images, labels = tmp_path / "images", tmp_path / "labels"
    images.write_bytes(struct.pack(">4I", 2051, 3, 2, 2) + bytes(range(12)))
    labels.write_bytes(struct.pack(">2I", 2049, 3) + bytes([7, 8, 9]))
    return str(images), str(labels)


def test_writes_a_database_and_says_so(idx: tuple[str, str], tmp_path: Path) -> None:
    database = tmp_path / "db"
    result = CliRunner().invoke(main, ["convert", "mnist", *idx, str(database)])
    assert result.exit_code == 0, result.stderr
    assert result.stdout == ""
    assert result.stderr == f"{database}: 3 images\n"
    assert (database / "data.mdb").is_file()


def test_files_in_the_wrong_order_are_refused(idx: tuple[str, str], tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["convert", "mnist", *reversed(idx), str(tmp_path / "db")])
    assert result.exit_code == 2
    assert "images come first" in result.stderr
    assert not (tmp_path / "db").exists()


TOOLS = Path(__file__).parents[1] / "golden" / "data" / "tools"


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("-backend leveldb -gray -resize_width 9 -resize_height=8", ("leveldb", 1, 8, 9, "uint8")),
        ("--backend=lmdb --gray=false --noshuffle --logtostderr=1 --encoded=true", ("lmdb", 0, 0, 0, "encoded")),
        ("-encode_type=png -check_size=f --minloglevel 2 -nogray", ("lmdb", 0, 0, 0, "encoded")),
        ("--shuffle=1 --seed 3 --resize-width=9 --resize_height 8", ("lmdb", 3, 8, 9, "uint8")),
    ],
)
def test_flags_in_the_spellings_of_caffes_tools(
    flags: str, expected: tuple[str, int, int, int, str], tmp_path: Path
) -> None:
    from proto2torch.data.inspect import summary

    arguments = ["convert", "imageset", *flags.split(), f"{TOOLS}/images/", f"{TOOLS}/list.txt", f"{tmp_path}/db"]
    done = CliRunner().invoke(main, arguments)
    assert (done.exit_code, done.stderr) == (0, f"{tmp_path}/db: 12 images\n")
    found = summary(f"{tmp_path}/db")
    (channels, height, width, kind), count = found.shapes.most_common(1)[0]
    backend, *extent, expected_kind = expected
    assert (found.backend, kind) == (backend, expected_kind)
    if kind == "uint8":
        assert (channels, height, width, count) == (*extent, 12)


@pytest.mark.parametrize("flag", ["--shuffle=perhaps", "--noshuffle=true", "-backend=rocksdb", "--nobackend", "-what"])
def test_flags_that_caffes_tools_do_not_have(flag: str, tmp_path: Path) -> None:
    arguments = ["convert", "imageset", flag, f"{TOOLS}/images/", f"{TOOLS}/list.txt", f"{tmp_path}/db"]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 2 and done.stderr.startswith("error: ") and not (tmp_path / "db").exists()


def test_mean_as_compute_image_mean_is_called(tmp_path: Path) -> None:
    arguments = ["mean", "-backend=lmdb", f"{TOOLS}/lmdb_raw", f"{tmp_path}/mean.binaryproto"]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.stderr
    assert (tmp_path / "mean.binaryproto").read_bytes() == (TOOLS / "mean.binaryproto").read_bytes()
    assert CliRunner().invoke(main, [*arguments, "-o", f"{tmp_path}/other"]).exit_code == 2
