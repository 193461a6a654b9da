"""What is wrong with one text, gathered while it is parsed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from proto2torch.errors import PrototxtError, Where
from proto2torch.prototxt.advice import shown
from proto2torch.prototxt.document import Source

MOST = 1000
"""Problems of one file that are gathered; the text after that is not read."""


class Enough(Exception):
    """So much is wrong that reading on would help no one."""


@dataclass(slots=True)
class _Complaint:
    offset: int
    message: str
    hint: str | None
    layer: Any


class Complaints:
    """The problems of one text, in the order in which they were found."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._found: list[_Complaint] = []
        self._lines: dict[int, str | None] = {}

    def __bool__(self) -> bool:
        return bool(self._found)

    def add(self, offset: int, message: str, hint: str | None = None, layer: Any = None) -> None:
        """Note a problem, of `layer` where it is inside a layer's message; Enough when there are too many.

        A second problem of the same place is a consequence of the first and is not noted.
        """
        if self._found and self._found[-1].offset == offset:
            return
        self._found.append(_Complaint(offset, message, hint, layer))
        if len(self._found) == MOST:
            raise Enough

    def errors(self) -> list[PrototxtError]:
        """The problems as errors. Only now, as a layer's name may stand below what is wrong in it."""
        errors = [PrototxtError(c.message, where=self._where(c), hint=c.hint) for c in self._found]
        if len(errors) == MOST:
            last = max((e.where for e in errors), key=lambda where: (where.line or 0, where.column or 0))
            place = Where(file=last.file, line=last.line, column=last.column)
            errors.append(PrototxtError(f"there are {MOST} problems up to here; the rest was not read", where=place))
        return errors

    def _where(self, complaint: _Complaint) -> Where:
        where = self._source.where(complaint.offset)
        assert where.line is not None
        text = self._lines.setdefault(where.line, where.text)  # one copy of a line, however long and however wrong
        layer, kind = _names(complaint.layer)
        return replace(where, text=text, layer=layer, type=kind)


def _names(layer: Any) -> tuple[str | None, str | None]:
    """The name and type of a layer's message, as far as it has them."""
    if layer is None or not layer.HasField("name"):
        return None, None
    if not layer.HasField("type"):
        return layer.name, None
    enum = layer.DESCRIPTOR.fields_by_name["type"].enum_type
    return layer.name, enum.values_by_number[layer.type].name if enum else shown(layer.type)
