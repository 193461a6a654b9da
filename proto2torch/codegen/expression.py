"""Fills the templates of `Code.forward`, with parentheses only where Python needs them."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from functools import lru_cache

_ATOMS = (ast.Call, ast.Attribute, ast.Subscript, ast.Name, ast.Constant, ast.Tuple)
_PLACE = re.compile(r"\{(\d+|me)\}")


@lru_cache(maxsize=4096)
def is_atomic(expression: str) -> bool:
    """Whether it can stand as an operand or before a dot without parentheses."""
    return isinstance(ast.parse(_PLACE.sub(r"_place\1", expression), mode="eval").body, _ATOMS)


@lru_cache(maxsize=4096)
def _operands(template: str) -> frozenset[str]:
    """The places that stand as an operand, before a dot or before a bracket."""
    tree = ast.parse(_PLACE.sub(r"_place\1", template), mode="eval")
    tight: set[str] = set()
    for node in ast.walk(tree):
        for child in ast.iter_child_nodes(node):
            loose = isinstance(node, (ast.Call, ast.Tuple, ast.List, ast.Expression, ast.keyword))
            if isinstance(child, ast.Name) and child.id.startswith("_place"):
                called = isinstance(node, ast.Call) and child is node.func
                if called or not loose:
                    tight.add(child.id.removeprefix("_place"))
    return frozenset(tight)


def fill(template: str, inputs: Sequence[str], me: str = "") -> str:
    """The template with the inputs in their places.

    `fill("F.relu({0})", ["a + b"])` gives `F.relu(a + b)`, `fill("{0}.flatten(1)", ["a + b"])` `(a + b).flatten(1)`.
    """
    tight = _operands(template)

    def place(match: re.Match[str]) -> str:
        key = match.group(1)
        if key == "me":
            return me
        text = inputs[int(key)]
        return f"({text})" if key in tight and not is_atomic(text) else text

    return _PLACE.sub(place, template)


def uses(template: str) -> dict[int, int]:
    """How often each input stands in a template: one that stands twice must be a name, not an expression."""
    counts: dict[int, int] = {}
    for key in _PLACE.findall(template):
        if key != "me":
            counts[int(key)] = counts.get(int(key), 0) + 1
    return counts
