"""The cost of a net as a table for people, and as an object for programs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from proto2torch.cost.memory import estimate
from proto2torch.cost.rows import Row, Totals, batch, rows, totals
from proto2torch.ir.graph import Net, Shape

_HEAD = ("layer", "type", "output", "parameters", "multiply-adds", "activations")
_NUMBERS = 3  # columns that are numbers, the last
_WIDEST = 40  # characters of a name


def lines(net: Net, rule: str = "SGD") -> Iterator[str]:
    """The table: a line a layer and one more for each further top, then totals and, of a net that trains, the memory
    of a step with the rule of solver `type`."""
    made = rows(net)
    cells: list[tuple[str, ...]] = [_HEAD, *(cell for row in made for cell in _cells(row))]
    sums = totals(net)
    last = ("total", f"{len(made)} layers", "", f"{sums.parameters:,}", *_costs(sums))
    widths = [max(map(len, column)) for column in zip(*cells, last, strict=True)]
    dashes = "  ".join("-" * width for width in widths)
    yield _line(_HEAD, widths)
    yield dashes
    yield from (_line(row, widths) for row in cells[1:])
    yield dashes
    yield _line(last, widths)
    yield ""
    yield from _summary(net, sums)
    if _trains(net):
        yield _training(net, rule)


def as_object(net: Net, rule: str = "SGD") -> dict[str, Any]:
    """The same for a program: `layers`, `totals`, and of a net that trains `training`, all in elements and bytes."""
    found: dict[str, Any] = {
        "net": net.name,
        "phase": net.phase,
        "batch": batch(net),
        "memory_format": net.memory_format,
        "inputs": {value.blob: list(value.shape) for value in net.inputs},
        "outputs": {value.blob: list(value.shape) for value in net.outputs},
        "layers": [_object(row) for row in rows(net)],
        "totals": asdict(totals(net)),
        "notes": list(net.notes),
    }
    if _trains(net):
        memory = estimate(net, rule)
        found["training"] = {"rule": rule, **asdict(memory), "total": memory.total}
    return found


def count(number: float) -> str:
    """A count as people say it: 724.4 M, 1.583 G, four digits; below a thousand as it is."""
    for unit in ("", " k", " M", " G", " T"):
        if number < 999.95 or unit == " T":
            break
        number /= 1000
    return f"{number:.4g}{unit}"


def size(number: int) -> str:
    """Bytes in decimal units: 61.0 MB."""
    return f"{count(number)}B" if number > 999 else f"{number} B"


def extents(shape: Shape) -> str:
    """A shape as `10 x 3 x 227 x 227`; `scalar` where there are no axes."""
    return " x ".join(map(str, shape)) if shape else "scalar"


def _cells(row: Row) -> Iterator[tuple[str, ...]]:
    shape = extents(row.tops[0][1]) if row.tops else "-"
    parameters = f"{row.parameters:,}" if row.parameters else "shared" if row.shared else "-"
    yield _short(row.name), row.type, shape, parameters, *_costs(row)
    for blob, more in row.tops[1:]:
        yield "", f"  {_short(blob)}", extents(more), "", "", ""


def _costs(row: Row | Totals) -> tuple[str, str]:
    return (
        count(row.multiply_adds) if row.multiply_adds else "-",
        size(row.activation_bytes) if row.activation_bytes else "-",
    )


def _short(name: str) -> str:
    """A name in one line of a terminal, whatever is in it."""
    name = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in name)
    return name if len(name) <= _WIDEST else f"{name[: _WIDEST - 1]}…"


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first = len(cells) - _NUMBERS
    padded = [
        cell.ljust(width) if i < first else cell.rjust(width)
        for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return "  ".join(padded).rstrip()


def _summary(net: Net, sums: Totals) -> Iterator[str]:
    """What the last row cannot say."""
    items = batch(net)
    statistics = f", and {sums.statistics:,} statistics" if sums.statistics else ""
    yield f"parameters     {count(sums.parameters)} ({size(4 * sums.parameters)}){statistics}"
    each = f", {count(sums.multiply_adds / items)} for each of the {items} items" if items and items > 1 else ""
    yield f"multiply-adds  {count(sums.multiply_adds)} a forward{each}"
    each = f", {size(round(sums.activation_bytes / items))} for each item" if items and items > 1 else ""
    yield f"activations    {size(sums.activation_bytes)}{each}"
    yield f"memory format  {net.memory_format}"


def _trains(net: Net) -> bool:
    return any(node.needs_backward for node in net.nodes)


def _training(net: Net, rule: str) -> str:
    memory = estimate(net, rule)
    return (
        f"training       {size(memory.total)} with {rule}: parameters {size(memory.parameters)}, gradients "
        f"{size(memory.gradients)}, history {size(memory.history)}, kept for backward {size(memory.activations)}, "
        f"in passing {size(memory.passing)}"
    )


def _object(row: Row) -> dict[str, Any]:
    return {**asdict(row), "tops": [{"blob": blob, "shape": list(shape)} for blob, shape in row.tops]}
