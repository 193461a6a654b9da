"""VOC's XML and COCO's JSON to a database, and every way in which they can be wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from proto2torch.cli import main
from proto2torch.data import inspect
from proto2torch.data.annotated import label_map
from proto2torch.data.annotated.convert import convert_annotated
from proto2torch.data.convert.imageset import Imageset
from proto2torch.errors import DataError
from proto2torch.prototxt import schema

PIXELS = np.random.default_rng(0).integers(0, 256, (20, 40, 3), dtype=np.uint8)


def xml(objects: str, size: str = "<width>40</width><height>20</height>") -> str:
    return f"<annotation><size>{size}</size>{objects}</annotation>"


def one(name: str, *box: float, difficult: int = 0) -> str:
    corners = "".join(f"<{c}>{v}</{c}>" for c, v in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True))
    return f"<object><name>{name}</name><difficult>{difficult}</difficult><bndbox>{corners}</bndbox></object>"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    Image.fromarray(PIXELS).save(tmp_path / "a b.png")
    Image.fromarray(PIXELS[:10]).save(tmp_path / "c.png")
    dogs = one("dog", 4, 5, 20, 15) + one("cat", 0, 0, 40, 20, difficult=1) + one("dog", 10, 0, 30, 10)
    (tmp_path / "a.xml").write_text(xml(dogs))
    (tmp_path / "c.xml").write_text(xml("", ""))
    (tmp_path / "list.txt").write_text("a b.png a.xml\nc.png c.xml\n")
    return tmp_path


def records(db: Path) -> dict[str, Any]:
    with lmdb.open(str(db), readonly=True, lock=False) as environment, environment.begin() as transaction:
        parse = schema.message_class("AnnotatedDatum").FromString
        return {bytes(key).decode(): parse(bytes(value)) for key, value in transaction.cursor()}


def convert(root: Path, listed: str = "list.txt", labels: str | None = None, **how: Any) -> dict[str, Any]:
    convert_annotated(f"{root}/", f"{root}/{listed}", f"{root}/db", labels, Imageset(**how))
    return records(root / "db")


def told(annotated: Any) -> list[tuple[int, list[tuple[int, list[float], bool]]]]:
    return [
        (
            group.group_label,
            [
                (
                    a.instance_id,
                    [round(v, 4) for v in (a.bbox.xmin, a.bbox.ymin, a.bbox.xmax, a.bbox.ymax)],
                    a.bbox.difficult,
                )
                for a in group.annotation
            ],
        )
        for group in annotated.annotation_group
    ]


def test_voc(root: Path) -> None:
    found = convert(root)
    assert list(found) == ["00000000_a b.png", "00000001_c.png"]
    first, second = found.values()
    assert told(first) == [
        (2, [(0, [0.1, 0.25, 0.5, 0.75], False), (1, [0.25, 0, 0.75, 0.5], False)]),
        (1, [(0, [0, 0, 1, 1], True)]),
    ]
    assert told(second) == []
    assert first.HasField("type")
    assert (first.datum.channels, first.datum.height, first.datum.width) == (3, 20, 40)
    assert first.datum.data == PIXELS[:, :, ::-1].transpose(2, 0, 1).tobytes()
    assert label_map.read(f"{root}/db.labelmap.prototxt").shown == {0: "background", 1: "cat", 2: "dog"}


def test_encoded_records_are_the_files(root: Path) -> None:
    first = next(iter(convert(root, encoded=True).values()))
    assert first.datum.encoded
    assert first.datum.data == (root / "a b.png").read_bytes()


def test_resized_images_keep_the_shares_of_their_boxes(root: Path) -> None:
    first = next(iter(convert(root, resize_height=10, resize_width=10).values()))
    assert (first.datum.height, first.datum.width) == (10, 10)
    assert told(first)[1] == (1, [(0, [0, 0, 1, 1], True)])


def test_a_label_map_decides(root: Path) -> None:
    items = 'item { name: "dog" label: 5 } item { name: "cat" label: 7 display_name: "Katze" }'
    (root / "map.prototxt").write_text(items)
    first = next(iter(convert(root, labels=f"{root}/map.prototxt").values()))
    assert [label for label, _ in told(first)] == [5, 7]
    assert not (root / "db.labelmap.prototxt").exists()
    assert label_map.read(f"{root}/map.prototxt").shown[7] == "Katze"


def coco(root: Path, **changes: Any) -> None:
    whole = {
        "images": [{"id": 9, "file_name": "a b.png", "width": 40, "height": 20}, {"id": 4, "file_name": "c.png"}],
        "categories": [{"id": 18, "name": "dog"}, {"id": 3, "name": "car"}],
        "annotations": [
            {"image_id": 9, "category_id": 18, "bbox": [4, 5, 16, 10]},
            {"image_id": 4, "category_id": 3, "bbox": [0, 0, 10, 10], "iscrowd": 1},
        ],
    }
    (root / "all.json").write_text(json.dumps({**whole, **changes}))


def test_coco(root: Path) -> None:
    coco(root)
    found = list(convert(root, "all.json").values())
    assert told(found[0]) == [(2, [(0, [0.1, 0.25, 0.5, 0.75], False)])]
    assert told(found[1]) == [(1, [(0, [0, 0, 0.25, 1], True)])]
    known = label_map.read(f"{root}/db.labelmap.prototxt")
    assert known.labels == {"none_of_the_above": 0, "3": 1, "18": 2}
    assert known.shown == {0: "background", 1: "car", 2: "dog"}


def refused(root: Path, listed: str = "list.txt", labels: str | None = None, **how: Any) -> str:
    with pytest.raises(DataError) as raised:
        convert(root, listed, labels, **how)
    assert not (root / "db").exists()
    return str(raised.value)


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        ("<annotation>", "is no XML: no element found"),
        (xml("<object><name>dog</name></object>"), "an object needs a name and a bndbox of xmin, ymin, xmax and ymax"),
        (xml(one("dog", 1, 2, float("nan"), 4)), "expected a number. Received: 'nan'"),
        (xml("", "<width>wide</width>"), "expected a number. Received: 'wide'"),
    ],
)
def test_an_xml_that_is_wrong_is_named(root: Path, contents: str, message: str) -> None:
    (root / "a.xml").write_text(contents)
    text = refused(root)
    assert message in text
    assert "a.xml" in text


def test_a_bomb_of_entities_is_refused(root: Path) -> None:
    entities = "".join(f'<!ENTITY a{i} "{f"&a{i - 1};" * 20}">' for i in range(1, 12))
    bomb = f'<!DOCTYPE x [<!ENTITY a0 "lol">{entities}]><annotation>&a11;</annotation>'
    (root / "a.xml").write_text(bomb)
    assert "is no XML" in refused(root)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a.png\n", "expected an image, a space and its .xml file. Received: 'a.png'"),
        ("a.png 3\n", "expected the .xml file of the image. Received: '3'"),
        ("a.png gone.xml\n", "cannot read the file: no such file or directory"),
        ("gone.png a.xml\n", "cannot read the image"),
        ("\n", "the list is empty"),
    ],
)
def test_a_list_that_is_wrong(root: Path, line: str, message: str) -> None:
    (root / "list.txt").write_text(line)
    assert message in refused(root)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": []}, "no image has the id 9"),
        ({"categories": [{"id": 3, "name": "car"}, {"id": 3, "name": "cart"}]}, "two categories have one id"),
        ({"images": [], "annotations": []}, "has no images"),
        ({"categories": [{"id": 3, "name": "car"}]}, "no category has the id 18"),
        ({"annotations": [{"image_id": 9, "category_id": 3, "bbox": [1, 2, 3]}]}, "is not COCO's instances"),
        ({"annotations": [{"image_id": 9, "category_id": 3}]}, "'bbox' is missing"),
        ({"annotations": 3}, "is not COCO's instances"),
    ],
)
def test_a_json_that_is_wrong(root: Path, changes: dict[str, Any], message: str) -> None:
    coco(root, **changes)
    assert message in refused(root, "all.json")


def test_a_json_that_is_cut(root: Path) -> None:
    (root / "all.json").write_text('{"images": [')
    assert "is no JSON" in refused(root, "all.json")


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ('item { name: "dog" label: 1 } item { name: "cat" label: 1 }', "two items have the label 1"),
        ('item { name: "dog" label: 1 } item { name: "dog" label: 2 }', "two items have the name 'dog'"),
        ('item { name: "dog" label: 1 }', "no label has the name 'cat'"),
    ],
)
def test_a_label_map_that_is_wrong(root: Path, items: str, message: str) -> None:
    (root / "map.prototxt").write_text(items)
    assert message in refused(root, labels=f"{root}/map.prototxt")


def test_sizes_are_checked_where_that_is_asked(root: Path) -> None:
    assert "all images must be of (3, 20, 40). Received: (3, 10, 40)" in refused(root, check_size=True)


def test_the_command(root: Path) -> None:
    arguments = ["convert", "annotated", f"{root}/", f"{root}/list.txt", f"{root}/db", "--encoded"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0
    assert "db: 2 images" in result.stderr
    assert "db.labelmap.prototxt: 2 classes and the background" in result.stderr
    again = CliRunner().invoke(main, arguments)
    assert again.exit_code == 2
    assert "there is something already" in again.stderr


def test_what_was_written_can_be_looked_at(root: Path) -> None:
    convert(root, encoded=True)
    found = inspect.summary(f"{root}/db")
    assert (found.count, found.bad) == (2, [])
    assert found.shapes == {(3, 20, 40, "encoded"): 1, (3, 10, 40, "encoded"): 1}
    assert inspect.show(f"{root}/db", 1)[0].image.shape == (3, 10, 40)
