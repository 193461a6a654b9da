"""Where what Caffe wrote lies, and its messages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from proto2torch.prototxt import schema

DATA = Path(__file__).parents[1] / "golden" / "data"
SOLVERS = sorted(path for path in (DATA / "solvers").iterdir() if path.is_dir())
WEIGHTS, TOOLS = DATA / "weights", DATA / "tools"
BINARY = [*sorted((DATA / "solvers").glob("*/*.caffemodel")), TOOLS / "net.caffemodel"]


def parsed(path: Path, message: str) -> Any:
    """A file by protobuf's own parsers, text or binary."""
    from google.protobuf import text_format

    new = schema.new(message)
    if path.suffix == ".prototxt":
        return text_format.Parse(path.read_text(), new)
    new.ParseFromString(path.read_bytes())
    return new
