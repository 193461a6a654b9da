"""Solver snapshots (.solverstate, .solverstate.h5): the iteration, the weights' file and the solver's history."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from proto2torch import files
from proto2torch.errors import SolverError, Where
from proto2torch.weights import blobproto, checksum, formats, wire
from proto2torch.weights.blobproto import Chunk
from proto2torch.weights.wire import Malformed

Array = np.ndarray[Any, Any]

_ITER, _LEARNED_NET, _HISTORY, _CURRENT_STEP = 1, 2, 3, 4


@dataclass(frozen=True)
class SolverState:
    """What a solver needs to go on."""

    iter: int
    """The number of updates done."""
    learned_net: str
    """The weight file, relative to the working directory it was written from."""
    history: Sequence[Array]
    """The first history of every learnable blob in the order of the net, then the second where the rule has one."""
    current_step: int = 0


def read(path: str) -> SolverState:
    """The state in a binary or an HDF5 file, by its content. A binary file's history are views of it.

    Raises:
        SolverError: the file cannot be read or is no solver state.
    """
    data = wire.mapped(path, SolverError)
    if formats.is_hdf5(data):
        return _read_hdf5(path)
    formats.refuse_other(data, path, "a .solverstate", SolverError)
    try:
        return _decode(data, path)
    except Malformed as error:
        raise SolverError(f"expected a .solverstate: {error}", where=Where(file=path)) from error


def write(path: str, state: SolverState, seal: bool = False) -> None:
    """Write a state as Caffe does, as HDF5 where `path` ends in `.h5`, and else as a binary message, byte for byte.

    With `seal` a checksum follows the message, which Caffe skips and `read` verifies.

    Raises:
        RunError: the file cannot be written.
    """
    if path.endswith(".h5"):
        _write_hdf5(path, state)
        return
    total = checksum.Checksum()
    with files.atomic(path) as temporary, open(temporary, "wb") as file:
        for chunk in _encode(state):
            total.add(chunk)
            file.write(chunk)
        if seal:
            file.write(total.field())


def _encode(state: SolverState) -> Iterator[Chunk]:
    yield wire.tag(_ITER, wire.VARINT) + wire.encode(state.iter)
    name: list[Chunk] = [os.fsencode(state.learned_net)]
    yield from blobproto.delimited(_LEARNED_NET, name)
    for entry in state.history:
        yield from blobproto.delimited(_HISTORY, blobproto.encode(entry))
    yield wire.tag(_CURRENT_STEP, wire.VARINT) + wire.encode(state.current_step)


def _decode(data: memoryview, path: str) -> SolverState:
    iteration = step = 0
    learned_net = ""
    history: list[Array] = []
    for field in wire.fields(data, 0, len(data)):
        if field.number == _ITER:
            iteration = field.signed32("iter")
        elif field.number == _LEARNED_NET:
            field.expect(wire.BYTES, "learned_net")
            learned_net = os.fsdecode(bytes(data[field.start : field.end]))
        elif field.number == _HISTORY:
            field.expect(wire.BYTES, "history")
            history.append(blobproto.decode(data, field.start, field.end).array)
        elif field.number == _CURRENT_STEP:
            step = field.signed32("current_step")
        elif field.number == checksum.FIELD and field.kind == wire.FIXED64:
            checksum.verify(data, field, path, SolverError)
    _check_count(iteration, "iter")
    _check_count(step, "current_step")
    return SolverState(iteration, learned_net, history, step)


def _check_count(value: int, what: str) -> None:
    if not 0 <= value < 2**31:
        raise Malformed(0, f"{what} must lie in [0, 2^31). Received: {value}")


def _read_hdf5(path: str) -> SolverState:
    from proto2torch.weights import hdf5

    with hdf5.opened(path, SolverError) as file:
        history = hdf5.member(file, "history")
        if history is None:
            raise SolverError("no solver state: it has no 'history'", where=Where(file=path))
        entries = [hdf5.values(history, str(index), path, SolverError) for index in range(len(history))]
        iteration, step = (int(_single(file, name, "iu")) for name in ("iter", "current_step"))
        return SolverState(iteration, os.fsdecode(_single(file, "learned_net", "SO")), entries, step)


def _single(file: Any, name: str, kinds: str) -> Any:
    """The one value of a dataset, whose dtype must be of `kinds`."""
    from proto2torch.weights import hdf5

    dataset = hdf5.member(file, name)
    if dataset is None or dataset.size != 1 or dataset.dtype.kind not in kinds:
        raise ValueError(f"expected one value of a fitting type in {name!r}. Received: {dataset}")
    return dataset[()].reshape(-1)[0] if dataset.shape else dataset[()]


def _write_hdf5(path: str, state: SolverState) -> None:
    from proto2torch.weights import hdf5

    def fill(file: Any) -> None:
        file.create_dataset("iter", data=np.array([state.iter], "<i4"))
        hdf5.put_text(file, "learned_net", os.fsencode(state.learned_net))
        file.create_dataset("current_step", data=np.array([state.current_step], "<i4"))
        history = file.create_group("history")
        for index, entry in enumerate(state.history):
            history.create_dataset(str(index), data=np.asarray(entry, dtype="<f4"))

    hdf5.create(path, fill)
