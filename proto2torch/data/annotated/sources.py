"""Annotations as data sets come with them: an XML file an image (PASCAL VOC), or one JSON file for all (COCO)."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from xml.etree import ElementTree

from proto2torch.errors import DataError, Where, why


class Marked(NamedTuple):
    """One object: the name of what it is, its box in pixels, and whether it is hard to tell."""

    name: str
    box: tuple[float, float, float, float]
    difficult: bool


@dataclass(frozen=True)
class Pictured:
    """An image file and what is marked in it; `size` is (width, height), None where only the image tells."""

    path: str
    objects: Sequence[Marked]
    where: Where
    size: tuple[float, float] | None = None


@dataclass(frozen=True)
class Annotations:
    """The images of a data set, and the names of its classes in their own order, with what is shown for each."""

    images: list[Pictured]
    classes: dict[str, str] = field(default_factory=dict)


def read(root: str, listed: str) -> Annotations:
    """What `listed` says of the images under `root`: a .json file of COCO's, or a list, a line each of the path of an
    image and that of its .xml file.

    Raises:
        DataError: a file cannot be read, or is not what it should be; with its line.
    """
    return coco(listed) if listed.lower().endswith(".json") else voc(root, listed)


def voc(root: str, listed: str) -> Annotations:
    """The images of a list, and the XML file of each."""
    images = []
    for number, line in enumerate(_read(listed, Where(file=listed)).splitlines(), start=1):
        if not line.strip():
            continue
        text = line.decode(errors="backslashreplace")
        where = Where(file=listed, line=number, column=1, text=text)
        path, space, xml = os.fsdecode(line.strip()).rpartition(" ")
        if not space or not path:
            raise DataError(f"expected an image, a space and its .xml file. Received: {text!r}", where=where)
        if not xml.lower().endswith(".xml"):
            raise DataError(f"expected the .xml file of the image. Received: {xml!r}", where=where)
        images.append(_voc(path, root + xml))
    if not images:
        raise DataError("the list is empty", where=Where(file=listed))
    classes = sorted({one.name for image in images for one in image.objects})
    return Annotations(images, {name: name for name in classes})


def _voc(path: str, xml: str) -> Pictured:
    where = Where(file=xml)
    try:
        top = ElementTree.fromstring(_read(xml, where))
    except ElementTree.ParseError as error:
        raise DataError(f"is no XML: {error}", where=where) from error
    width, height = (_number(top.findtext(f"size/{side}", "0"), where) for side in ("width", "height"))
    objects = [_voc_object(one, where) for one in top.findall("object")]
    return Pictured(path, objects, where, (width, height) if width > 0 and height > 0 else None)


def _voc_object(one: Any, where: Where) -> Marked:
    name = one.findtext("name")
    corners = [one.findtext(f"bndbox/{corner}") for corner in ("xmin", "ymin", "xmax", "ymax")]
    if not name or None in corners:
        raise DataError("an object needs a name and a bndbox of xmin, ymin, xmax and ymax", where=where)
    box = tuple(_number(corner, where) for corner in corners)
    return Marked(name.strip(), box, one.findtext("difficult", "0").strip() == "1")  # type: ignore[arg-type]


def coco(path: str) -> Annotations:
    """The images of COCO's instances_….json; crowds are difficult."""
    where = Where(file=path)
    try:
        whole = json.loads(_read(path, where))
        if not isinstance(whole, dict):
            raise DataError(
                f"is not COCO's instances: expected an object. Received: {type(whole).__name__}", where=where
            )
        names = {entry["id"]: str(entry["name"]) for entry in whole["categories"]}
        if len(names) != len(whole["categories"]):
            raise DataError("two categories have one id", where=where)
        marked: dict[Any, list[Marked]] = {entry["id"]: [] for entry in whole["images"]}
        for entry in whole["annotations"]:
            x, y, width, height = (_number(value, where) for value in entry["bbox"])
            crowd = bool(entry.get("iscrowd", 0))
            if entry["image_id"] not in marked:
                raise DataError(f"no image has the id {entry['image_id']}", where=where)
            marked[entry["image_id"]].append(Marked(str(entry["category_id"]), (x, y, x + width, y + height), crowd))
            if entry["category_id"] not in names:
                raise DataError(f"no category has the id {entry['category_id']}", where=where)
        images = [
            Pictured(str(one["file_name"]), marked[one["id"]], where, _coco_size(one, where)) for one in whole["images"]
        ]
    except json.JSONDecodeError as error:
        where = Where(file=path, line=error.lineno, column=error.colno)
        raise DataError(f"is no JSON: {error.msg.lower()}", where=where) from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        what = f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else str(error)
        raise DataError(f"is not COCO's instances: {what}", where=where) from error
    if not images:
        raise DataError("has no images", where=where)
    return Annotations(images, {str(key): name for key, name in sorted(names.items())})


def _coco_size(one: Any, where: Where) -> tuple[float, float] | None:
    width, height = (_number(one.get(side, 0), where) for side in ("width", "height"))
    return (width, height) if width > 0 and height > 0 else None


def _read(path: str, where: Where) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise DataError(f"cannot read the file: {why(error)}", where=where) from error


def _number(value: Any, where: Where) -> float:
    """A finite number, of a text or of JSON."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise DataError(f"expected a number. Received: {value!r}", where=where)
    return number
