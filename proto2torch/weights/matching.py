"""Which blob of a weight file goes where in a net: Caffe's rules for copying trained weights, as a pure function."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from proto2torch.errors import WeightsError, Where
from proto2torch.weights import report as reports
from proto2torch.weights.report import Report, Row, Shape
from proto2torch.weights.stored import StoredBlob, StoredLayer, StoredWeights

Array = np.ndarray[Any, Any]


def match(
    source: StoredWeights,
    target: Mapping[str, Sequence[Shape]],
    strict: bool = False,
    shared: Collection[tuple[str, int]] = (),
) -> Report:
    """Find the arrays for a net's layers by their names.

    Args:
        source: what a weight file holds.
        target: the shapes of each layer's blobs, in Caffe's stored order; layers without blobs too.
        strict: refuse layers with blobs that only one of both has.
        shared: (layer, index) of blobs that another layer owns, which an HDF5 file leaves out.

    Layers must have as many blobs in both (an HDF5 file may leave out shared ones). Shapes must be equal; where the
    file gives num, channels, height and width, the net's shape is compared with ones put before it up to 4 axes.

    Raises:
        WeightsError: with the table of every layer that does not fit, and what the file and the net have.
    """
    rows: list[Row] = []
    problems: list[str] = []
    matched: dict[str, list[Array | None]] = {}
    for name, layer in source.layers.items():
        if name not in target:
            if layer.blobs:
                rows.append(Row(name, _shapes(layer), None, reports.NOT_USED))
            continue
        fit = _compare(layer, target[name], source.hdf5, {i for n, i in shared if n == name})
        problems += [f"layer {name!r}: {problem}" for problem in fit.problems]
        if fit.problems:
            rows.append(Row(name, _shapes(layer, target[name]), target[name], fit.outcome))
        elif target[name]:
            matched[name] = fit.arrays
    ignored = [name for name in source.layers if name not in target]
    untouched = [name for name, shapes in target.items() if shapes and name not in source.layers]
    rows += [Row(name, None, target[name], reports.LEFT) for name in untouched]
    if problems or (strict and rows):
        _raise(source.path, problems, rows, strict)
    return Report(matched, ignored, untouched, rows)


@dataclass(frozen=True)
class _Fit:
    arrays: list[Array | None]
    problems: list[str]
    outcome: str = reports.LOADED


def _compare(layer: StoredLayer, shapes: Sequence[Shape], hdf5: bool, shared: set[int]) -> _Fit:
    """The arrays of one layer in the net's shapes, and what does not fit."""
    blobs = list(layer.blobs)
    if hdf5:
        blobs += [None] * (len(shapes) - len(blobs))
    if len(blobs) != len(shapes):
        problem = f"{_count(len(layer.blobs))} in the file and {_count(len(shapes))} in the net"
        return _Fit([], [problem], reports.OTHER_COUNT)
    arrays: list[Array | None] = []
    problems: list[str] = []
    for index, (blob, shape) in enumerate(zip(blobs, shapes, strict=True)):
        if blob is None:
            arrays.append(None)
            if index not in shared:
                problems.append(f"blob {index} is not in the file, and the net does not share it")
        elif fits(blob, shape):
            arrays.append(blob.array.reshape(shape))
        else:
            problems.append(f"blob {index} has shape {blob.array.shape} in the file and {shape} in the net")
    return _Fit(arrays, problems, reports.OTHER_SHAPE if problems else reports.LOADED)


def fits(blob: StoredBlob, shape: Shape) -> bool:
    """Whether a stored blob can be the values of one of `shape`, by Caffe's rule."""
    stored: Shape = blob.array.shape
    return stored == ((1,) * (4 - len(shape)) + shape if blob.legacy else shape)


def _count(blobs: int) -> str:
    return "1 blob" if blobs == 1 else f"{blobs} blobs"


def _shapes(layer: StoredLayer, like: Sequence[Shape] = ()) -> list[Shape | None]:
    """The shapes of the stored blobs; of old ones of 4 axes without the ones before the axes that `like` has."""
    shapes: list[Shape | None] = [None if blob is None else blob.array.shape for blob in layer.blobs]
    for index, (blob, net) in enumerate(zip(layer.blobs, like, strict=False)):
        spare = 4 - len(net)
        if blob is not None and blob.legacy and spare > 0 and blob.array.shape[:spare] == (1,) * spare:
            shapes[index] = blob.array.shape[spare:]
    return shapes


def _raise(path: str | None, problems: list[str], rows: list[Row], strict: bool) -> None:
    wrong = [row for row in rows if strict or row.outcome not in (reports.NOT_USED, reports.LEFT)]
    message = problems[0] if len(problems) == len(rows) == 1 else ""
    if not message:
        count = "1 layer does" if len(wrong) == 1 else f"{len(wrong)} layers do"
        message = "\n".join([f"{count} not fit:", *reports.table(rows)])
    raise WeightsError(message, where=Where(file=path), hint="\n  ".join(reports.hints(rows)) or None)
