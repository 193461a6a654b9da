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
