"""What reading a prototxt gives: protobuf messages, and beside them where each field stood."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from proto2torch.errors import Where
from proto2torch.prototxt.style import Style, said


class Source:
    """The text of one file, able to turn an offset into line and column."""

    def __init__(self, text: str, path: str | None = None) -> None:
        self.text = text
        self.path = path

    @cached_property
    def _starts(self) -> list[int]:
        starts, at = [0], self.text.find("\n")
        while at >= 0:
            starts.append(at + 1)
            at = self.text.find("\n", at + 1)
        return starts

    def where(self, offset: int) -> Where:
        """The place of the character at `offset`."""
        line = bisect_right(self._starts, offset)
        start = self._starts[line - 1]
        end = self.text.find("\n", start)
        text = self.text[start : end if end >= 0 else len(self.text)].rstrip("\r")
        return Where(file=self.path, line=line, column=offset - start + 1, text=text)


@dataclass(slots=True)
class Mark:
    """Where a field's name stood, and for a message the marks of its own fields, by name, in order."""

    offset: int
    fields: dict[str, list[Mark]] = field(default_factory=dict)

    def find(self, path: str) -> Mark:
        """The mark of `convolution_param.pad` or `bottom[1]`; as far along the path as the text goes."""
        mark = self
        for step in path.split(".") if path else ():
            name, _, index = step.partition("[")
            marks = mark.fields.get(name)
            if not marks:
                break
            mark = marks[min(int(index.rstrip("]") or 0) if index else 0, len(marks) - 1)]
        return mark


@dataclass(frozen=True)
class Document:
    """A message and, where it came from text, its source and marks."""

    message: Any
    mark: Mark | None = None
    source: Source | None = None

    @property
    def path(self) -> str | None:
        return self.source.path if self.source else None

    def where(self, path: str = "") -> Where:
        """The place of a field, `solver_mode` or `net_param.layer[3].name`; of the file where it has none."""
        if self.source is None or self.mark is None:
            return Where(file=self.path)
        mark = self.mark.find(path)
        return self.source.where(mark.offset) if mark is not self.mark else Where(file=self.path)


@dataclass(frozen=True)
class LayerDefinition:
    """One `LayerParameter`, after upgrading, and where it stood in the text.

    A layer that a pass inserted (Split) or that came from a binary file has no mark.
    """

    message: Any
    mark: Mark | None = None
    source: Source | None = None

    @property
    def name(self) -> str:
        return str(self.message.name)

    @property
    def type(self) -> str:
        return str(self.message.type)

    def where(self, path: str = "") -> Where:
        """The place of a field of this layer, `convolution_param.pad`, or of the layer itself."""
        place = Where(file=self.source.path if self.source else None)
        if self.source is not None and self.mark is not None:
            place = self.source.where(self.mark.find(path).offset)
        return replace(place, layer=self.name, type=self.type)


@dataclass(frozen=True)
class NetDefinition:
    """A net as Caffe's newest format says it: every older format has been upgraded to this.

    `filters.select` leaves the layers of one phase, level and stages, and `splits.insert` adds Caffe's Split layers.
    """

    name: str
    layers: tuple[LayerDefinition, ...]
    force_backward: bool = False
    debug_info: bool = False
    state: Any = None
    """The net's own NetState message, or None."""
    source: Source | None = None
    notes: tuple[str, ...] = ()
    """What an upgrade changed or dropped, for the user to read."""
    fork: str = ""
    """The fork of Caffe that it is written for, where the user says so."""
    told: Mapping[str, str] = field(default_factory=dict)
    """The fork of single layers, by name, that its weights give away."""
    style: Style = field(default_factory=said)
    """How its source shall be written."""

    @property
    def path(self) -> str | None:
        return self.source.path if self.source else None
