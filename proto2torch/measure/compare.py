"""A net's blobs against stored activations: the first layer that differs, by how much, and where.

Blobs are compared in the order of the layers by the relative norm, |ours - stored| / |stored|; the layer named made the
first that differs. Where layers work in place, a file has the last value alone, and any of them may be wrong. Then a
later one is blamed if the elements that it leaves unchanged agree, or if the stored values still follow its input,
rising or falling with it; else the one before.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from proto2torch.errors import DataError, Where, did_you_mean, unreadable
from proto2torch.ir.graph import Node, Value
from proto2torch.net import Net, load

Array = NDArray[Any]

TOLERANCE = 1e-4
_FEWEST = 8  # values of a channel, to tell whether they rise
_ENOUGH = 0.02  # of a blob's elements, to tell whether a layer before an in-place one is right


@dataclass(frozen=True)
class Compared:
    """One blob."""

    blob: str
    layer: str
    """The last layer that writes it."""
    relative: float
    """|ours - stored| / |stored|; infinite where the shapes differ or ours is not finite."""
    largest: float
    """The largest absolute difference of an element."""


@dataclass(frozen=True)
class Difference:
    """The first layer that differs."""

    layer: str
    type: str
    where: Where
    """Its place in the prototxt."""
    blob: str
    relative: float
    largest: float
    index: tuple[int, ...]
    """Of the element that differs most."""
    ours: float
    stored: float
    shapes: tuple[tuple[int, ...], tuple[int, ...]]
    """Of the blob, ours and stored."""
    candidates: tuple[str, ...]
    """Layers that could be meant: those between the blobs that agree and this one."""
    hint: str | None = None

    def __str__(self) -> str:
        place = f", {self.where.file}:{self.where.line}" if self.where.line else ""
        lines = [f"layer {self.layer!r} ({self.type}){place}: blob {self.blob!r} differs"]
        if self.shapes[0] != self.shapes[1]:
            lines.append(f"  shape: ours {self.shapes[0]}, stored {self.shapes[1]}")
        else:
            lines.append(f"  relative {self.relative:.3g}, largest {self.largest:.6g} at {list(self.index)}")
            lines.append(f"  there: ours {self.ours:.7g}, stored {self.stored:.7g}")
        others = [name for name in self.candidates if name != self.layer]
        if others:
            lines.append(f"  or a layer before it whose values are not stored: {', '.join(others)}")
        if self.hint:
            lines.append(f"  {self.hint}")
        excerpt = self.where.excerpt()
        return "\n".join([*lines, excerpt] if excerpt else lines)


@dataclass(frozen=True)
class Verification:
    """What a comparison found."""

    compared: Sequence[Compared]
    """In the order of the layers."""
    difference: Difference | None
    unknown: Sequence[str] = field(default=())
    """Names that are stored and are no blobs of the net."""

    @property
    def agrees(self) -> bool:
        return self.difference is None


def verify(
    net: Net | str,
    weights: str | None = None,
    *,
    against: str | Mapping[str, Any],
    tolerance: float = TOLERANCE,
) -> Verification:
    """Run a net on the stored inputs and compare every stored blob.

    Args:
        net: a net, or the prototxt of one, which runs in phase TEST.
        against: a .npz or .h5 of arrays by blob name, the net's inputs among them; or such a mapping.
        tolerance: the relative norm up to which a blob agrees.

    Raises:
        DataError: the file cannot be read, lacks an input, or has no blob of the net beside them.
    """
    if isinstance(net, str):
        net = load(net, weights)
    where = Where(file=against if isinstance(against, str) else None)
    stored = read(against) if isinstance(against, str) else {k: np.asarray(v) for k, v in against.items()}
    inputs = {name: stored[name] for name in net.inputs if name in stored}
    last = {v.blob: v for node in net.graph.nodes for v in node.outputs}
    known = [name for name in stored if name in last]
    missing = [name for name in net.inputs if name not in stored]
    if missing and not net.feeds:
        hint = did_you_mean(missing[0], [name for name in stored if name not in last])
        raise DataError(f"it has no value for the input {missing[0]!r}", where=where, hint=hint)
    if not set(known) - set(inputs):
        names = ", ".join(list(stored)[:8])
        raise DataError(f"it has none of the net's blobs beside its inputs. Received: {names}", where=where)
    values = _values(net, inputs)
    compared, wrong = _compare(net, stored, values, last, tolerance)
    difference = None
    if wrong is not None:
        agreeing = {last[c.blob] for c in compared if c.relative <= tolerance} | set(net.graph.inputs)
        difference = _difference(net, wrong, stored[wrong.blob], values, agreeing, tolerance)
    return Verification(compared, difference, [name for name in stored if name not in last])


def read(path: str) -> dict[str, Array]:
    """The arrays of a .npz, or of all data sets of an HDF5 file by their paths."""
    try:
        if path.endswith((".h5", ".hdf5")):
            return _read_hdf5(path)
        with np.load(path, allow_pickle=False) as file:
            if isinstance(file, np.ndarray):
                raise DataError("expected a .npz of arrays by blob name. Received: one array", where=Where(file=path))
            return {name: file[name] for name in file.files}
    except FileNotFoundError as error:
        unreadable(path, error, DataError)
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise DataError(f"expected a .npz or .h5 of arrays by blob name: {error}", where=Where(file=path)) from error


def _read_hdf5(path: str) -> dict[str, Array]:
    import h5py

    found: dict[str, Array] = {}
    with h5py.File(path, "r") as file:

        def visit(name: str, item: Any) -> None:
            if isinstance(item, h5py.Dataset) and item.dtype.kind in "fiu" and not (item.is_virtual or item.external):
                found[name] = item[()]

        file.visititems(visit)
    return found


def _values(net: Net, inputs: Mapping[str, Array]) -> dict[Value, Array]:
    """Every value of the net, in-place ones in each of their versions."""
    with torch.inference_mode():
        return {value: np.asarray(t.float().cpu().numpy()) for value, t in net.versions(**inputs).items()}


def _compare(
    net: Net, stored: Mapping[str, Array], values: Mapping[Value, Array], last: Mapping[str, Value], tolerance: float
) -> tuple[list[Compared], Value | None]:
    """Every stored blob in the order in which it takes its last value, and the first that differs."""
    compared: list[Compared] = []
    wrong: Value | None = None
    for node in net.graph.nodes:
        for value in node.outputs:
            if last[value.blob] != value or value.blob not in stored:
                continue
            relative, largest = _distance(values[value], stored[value.blob])
            compared.append(Compared(value.blob, node.name, relative, largest))
            if wrong is None and not relative <= tolerance:
                wrong = value
    return compared, wrong


def _distance(ours: Array, stored: Array) -> tuple[float, float]:
    if ours.shape != stored.shape:
        return float("inf"), float("inf")
    a, b = ours.astype(np.float64), stored.astype(np.float64)
    if not ours.size or np.array_equal(a, b, equal_nan=True):
        return 0.0, 0.0
    gap = np.abs(a - b)
    if not np.isfinite(gap).all():
        return float("inf"), float("inf")
    return float(np.linalg.norm(gap) / max(float(np.linalg.norm(b)), 1e-12)), float(gap.max())


def _difference(
    net: Net, value: Value, stored: Array, values: Mapping[Value, Array], agreeing: set[Value], tolerance: float
) -> Difference:
    ours = values[value]
    writer = {v: node for node in net.graph.nodes for v in node.outputs}
    candidates = _between(value, writer, agreeing)
    node = _blamed(value, stored, values, writer, candidates, tolerance)
    relative, largest = _distance(ours, stored)
    index: tuple[int, ...] = ()
    there = (float("nan"), float("nan"))
    if ours.shape == stored.shape and ours.size:
        gap = np.abs(ours.astype(np.float64) - stored.astype(np.float64))
        at = int(np.argmax(np.where(np.isfinite(gap), gap, np.inf)))
        index = tuple(int(i) for i in np.unravel_index(at, ours.shape))
        there = (float(ours[index]), float(stored[index]))
    return Difference(
        layer=node.name,
        type=node.type,
        where=node.definition.where(),
        blob=value.blob,
        relative=relative,
        largest=largest,
        index=index,
        ours=there[0],
        stored=there[1],
        shapes=(tuple(ours.shape), tuple(stored.shape)),
        candidates=tuple(n.name for n in candidates),
        hint=_hint(ours, stored),
    )


def _between(value: Value, writer: Mapping[Value, Node], agreeing: set[Value]) -> list[Node]:
    """The layers that make `value` out of values that agree, in order; Splits, which are right, are left out."""
    found: dict[int, Node] = {}
    waiting = [value]
    while waiting:
        node = writer.get(waiting.pop())
        if node is None or node.index in found or node.op.data or node.type == "Input":
            continue
        found[node.index] = node
        waiting += [v for v in node.inputs if v not in agreeing]
    return [found[i] for i in sorted(found) if not found[i].op.alias]


def _blamed(
    value: Value,
    stored: Array,
    values: Mapping[Value, Array],
    writer: Mapping[Value, Node],
    candidates: Sequence[Node],
    tolerance: float,
) -> Node:
    """The last layer that writes the blob, or one before it in place."""
    node = writer[value]
    while node.op.inplace:
        before = node.inputs[0]
        if writer[before] not in candidates:
            break
        if stored.shape == values[value].shape and _follows(node, values[before], values[value], stored, tolerance):
            break
        value, node = before, writer[before]
    return node


def _follows(node: Node, before: Array, ours: Array, stored: Array, tolerance: float) -> bool:
    """Whether the stored values of an in-place layer can come from a right input."""
    same = before == ours
    if same.mean() < _ENOUGH:
        return _rises(before, stored, bool(node.params))
    if _distance(ours[same], stored[same])[0] <= tolerance:
        return True
    return not _straight(before[same], stored[same]) and _rises(before, stored, bool(node.params))


def _straight(x: Array, y: Array) -> bool:
    """Whether y = a x + b, as where a layer before has another coefficient or bias."""
    a, b = x.astype(np.float64) - x.mean(dtype=np.float64), y.astype(np.float64) - y.mean(dtype=np.float64)
    across = float(a @ b) ** 2
    return across >= (1 - 1e-6) * float(a @ a) * float(b @ b)


def _rises(x: Array, y: Array, by_channel: bool) -> bool:
    """Whether y rises with x, or falls with it, but for rounding; in each channel of (N, C, …) by itself."""
    if by_channel and x.ndim >= 2:
        x = np.moveaxis(x, 1, 0).reshape(x.shape[1], -1)
        y = np.moveaxis(y, 1, 0).reshape(y.shape[1], -1)
        if x.shape[1] < _FEWEST:
            return False
    else:
        x, y = x.reshape(1, -1), y.reshape(1, -1)
    for one, other in zip(x, y, strict=True):
        steps = np.diff(other[np.argsort(one, kind="stable")].astype(np.float64))
        slack = 1e-5 * float(np.abs(other).max() or 1)
        if (steps < -slack).any() and (steps > slack).any():
            return False
    return True


def _hint(ours: Array, stored: Array) -> str | None:
    """What the difference looks like, where it looks like something."""
    if ours.shape != stored.shape:
        if ours.size == stored.size:
            return "the same number of values in another shape"
        return None
    if not np.isfinite(ours).all():
        return "ours has values that are not finite"
    if ours.ndim and ours.size > 1:
        a, b = np.sort(ours, axis=None), np.sort(stored, axis=None)
        if _distance(a, b)[0] <= 1e-5:
            return "the same values in another order: channels or axes are swapped"
        flat, other = ours.astype(np.float64).reshape(-1), stored.astype(np.float64).reshape(-1)
        ratio = float(flat @ other) / max(float(flat @ flat), 1e-300)
        if abs(ratio - 1) > 1e-5 and _distance(flat * ratio, other)[0] <= 1e-5:
            return f"stored is {ratio:.6g} times ours throughout: a scale or a coefficient"
    return None
