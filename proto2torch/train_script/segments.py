"""A generated file taken apart into its classes and functions, and the classes of two nets put into one file."""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Mapping
from dataclasses import dataclass

from proto2torch.codegen.inline import definitions


@dataclass(frozen=True)
class Segment:
    """One class, function or assignment of a file."""

    name: str
    text: str


def split(source: str) -> list[Segment]:
    """The definitions of a file, in order; its docstring and its imports are left out."""
    return [Segment(name, text) for name, text, _ in definitions(source)]


def import_lines(source: str) -> set[str]:
    """The import lines of a file."""
    lines = source.splitlines()
    nodes = [node for node in ast.parse(source).body if isinstance(node, (ast.Import, ast.ImportFrom))]
    return {"\n".join(lines[node.lineno - 1 : node.end_lineno]) for node in nodes}


def renamed(text: str, names: Mapping[str, str]) -> str:
    """`text` with other names for what it defines or calls; strings and comments stay as they are."""
    if not any(name in text for name in names):
        return text
    lines = text.splitlines()
    tokens = list(tokenize.generate_tokens(io.StringIO(text + "\n").readline))
    for before, token in reversed(list(zip([tokens[0], *tokens], tokens, strict=False))):
        if token.type == tokenize.NAME and token.string in names and before.string != ".":
            row, start, end = token.start[0] - 1, token.start[1], token.end[1]
            lines[row] = lines[row][:start] + names[token.string] + lines[row][end:]
    return "\n".join(lines)


def methods(text: str) -> dict[str, str]:
    """The methods of a class by name."""
    lines = text.splitlines()
    (node,) = ast.parse(text).body
    assert isinstance(node, ast.ClassDef)
    return {
        method.name: "\n".join(lines[method.lineno - 1 : method.end_lineno])
        for method in node.body
        if isinstance(method, ast.FunctionDef)
    }
