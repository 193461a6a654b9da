"""Lines of source: docstrings, statements and constants as a formatter leaves them."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from typing import Any

from proto2torch.codegen.layout import WIDTH, statement
from proto2torch.layers.base import literal


def docstring(paragraphs: str | Iterable[str], indent: int) -> list[str]:
    """A docstring of paragraphs; those that begin with a blank stay as they are."""
    paragraphs = [paragraphs] if isinstance(paragraphs, str) else list(paragraphs)
    pad, only = " " * indent, len(paragraphs) == 1
    first, *rest = [_wrapped(paragraph, indent, quotes=6 if only else 3) for paragraph in paragraphs]
    lines = [f'{pad}"""{first[0].lstrip()}', *first[1:]]
    if only and len(first) == 1:
        return [f'{lines[0]}"""']
    for paragraph in rest:
        lines += ["", *paragraph]
    return [*lines, f'{pad}"""']


def _wrapped(paragraph: str, indent: int, quotes: int) -> list[str]:
    pad = " " * indent
    if paragraph.startswith(" "):
        return [pad + line for line in paragraph.splitlines()]
    room = textwrap.wrap(paragraph, WIDTH - indent - quotes, break_long_words=False, break_on_hyphens=False)
    return [pad + line for line in room]


def laid_out(text: str) -> str:
    """Source whose lines are too long broken as a formatter does."""
    lines: list[str] = []
    for line in text.splitlines():
        code = line.lstrip()
        lines += [line] if len(line) <= WIDTH else statement(code, len(line) - len(code))
    return "\n".join(lines)


def constant(name: str, value: Any) -> str:
    """`NAME = value`, the value a literal; one too long for the line in brackets where it then fits."""
    line = f"{name} = {literal(value)}"
    if len(line) <= WIDTH or not isinstance(value, str) or len(literal(value)) + 4 > WIDTH:
        return line
    return f"{name} = (\n    {literal(value)}\n)"
