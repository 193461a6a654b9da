"""The pieces of carried/ by name, cut out as those of runtime/ are, and the imports that a text needs."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

from proto2torch.codegen.inline import definitions

_FILES = tuple(sorted((Path(__file__).parent / "carried").glob("*.py")))
_STANDARD = {
    **{name: f"import {name}" for name in ("argparse", "functools", "glob", "io", "math", "os", "sys")},
    "deque": "from collections import deque",
    "Path": "from pathlib import Path",
}
_OTHERS = {
    "h5py": "import h5py  # type: ignore[import-untyped]",
    "lmdb": "import lmdb",
    "np": "import numpy as np",
    "torch": "import torch",
    "F": "import torch.nn.functional as F",
    "Image": "from PIL import Image",
    "ImageOps": "from PIL import ImageOps",
    "nn": "from torch import nn",
    "DataLoader": "from torch.utils.data import DataLoader",
    "Dataset": "from torch.utils.data import Dataset",
}

IMPORTED = frozenset((*_STANDARD, *_OTHERS))
"""Names that a script imports, as far as it uses them."""


@cache
def pieces() -> dict[str, str]:
    """The source of every class and function of carried/, in the order of files and lines."""
    return {name: text for path in _FILES for name, text, _ in definitions(path.read_text(encoding="utf-8"))}


def closure(text: str, own: Mapping[str, str]) -> list[str]:
    """The pieces that `text` names, and those that they name, in a fixed order; `own` has other texts for some."""
    table = {**pieces(), **own}
    wanted: set[str] = set()
    todo = [text]
    while todo:
        named = words(todo.pop()) & table.keys() - wanted
        wanted |= named
        todo += [table[name] for name in named]
    return [piece for name, piece in table.items() if name in wanted]


def words(text: str) -> set[str]:
    """The names that a piece of source reads."""
    return {node.id for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name)}


def imports(text: str, others: Iterable[str] = ()) -> str:
    """The import lines of a script, as isort leaves them: what `text` uses, and `others`, which the nets need."""
    used, others = words(text), set(others)
    standard = [line for name, line in _STANDARD.items() if name in used or line in others]
    third = {line for name, line in _OTHERS.items() if name in used} | others.difference(_STANDARD.values())
    blocks = [_block(standard), _block(third)]
    return "\n\n".join(block for block in blocks if block)


def _block(lines: Iterable[str]) -> str:
    plain, named = [], dict[str, list[str]]()
    for line in lines:
        if line.startswith("import "):
            plain.append(line)
        else:
            module, _, name = line.removeprefix("from ").partition(" import ")
            named.setdefault(module, []).append(name)
    joined = [f"from {module} import {', '.join(sorted(names))}" for module, names in named.items()]
    return "\n".join([*sorted(plain), *sorted(joined, key=str.lower)])
