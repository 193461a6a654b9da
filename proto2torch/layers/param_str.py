"""`param_str` of a Python layer: a dictionary or lines of YAML, of numbers, strings and lists; read, never run."""

from __future__ import annotations

import ast
import re
from typing import Any

_ENTRY = re.compile(r"\s*(['\"]?)(\w+)\1\s*:\s*(.+?)\s*,?\s*")


class NotRead(ValueError):
    """A text that is neither."""


def read(text: str) -> dict[str, Any]:
    """`{'stride': 16}`, or a line `'stride': 16` or `stride: 16` for each entry, as a dictionary.

    Raises NotRead.
    """
    if not text.strip():
        return {}
    if text.strip().startswith("{"):
        found = _value(text.strip())
        if not isinstance(found, dict) or not all(isinstance(key, str) for key in found):
            raise NotRead(f"expected names and values. Received: {text.strip()!r}")
        return found
    return dict(map(_entry, filter(str.strip, text.splitlines())))


def _entry(line: str) -> tuple[str, Any]:
    match = _ENTRY.fullmatch(line)
    if match is None:
        raise NotRead(f"expected name: value. Received: {line.strip()!r}")
    return match[2], _value(match[3])


def _value(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
        raise NotRead(f"expected numbers, strings or lists of them. Received: {text!r}") from error
