"""LabelMap files: the names of the labels of a detection data set."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from proto2torch.errors import DataError, Where
from proto2torch.files import atomic
from proto2torch.prototxt import schema, text

BACKGROUND = ("none_of_the_above", "background")
"""The name that stands for no object, and what is shown for it."""


@dataclass(frozen=True)
class LabelMap:
    """Labels by name, and what to call each."""

    labels: dict[str, int]
    shown: dict[int, str]
    path: str = ""

    def label(self, name: str, where: Where) -> int:
        """The label of a name.

        Raises:
            DataError: the map has no such name.
        """
        if name not in self.labels:
            known = ", ".join(list(self.labels)[:30])
            message = f"no label has the name {name!r} in the label map {self.path!r}, which has: {known}"
            raise DataError(message, where=where)
        return self.labels[name]


def read(path: str) -> LabelMap:
    """The labels of a LabelMap, a prototxt of items.

    Raises:
        DataError: two items have one name or one label. PrototxtError: the file is no LabelMap.
    """
    document = text.read(path, "LabelMap")
    labels: dict[str, int] = {}
    shown: dict[int, str] = {}
    for i, item in enumerate(document.message.item):
        if item.name in labels:
            raise DataError(f"two items have the name {item.name!r}", where=document.where(f"item[{i}].name"))
        if item.label in shown:
            raise DataError(f"two items have the label {item.label}", where=document.where(f"item[{i}].label"))
        labels[item.name], shown[item.label] = item.label, item.display_name or item.name
    return LabelMap(labels, shown, path)


def write(path: str, names: Iterable[tuple[int, str, str]]) -> None:
    """Write a LabelMap of labels, names and what is shown for each, the background as label 0 before them."""
    made = schema.new("LabelMap")
    for label, name, shown in ((0, *BACKGROUND), *names):
        item = made.item.add()
        item.name, item.label, item.display_name = name, label, shown
    with atomic(path) as temporary:
        temporary.write_text(text.dump(made), encoding="utf-8")
