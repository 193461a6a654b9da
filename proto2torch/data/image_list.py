"""Lists of images, a line each: the path, a space, the label. The last space parts them: a path may have some."""

from __future__ import annotations

import os
import re
from typing import NamedTuple

from proto2torch.errors import DataError, Where, why

_LABEL = re.compile(rb"[+-]?\d+")
_LONGEST = 64  # digits of a label, zeros before it among them
_SMALLEST, _LARGEST = -(1 << 31), (1 << 31) - 1


class Listed(NamedTuple):
    """An image and its label."""

    path: str
    label: int
    line: int
    """Where it stands in the list, counted from 1."""


def read(path: str, where: Where | None = None) -> list[Listed]:
    """The images of a list, in its order; empty lines at its end do not count.

    Raises:
        DataError: the list cannot be read or is empty, or a line has no label or one that is no int32.
    """
    where = where or Where(file=path)
    try:
        with open(path, "rb") as file:
            lines = file.read().rstrip().split(b"\n")
    except OSError as error:
        reason = why(error)
        raise DataError(f"cannot read the list {path!r}: {reason}", where=where) from error
    if lines == [b""]:
        raise DataError(f"the list {path!r} is empty", where=where)
    return [_parse(line.rstrip(b"\r"), number, path) for number, line in enumerate(lines, start=1)]


def _parse(line: bytes, number: int, path: str) -> Listed:
    name, space, label = line.rpartition(b" ")
    text = line.decode(errors="backslashreplace")
    where = Where(file=path, line=number, column=1, text=text)
    if not space or not name:
        hint = "a tab does not part them; a space does" if b"\t" in line else None
        raise DataError(f"expected a path, a space and a label. Received: {text!r}", where=where, hint=hint)
    if b"\0" in name:
        raise DataError(f"a path has no zero bytes. Received: {text!r}", where=where)
    if not _LABEL.fullmatch(label) or len(label) > _LONGEST or not _SMALLEST <= int(label) <= _LARGEST:
        received = label.decode(errors="backslashreplace")
        raise DataError(f"a label must be a whole number of 32 bits. Received: {received!r}", where=where)
    return Listed(os.fsdecode(name), int(label), number)
