"""The commands of data, `convert`, `mean` and `db`, end to end on Caffe's own databases."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from proto2torch.cli import main

TOOLS = Path(__file__).parents[1] / "golden" / "data" / "tools"


def run(*args: str) -> Result:
    return CliRunner().invoke(main, args)


def test_convert_imageset_with_caffes_flags_then_mean(tmp_path: Path) -> None:
    db, mean = str(tmp_path / "db"), tmp_path / "mean.binaryproto"
    done = run("convert", "imageset", "--backend", "leveldb", f"{TOOLS}/images/", f"{TOOLS}/list.txt", db)
    assert (done.exit_code, done.stdout, done.stderr) == (0, "", f"{db}: 12 images\n")
    done = run("mean", db, "-o", str(mean))
    assert done.exit_code == 0
    assert mean.read_bytes() == (TOOLS / "mean.binaryproto").read_bytes()
    assert done.stdout.splitlines()[0] == "mean_value channel [0]: 127.085"
    means = json.loads(run("mean", db, "--json").stdout)
    assert means["shape"] == [3, 40, 48] and means["mean_value"][2] == pytest.approx(126.6255, abs=1e-4)


def test_every_flag_of_convert_imageset(tmp_path: Path) -> None:
    flags = "--gray --shuffle --seed 1 --resize_width 9 --resize_height 8 --check_size --encoded --encode_type png -j 2"
    done = run("convert", "imageset", *flags.split(), f"{TOOLS}/images/", f"{TOOLS}/list.txt", str(tmp_path / "db"))
    assert done.exit_code == 0
    info = json.loads(run("db", "info", "--json", str(tmp_path / "db")).stdout)
    assert info["shapes"] == [{"channels": 1, "height": 8, "width": 9, "kind": "encoded", "count": 12}]


def test_db_info_show_and_copy(tmp_path: Path) -> None:
    info = run("db", "info", str(TOOLS / "lmdb_raw"))
    assert info.exit_code == 0
    assert info.stdout.splitlines()[:3] == [
        "12 records, lmdb",
        "keys    00000000_im00.jpg to 00000011_im11.png",
        "images  12 of 3 x 40 x 48, uint8",
    ]
    sheet = tmp_path / "sheet.png"
    shown = run("db", "show", str(TOOLS / "lmdb_raw"), "--first", "1", "--count", "2", "-o", str(sheet))
    assert shown.stdout.splitlines()[1] == "00000002_im02.jpg  label 2  3 x 40 x 48 uint8"
    with Image.open(sheet) as image:
        assert image.size == (100, 42)
    assert run("db", "show", str(TOOLS / "lmdb_raw"), "-o", "x.gif").exit_code == 2
    assert run("db", "copy", str(TOOLS / "leveldb_raw"), str(tmp_path / "copy")).exit_code == 0
    assert json.loads(run("db", "info", "--json", str(tmp_path / "copy")).stdout)["backend"] == "lmdb"


def test_folder_writes_the_labels_beside_the_database(tmp_path: Path) -> None:
    (tmp_path / "root" / "cats").mkdir(parents=True)
    Image.new("RGB", (3, 2)).save(tmp_path / "root" / "cats" / "a.png")
    done = run("convert", "folder", str(tmp_path / "root"), str(tmp_path / "db"))
    assert done.exit_code == 0
    assert (tmp_path / "db.labels.txt").read_text() == "cats\n"


def test_what_is_wrong_ends_in_one_message_and_status_2(tmp_path: Path) -> None:
    done = run("convert", "imageset", "nowhere/", f"{TOOLS}/list.txt", str(tmp_path / "db"))
    assert done.exit_code == 2
    assert done.stderr.startswith(f"error: {TOOLS}/list.txt:1: cannot read the image 'nowhere/im00.jpg'")
    assert run("mean", str(tmp_path / "nowhere")).exit_code == 2
    assert run("db", "info", str(tmp_path)).exit_code == 2
    assert run("convert", "cifar10", str(tmp_path), str(tmp_path)).exit_code == 2
    assert list(tmp_path.iterdir()) == []
