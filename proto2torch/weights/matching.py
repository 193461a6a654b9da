"""Which blob of a weight file goes where in a net: Caffe's rules for copying trained weights, as a pure function."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from proto2torch.errors import WeightsError, Where
from proto2torch.weights.stored import StoredBlob, StoredLayer, StoredWeights

Array = np.ndarray[Any, Any]
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Report:
    """What became of the layers of a weight file and of a net."""

    matched: Mapping[str, Sequence[Array | None]]
    """The arrays for each layer of the net that has blobs, in the net's shapes; None for a blob of another layer."""
    ignored: Sequence[str]
    """Layers of the file that the net does not have."""
    untouched: Sequence[str]
    """Layers of the net that have blobs and are not in the file: they stay as they are."""

    def lines(self) -> list[str]:
        """What a user wants to know of it: Caffe's line for each ignored layer, and one for what stays as it was."""
        lines = [f"Ignoring source layer {name}" for name in self.ignored]
        if self.untouched:
            lines.append(f"Not in the weights, left as initialised: {', '.join(self.untouched)}")
        return lines


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
        WeightsError: listing every layer that does not fit, and what the file and the net have.
    """
    problems: list[str] = []
    renames: list[str] = []
    matched: dict[str, list[Array | None]] = {}
    for name, layer in source.layers.items():
        if name not in target:
            continue
        fit = _compare(layer, target[name], source.hdf5, {i for n, i in shared if n == name})
        problems += [f"layer {name!r}: {problem}" for problem in fit.problems]
        if fit.other_outputs:
            renames.append(name)
        if target[name]:
            matched[name] = fit.arrays
    ignored = [name for name in source.layers if name not in target]
    untouched = [name for name, shapes in target.items() if shapes and name not in source.layers]
    if strict:
        problems += [f"layer {n!r} is in the weights and not in the net" for n in ignored if source.layers[n].blobs]
        problems += [f"layer {n!r} is in the net and not in the weights" for n in untouched]
    if problems:
        _raise(source.path, problems, renames)
    return Report(matched, ignored, untouched)


@dataclass(frozen=True)
class _Fit:
    arrays: list[Array | None]
    problems: list[str]
    other_outputs: bool = False
    """Whether it differs in its first extent alone: a classifier of other classes."""


def _compare(layer: StoredLayer, shapes: Sequence[Shape], hdf5: bool, shared: set[int]) -> _Fit:
    """The arrays of one layer in the net's shapes, and what does not fit."""
    blobs = list(layer.blobs)
    if hdf5:
        blobs += [None] * (len(shapes) - len(blobs))
    if len(blobs) != len(shapes):
        return _Fit([], [f"{_count(len(layer.blobs))} in the file and {_count(len(shapes))} in the net"])
    arrays: list[Array | None] = []
    problems: list[str] = []
    outputs: list[bool] = []
    for index, (blob, shape) in enumerate(zip(blobs, shapes, strict=True)):
        if blob is None:
            arrays.append(None)
            if index not in shared:
                problems.append(f"blob {index} is not in the file, and the net does not share it")
        elif fits(blob, shape):
            arrays.append(blob.array.reshape(shape))
        else:
            problems.append(f"blob {index} has shape {blob.array.shape} in the file and {shape} in the net")
            outputs.append(blob.array.shape[1:] == shape[1:] and blob.array.ndim == len(shape))
    return _Fit(arrays, problems, bool(outputs) and all(outputs))


def fits(blob: StoredBlob, shape: Shape) -> bool:
    """Whether a stored blob can be the values of one of `shape`, by Caffe's rule."""
    stored: Shape = blob.array.shape
    return stored == ((1,) * (4 - len(shape)) + shape if blob.legacy else shape)


def _count(blobs: int) -> str:
    return "1 blob" if blobs == 1 else f"{blobs} blobs"


def _raise(path: str | None, problems: list[str], renames: list[str]) -> None:
    several = [f"{len(problems)} things do not fit the net:", *problems]
    message = problems[0] if len(problems) == 1 else "\n  ".join(several)
    hint = None
    if renames:
        names = ", ".join(repr(name) for name in renames)
        hint = f"other numbers of outputs: give {names} another name in the net to train it anew"
    raise WeightsError(message, where=Where(file=path), hint=hint)
