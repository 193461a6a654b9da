"""What became of the layers of a weight file and of a net, as one table for the user to read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Shape = tuple[int, ...]

LOADED, NOT_USED, LEFT, OTHER_SHAPE, OTHER_COUNT = (
    "loaded",
    "not used",
    "left as it was",
    "another shape",
    "another number of blobs",
)
_MOST_SHOWN = 60
_HEAD = ("layer", "in the file", "in the net", "")


@dataclass(frozen=True)
class Row:
    """A layer that was not simply loaded."""

    layer: str
    file: Sequence[Shape | None] | None
    """The shapes of its blobs in the file; None where the file does not have the layer."""
    net: Sequence[Shape] | None
    """Those in the net; None where the net does not have the layer."""
    outcome: str

    @property
    def outputs(self) -> tuple[int, int] | None:
        """The numbers of outputs in the file and in the net, where nothing else differs: a classifier of others."""
        if self.file is None or self.net is None or len(self.file) != len(self.net):
            return None
        pairs = [(f, n) for f, n in zip(self.file, self.net, strict=True) if f != n]
        if not pairs or any(not f or len(f) != len(n) or f[1:] != n[1:] for f, n in pairs):
            return None
        first, second = pairs[0]
        return (first[0], second[0]) if first else None


@dataclass(frozen=True)
class Report:
    """What became of the layers of a weight file and of a net."""

    matched: Mapping[str, Sequence[Array | None]]
    """The arrays for each layer of the net that has blobs, in the net's shapes; None for a blob of another layer."""
    ignored: Sequence[str]
    """Layers of the file that the net does not have, those without blobs too."""
    untouched: Sequence[str]
    """Layers of the net that have blobs and are not in the file: they stay as they are."""
    rows: Sequence[Row] = ()
    """The layers with blobs that only one of both has."""

    def lines(self) -> list[str]:
        """What a user wants to know of it: Caffe's line for each ignored layer, then the table and its hints."""
        lines = [f"Ignoring source layer {name}" for name in self.ignored]
        if self.rows:
            count = len(self.matched)
            lines.append(f"weights of {count} layer{'' if count == 1 else 's'} loaded; besides them:")
            lines += [*table(self.rows), *hints(self.rows)]
        return lines


def table(rows: Sequence[Row]) -> list[str]:
    """The rows as lines of a table, one a layer, under a head."""
    cells = [_HEAD, *((row.layer, _shapes(row.file), _shapes(row.net), row.outcome) for row in rows[:_MOST_SHOWN])]
    widths = [max(len(line[column]) for line in cells) for column in range(3)]
    lines = ["  " + "  ".join((*map(str.ljust, line, widths), line[3])).rstrip() for line in cells]
    if len(rows) > _MOST_SHOWN:
        lines.append(f"  and {len(rows) - _MOST_SHOWN} layers more")
    return lines


def hints(rows: Iterable[Row]) -> list[str]:
    """What to do about the rows, as far as they show what was meant."""
    rows = list(rows)
    found = []
    for row in rows:
        if row.outcome == OTHER_SHAPE and row.outputs:
            there, here = row.outputs
            found.append(
                f"{row.layer} has {there} outputs in the file and {here} in the net: rename the layer to train it "
                f"anew, by hand or with train --replace {row.layer}={row.layer}_new:{here}"
            )
        elif row.outcome == OTHER_SHAPE and _transposed(row):
            found.append(f"{row.layer} is the other way round in the file: transpose its first blob")
    return found + _renamed(rows)


def _renamed(rows: Sequence[Row]) -> list[str]:
    """Layers that one has and the other lacks, alike in all but the name."""
    unused = [row for row in rows if row.outcome == NOT_USED]
    found = []
    for left in (row for row in rows if row.outcome == LEFT):
        alike = [row for row in unused if list(row.file or ()) == list(left.net or ())]
        twins = [row for row in rows if row.outcome == LEFT and list(row.net or ()) == list(left.net or ())]
        if len(alike) == len(twins) == 1:
            found.append(
                f"{alike[0].layer} of the file has the shapes of {left.layer}: layers are matched by name alone"
            )
    return found


def _transposed(row: Row) -> bool:
    first, second = (row.file or (None,))[0], (row.net or ((),))[0]
    return first is not None and len(first) == 2 and first == second[::-1]


def _shapes(shapes: Sequence[Shape | None] | None) -> str:
    """`1000x4096 + 1000`; a dash for a layer that is not there."""
    if shapes is None:
        return "-"
    return " + ".join("shared" if s is None else "x".join(map(str, s)) or "1 value" for s in shapes) or "no blobs"
