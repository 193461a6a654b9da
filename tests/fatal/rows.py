"""What a row of the tables says, and how it is held against proto2torch."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

import proto2torch as p2t

X = "2 3 4 5"


class Row(NamedTuple):
    """A net that Caffe aborts on."""

    what: str
    """Caffe's check, in a word."""
    says: str
    """A fragment of our message."""
    text: str
    layer: str | None = "l"
    """The layer that the error names."""
    phase: str = "TEST"
    line: int | None = None
    """The line that it names, where that is not any."""


def data(name: str, dims: str) -> str:
    """An Input layer on a line."""
    shape = " ".join(f"dim: {d}" for d in dims.split())
    return f'layer {{ name: "{name}" type: "Input" top: "{name}" input_param {{ shape {{ {shape} }} }} }}\n'


def layer(kind: str, fields: str = "", bottoms: str = "x", tops: str = "y", name: str = "l") -> str:
    """A layer on a line; `bottoms` and `tops` by spaces."""
    names = [f'bottom: "{b}"' for b in bottoms.split()] + [f'top: "{t}"' for t in tops.split()]
    return f'layer {{ name: "{name}" type: "{kind}" {" ".join(names)} {fields} }}\n'


def ip(name: str, bottom: str = "x", fields: str = "", outputs: int = 4) -> str:
    return layer("InnerProduct", f"{fields} inner_product_param {{ num_output: {outputs} }}", bottom, name, name)


def one(what: str, says: str, kind: str, fields: str = "", *dims: str, tops: str = "y", phase: str = "TEST") -> Row:
    """A row of one layer `l` over bottoms a, b … of the given extents."""
    bottoms = "abcdef"[: len(dims)]
    text = "".join(data(b, d) for b, d in zip(bottoms, dims, strict=True))
    return Row(f"{kind}: {what}", says, text + layer(kind, fields, " ".join(bottoms), tops), phase=phase)


def learned(what: str, says: str, kind: str, fields: str, learns: int, *dims: str) -> Row:
    """A row of one layer in TRAIN, behind which the objective lies and of which bottom `learns` needs a gradient."""
    text, bottoms = "", []
    for i, extents in enumerate(dims):
        name = "abcdef"[i]
        text += data(name, extents)
        if i == learns:
            text += layer("Scale", "scale_param { axis: 0 num_axes: 0 }", name, f"{name}s", f"{name}s")
            name += "s"
        bottoms.append(name)
    return Row(f"{kind}: {what}", says, text + layer(kind, fields, " ".join(bottoms), "y"), phase="TRAIN")


def table(*rows: Row) -> Any:
    """Rows as the parameters of a test."""
    return pytest.mark.parametrize("row", rows, ids=[row.what for row in rows])


def check(row: Row) -> None:
    """The net is refused: by that message, at a line, in that layer."""
    with pytest.raises(p2t.Proto2TorchError) as caught:
        p2t.load(text=row.text, phase=row.phase)
    error = caught.value
    assert row.says in str(error)
    assert error.layer == row.layer
    assert error.line is not None if row.line is None else error.line == row.line
    assert error.exit_status == 2
