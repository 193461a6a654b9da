"""A diagram to a file: SVG, PNG or PDF by graphviz, its own language, or a page for a browser."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from proto2torch import files
from proto2torch.drawing.diagram import Diagram, folded
from proto2torch.drawing.dot import dot
from proto2torch.drawing.page import page
from proto2torch.errors import Proto2TorchError, RunError

FORMATS = ("svg", "png", "pdf", "dot", "html")
"""The endings of a picture's name."""

_DPI = 96


def draw(diagram: Diagram, path: str, *, direction: str = "TB", fold: bool = False) -> str:
    """Write the diagram as the ending of `path` says; what graphviz complained of, or nothing.

    With `fold`, a repeated block is one box; in a page, which opens and closes them, all begin closed in any case.

    Raises:
        Proto2TorchError: an ending that is not known, or graphviz's `dot` is not installed.
        RunError: the file cannot be written, or graphviz fails.
    """
    kind = files.picture_kind(path, FORMATS)
    said = ""
    with files.atomic(path) as temporary:
        if kind == "html":
            temporary.write_text(page(diagram, direction), encoding="utf-8")
        else:
            text = dot(folded(diagram) if fold else diagram, direction)
            if kind == "dot":
                temporary.write_text(text, encoding="utf-8")
            else:
                said = _graphviz(text, kind, temporary)
    return said


def _graphviz(text: str, kind: str, path: Path) -> str:
    """Let graphviz lay out and write; what it said on stderr."""
    program = shutil.which("dot")
    if program is None:
        raise Proto2TorchError(
            f"a .{kind} is drawn by graphviz, whose program dot is not installed: install it (apt install graphviz, "
            "brew install graphviz), or draw a page, -o net.html, which needs nothing"
        )
    command = [program, f"-T{kind}", f"-Gdpi={_DPI}" if kind == "png" else "-Gcharset=utf-8", "-o", str(path)]
    done = subprocess.run(command, input=text, capture_output=True, encoding="utf-8", errors="replace", check=False)
    if done.returncode:
        raise RunError(f"graphviz failed. Received: {done.stderr.strip() or f'exit status {done.returncode}'}")
    return done.stderr.strip()
