"""The source of what runtime/ adds to torch, cut out so that a generated file carries exactly the pieces it uses.

A file that registers layers of a user's own is cut up the same way: its functions and classes are pieces too, save the
layers themselves and what has a leading underscore.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from proto2torch.errors import Proto2TorchError, Where
from proto2torch.layers import REGISTRY

_RUNTIME = tuple(sorted((Path(__file__).parent.parent / "runtime").glob("*.py")))
_OURS = f"{__name__.split('.')[0]}."


@dataclass(frozen=True)
class Piece:
    """One class or function: its source, and the other pieces it names."""

    name: str
    text: str
    needs: tuple[str, ...]


def pieces() -> dict[str, Piece]:
    """Every piece by name, in the order of files and of lines within a file.

    Raises:
        Proto2TorchError: a user's own file takes the name of another piece.
    """
    return _pieces((*_RUNTIME, *_own_files()))


def _own_files() -> list[Path]:
    """The files of layers that are not proto2torch's, in the order of their types."""
    modules = {layer.__module__: None for layer in REGISTRY.values() if not layer.__module__.startswith(_OURS)}
    files = [getattr(sys.modules.get(module), "__file__", None) for module in modules]
    return [Path(file) for file in files if file]


@cache
def _pieces(files: tuple[Path, ...]) -> dict[str, Piece]:
    found: dict[str, tuple[str, ast.stmt]] = {}
    for path in files:
        source = path.read_text(encoding="utf-8")
        for name, text, node in definitions(source):
            if path not in _RUNTIME and _is_private(name, node):
                continue
            if name in found and path not in _RUNTIME:
                line = source.splitlines()[node.lineno - 1]
                where = Where(file=str(path), line=node.lineno, column=1, text=line)
                raise Proto2TorchError(f"{name!r} is the name of a piece of source already", where=where)
            found[name] = (text, node)
    return {name: Piece(name, text, _needs(node, found)) for name, (text, node) in found.items()}


def definitions(source: str) -> Iterator[tuple[str, str, ast.stmt]]:
    """The classes, functions and assignments of a file, in order: the name, the text with its decorators, the node."""
    lines = source.splitlines()
    for node in ast.parse(source).body:
        name = _name(node)
        if name is not None:
            first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))])
            yield name, "\n".join(lines[first - 1 : node.end_lineno]), node


def _is_private(name: str, node: ast.stmt) -> bool:
    """Whether a user's own definition stays with its file: a layer, or a name with an underscore before it."""
    return name.startswith("_") or (isinstance(node, ast.ClassDef) and any(k.arg == "type" for k in node.keywords))


def _name(node: ast.stmt) -> str | None:
    if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
        return node.name
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id != "__all__":
        return node.targets[0].id
    return None


def _needs(node: ast.stmt, known: Iterable[str]) -> tuple[str, ...]:
    own = {part.arg for part in ast.walk(node) if isinstance(part, ast.arg)}
    names = {part.id for part in ast.walk(node) if isinstance(part, ast.Name)} - own
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
