"""What the steps of an upgrade share: a layer on its way, and the problems and notes of the file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from proto2torch.errors import Proto2TorchError, Where
from proto2torch.prototxt.document import Mark, Source


@dataclass(frozen=True, slots=True)
class Draft:
    """A message on its way to a newer format, and its mark where it came from text."""

    message: Any
    mark: Mark | None = None

    def marks(self, name: str) -> list[Mark]:
        """The marks of a field; empty where the text has none."""
        return self.mark.fields.get(name, []) if self.mark else []

    def child(self, name: str, index: int = 0) -> Draft:
        """A message field, `layer`, or the `index`-th of a repeated one."""
        value, marks = getattr(self.message, name), self.marks(name)
        value = value[index] if hasattr(value, "extend") else value
        return Draft(value, marks[index] if index < len(marks) else None)

    def move(self, name: str, to: Draft, path: str | None = None) -> None:
        """Copy the field `name`, and its marks, to `path` of another message: its own name if none is given."""
        holder, _, target = (path or name).rpartition(".")
        assign(getattr(to.message, holder) if holder else to.message, target, getattr(self.message, name))
        to.put(path or name, self.marks(name))

    def put(self, path: str, marks: Sequence[Mark]) -> None:
        """Add the marks of the field at `path`, whose holder stands where its first field stands."""
        if self.mark is None or not marks:
            return
        mark = self.mark
        *holders, target = path.split(".")
        for step in holders:
            mark = mark.fields.setdefault(step, [Mark(marks[0].offset)])[0]
        mark.fields.setdefault(target, []).extend(marks)


@dataclass
class Report:
    """The problems and the notes of one file."""

    source: Source | None
    problems: list[Proto2TorchError] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def where(self, mark: Mark | None, path: str = "", layer: str | None = None, type: str | None = None) -> Where:
        """The place of a field below `mark`, in the words of an error."""
        place = Where(file=self.source.path if self.source else None)
        if self.source is not None and mark is not None:
            place = self.source.where(mark.find(path).offset)
        return replace(place, layer=layer, type=type or None)

    def note(self, where: Where, text: str) -> None:
        """Tell the user of something that Caffe drops, overrides or ignores in silence."""
        place = str(where)
        self.notes.append(f"{place}: {text}" if place else text)


def assign(message: Any, name: str, value: Any) -> None:
    """Set a field of any kind to a copy of `value`; a repeated field takes one value, or each of several."""
    present = getattr(message, name)
    if hasattr(present, "extend"):
        present.extend(value if hasattr(value, "extend") else [value])
    elif hasattr(present, "CopyFrom"):
        present.CopyFrom(value)
    else:
        setattr(message, name, value)


def enum_names(message: Any, name: str) -> dict[int, str]:
    """The names of an enum field's values, by number."""
    values = message.DESCRIPTOR.fields_by_name[name].enum_type.values_by_number
    return {number: value.name for number, value in values.items()}
