"""convert_imageset, byte for byte as Caffe's tool wrote the golden databases, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import lmdb
import numpy as np
import pytest

from proto2torch.data import LMDB
from proto2torch.data.convert.imageset import Imageset, convert_folder, convert_imageset
from proto2torch.errors import DataError, Proto2TorchError
from proto2torch.prototxt.schema import new

from ..leveldbs import ours
from ..records import GOLDEN, pictures
from .test_mnist import contents

TOOLS = GOLDEN / "tools"
IMAGES = f"{TOOLS}/images/"


@pytest.mark.parametrize(
    ("name", "flags"),
    [
        ("lmdb_raw", {}),
        ("lmdb_gray", {"gray": True}),
        ("lmdb_resized", {"resize_width": 30, "resize_height": 24}),
        ("lmdb_encoded", {"encoded": True, "encode_type": "jpg"}),
        ("lmdb_raw", {"check_size": True, "jobs": 1}),
        ("lmdb_raw", {"resize_height": 24}),
    ],
)
def test_caffes_databases_byte_for_byte(tmp_path: Path, name: str, flags: dict[str, Any]) -> None:
    done = convert_imageset(IMAGES, str(TOOLS / "list.txt"), str(tmp_path / "db"), Imageset(**flags))
    assert (done.count, done.bad) == (12, [])
    assert contents(tmp_path / "db") == contents(TOOLS / name)


def test_caffes_leveldb(tmp_path: Path) -> None:
    convert_imageset(IMAGES, str(TOOLS / "list.txt"), str(tmp_path / "db"), Imageset(backend="leveldb"))
    assert ours(tmp_path / "db") == ours(TOOLS / "leveldb_raw")


def test_encoded_keeps_the_file_where_its_type_is_wanted(tmp_path: Path) -> None:
    convert_imageset(IMAGES, str(TOOLS / "list.txt"), str(tmp_path / "db"), Imageset(encoded=True))
    for key, value in contents(tmp_path / "db").items():
        datum = new("Datum").FromString(value)
        assert datum.encoded and (datum.channels, datum.height, datum.width) == (0, 0, 0)
        assert datum.data == (TOOLS / "images" / key.decode().split("_")[1]).read_bytes()


def test_encoded_anew_as_png_is_the_same_image(tmp_path: Path) -> None:
    convert_imageset(IMAGES, str(TOOLS / "list.txt"), str(tmp_path / "db"), Imageset(encode_type="png", gray=True))
    for key, value in contents(tmp_path / "db").items():
        encoded = np.frombuffer(new("Datum").FromString(value).data, np.uint8)
        expected = cv2.imread(IMAGES + key.decode().split("_")[1], cv2.IMREAD_GRAYSCALE)
        how = cv2.IMREAD_UNCHANGED if key.endswith(b"jpg") else cv2.IMREAD_GRAYSCALE  # a PNG is kept as it is
        assert np.array_equal(cv2.imdecode(encoded, how), expected)


def test_shuffled_keys_count_the_new_order(tmp_path: Path) -> None:
    convert_imageset(IMAGES, str(TOOLS / "list.txt"), str(tmp_path / "db"), Imageset(shuffle=True, seed=3))
    keys = [key.decode().split("_") for key in contents(tmp_path / "db")]
    assert [number for number, _ in keys] == [f"{n:08d}" for n in range(12)]
    names = [name for _, name in keys]
    assert sorted(names) == sorted(p.name for p in (TOOLS / "images").iterdir()) != names


def test_many_images_and_jobs_keep_their_order(tmp_path: Path) -> None:
    for number, image in enumerate(pictures(150, (2, 3, 3))):
        cv2.imwrite(str(tmp_path / f"{number}.png"), image)
    (tmp_path / "list.txt").write_text("".join(f"{number}.png {number}\n" for number in range(150)))
    convert_imageset(f"{tmp_path}/", str(tmp_path / "list.txt"), str(tmp_path / "db"), Imageset(jobs=3))
    found = LMDB(tmp_path / "db")
    assert [label for _, label in found] == list(range(150))


def broken(folder: Path) -> str:
    """A list of a good image, one cut short, one absent, and a good one."""
    image = (TOOLS / "images" / "im02.jpg").read_bytes()
    for name, kept in (("a.jpg", None), ("cut.jpg", -100), ("z.jpg", None)):
        (folder / name).write_bytes(image[:kept])
    (folder / "list.txt").write_text("a.jpg 1\ncut.jpg 2\ngone.jpg 3\nz.jpg 4\n")
    return str(folder / "list.txt")


def test_an_image_that_cannot_be_read_stops_the_run_and_leaves_nothing(tmp_path: Path) -> None:
    listed = broken(tmp_path)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(DataError, match=r"list.txt:2: cannot decode the image '.*cut.jpg': ") as caught:
        convert_imageset(f"{tmp_path}/", listed, str(tmp_path / "db"))
    assert caught.value.hint == "--skip-bad leaves such images out"
    assert sorted(tmp_path.iterdir()) == before


def test_skip_bad_names_and_counts_them_and_skips_their_numbers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done = convert_imageset(f"{tmp_path}/", broken(tmp_path), str(tmp_path / "db"), Imageset(skip_bad=True))
    assert (done.count, len(done.bad)) == (2, 2)
    assert list(contents(tmp_path / "db")) == [b"00000000_a.jpg", b"00000003_z.jpg"]
    shown = capsys.readouterr().err
    assert "cut.jpg" in shown and "gone.jpg': no such file or directory" in shown


def test_none_that_can_be_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="none of its images could be read"):
        convert_imageset("nowhere/", str(TOOLS / "list.txt"), str(tmp_path / "db"), Imageset(skip_bad=True))
    assert list(tmp_path.iterdir()) == []


def test_check_size(tmp_path: Path) -> None:
    for number, shape in enumerate([(4, 5, 3), (4, 6, 3)]):
        cv2.imwrite(str(tmp_path / f"{number}.png"), pictures(1, shape)[0])
    (tmp_path / "list.txt").write_text("0.png 0\n1.png 1\n")
    with pytest.raises(
        DataError, match=r"list.txt:2: all images must have one size, 60 bytes .* Received: 72 of '1.png'"
    ):
        convert_imageset(f"{tmp_path}/", str(tmp_path / "list.txt"), str(tmp_path / "db"), Imageset(check_size=True))


def test_a_type_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot encode the image .* as 'webp': jpg and png can be written"):
        convert_imageset(IMAGES, str(TOOLS / "list.txt"), str(tmp_path / "db"), Imageset(encode_type="webp"))


def test_a_database_that_exists(tmp_path: Path) -> None:
    (tmp_path / "db").mkdir()
    with pytest.raises(DataError, match="there is something already"):
        convert_imageset(IMAGES, str(TOOLS / "list.txt"), str(tmp_path / "db"))


def test_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.mkdtemp", refuse)
    with pytest.raises(DataError, match=r"cannot write .*db: permission denied"):
        convert_imageset(IMAGES, str(TOOLS / "list.txt"), str(tmp_path / "db"))


def test_a_path_that_is_too_long_for_a_key(tmp_path: Path) -> None:
    folder = tmp_path / ("a" * 200) / ("b" * 200) / ("c" * 200)
    folder.mkdir(parents=True)
    cv2.imwrite(str(folder / "1.png"), pictures(1, (4, 5, 3))[0])
    (tmp_path / "list.txt").write_text(f"{folder.relative_to(tmp_path)}/1.png 3\n")
    with pytest.raises(DataError, match=r"a key of an LMDB has 1 to 511 bytes. Received: 617, b'00000000_aaa"):
        convert_imageset(f"{tmp_path}/", str(tmp_path / "list.txt"), str(tmp_path / "db"))
    assert not (tmp_path / "db").exists()
    leveldb = Imageset(backend="leveldb")
    assert convert_imageset(f"{tmp_path}/", str(tmp_path / "list.txt"), str(tmp_path / "db"), leveldb).count == 1


def test_a_size_that_takes_gigabytes(tmp_path: Path) -> None:
    how = Imageset(resize_width=100_000, resize_height=100_000)
    with pytest.raises(DataError, match=r"to resize to at most 89478485 pixels. Received: 100000 x 100000"):
        convert_imageset(IMAGES, str(TOOLS / "list.txt"), str(tmp_path / "db"), how)


def test_class_folders(tmp_path: Path) -> None:
    images = pictures(3, (3, 4, 5))
    for image, name in zip(images, ["tulip/2.png", "rose/1.png", "tulip/1.png"], strict=True):
        (tmp_path / "root" / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(tmp_path / "root" / name), image.transpose(1, 2, 0))
    (tmp_path / "root" / "tulip" / "notes.txt").write_text("not an image")
    done, classes = convert_folder(str(tmp_path / "root"), str(tmp_path / "db"), str(tmp_path / "labels.txt"))
    assert done.count == 3 and classes == ["rose", "tulip"]
    assert (tmp_path / "labels.txt").read_text() == "rose\ntulip\n"
    found = LMDB(tmp_path / "db")
    assert found.keys == [b"00000000_rose/1.png", b"00000001_tulip/1.png", b"00000002_tulip/2.png"]
    assert [label for _, label in found] == [0, 1, 1]
    with pytest.raises(Proto2TorchError, match="no such file or directory"):
        convert_folder(str(tmp_path / "root"), str(tmp_path / "other"), str(tmp_path / "nowhere" / "labels.txt"))
    assert not (tmp_path / "other").exists()
    assert np.array_equal(np.stack([image for image, _ in found]), images[[1, 2, 0]])


def test_folders_without_images(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there are no folders in it, one a class"):
        convert_folder(str(tmp_path), str(tmp_path / "db"), str(tmp_path / "labels"))
    (tmp_path / "cats").mkdir()
    with pytest.raises(DataError, match="there are no images in its folders"):
        convert_folder(str(tmp_path), str(tmp_path / "db"), str(tmp_path / "labels"))
    with pytest.raises(DataError, match="cannot read the folder: no such file or directory"):
        convert_folder(str(tmp_path / "nowhere"), str(tmp_path / "db"), str(tmp_path / "labels"))


def test_a_map_that_is_full_grows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proto2torch.data.new_database._FIRST_SIZE", 1 << 16)
    convert_imageset(IMAGES, str(TOOLS / "list.txt"), str(tmp_path / "db"))
    assert contents(tmp_path / "db") == contents(TOOLS / "lmdb_raw")
    lmdb.open(str(tmp_path / "db"), readonly=True, lock=False).close()
