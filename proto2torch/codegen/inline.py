"""The source of what runtime/ adds to torch, cut out so that a generated file carries exactly the pieces it uses."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_FOLDER = Path(__file__).parent.parent / "runtime"


@dataclass(frozen=True)
class Piece:
    """One class or function of runtime/: its source, and the other pieces it names."""

    name: str
    text: str
    needs: tuple[str, ...]


@cache
def pieces() -> dict[str, Piece]:
    """Every piece by name, in the order of files and of lines within a file."""
    found: dict[str, tuple[str, ast.stmt]] = {}
    for path in sorted(_FOLDER.glob("*.py")):
        source = path.read_text(encoding="utf-8")
        lines = source.splitlines()
        for node in ast.parse(source).body:
            name = _name(node)
            if name is None:
                continue
            first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))])
            found[name] = ("\n".join(lines[first - 1 : node.end_lineno]), node)
    return {name: Piece(name, text, _needs(node, found)) for name, (text, node) in found.items()}


def _name(node: ast.stmt) -> str | None:
    if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
        return node.name
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id != "__all__":
        return node.targets[0].id
    return None


def _needs(node: ast.stmt, known: Iterable[str]) -> tuple[str, ...]:
    names = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
    return tuple(name for name in known if name in names and name != _name(node))


def closure(names: Iterable[str]) -> list[Piece]:
    """The pieces that `names` need, themselves included, in a fixed order."""
    table = pieces()
    wanted: set[str] = set()
    todo = list(names)
    while todo:
        name = todo.pop()
        if name not in wanted:
            wanted.add(name)
            todo.extend(table[name].needs)
    return [piece for name, piece in table.items() if name in wanted]
