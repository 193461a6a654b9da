"""Snapshots: the weights and the solver's state as Caffe writes them, and beside them what Caffe does not keep.

A snapshot of iteration N is `{prefix}_iter_{N}.caffemodel` and `.solverstate` (with HDF5, each with `.h5`), and a
`.resume` of our own: where the data layers stand and the random states, so that a resumed training goes on as if it had
never stopped. The solverstate is written last, so that where it is, the others are.
"""

from __future__ import annotations

import glob
import io
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from proto2torch import files
from proto2torch.errors import SolverError, Where
from proto2torch.net import Net
from proto2torch.solvers.base import Rule
from proto2torch.solvers.definition import SolverDefinition
from proto2torch.training.log import Log
from proto2torch.weights import caffemodel, hdf5, solverstate
from proto2torch.weights.solverstate import SolverState

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Names:
    """The files of one snapshot."""

    model: str
    state: str
    resume: str


def names(prefix: str, iteration: int, hdf5: bool) -> Names:
    """What the files of iteration `iteration` are called."""
    stem, ending = f"{prefix}_iter_{iteration}", ".h5" if hdf5 else ""
    return Names(f"{stem}.caffemodel{ending}", f"{stem}.solverstate{ending}", f"{stem}.resume")


@dataclass(frozen=True)
class Progress:
    """How far a training has come, beside its weights and its history."""

    iteration: int
    current_step: int
    """Of the learning-rate policy."""
    resume: dict[str, Any]
    """What goes into the `.resume`."""


def prefix(definition: SolverDefinition) -> str:
    """Where snapshots go: snapshot_prefix from the working directory, or from the solver's folder if only that fits."""
    given, path = definition.snapshot_prefix, definition.path
    if path is None or os.path.isabs(given) or os.path.isdir(os.path.dirname(given) or "."):
        return given
    beside = os.path.join(os.path.dirname(path), given)
    return beside if os.path.isdir(os.path.dirname(beside)) else given


def newest(prefix: str) -> str | None:
    """The solverstate of the newest complete snapshot: the one of the most iterations whose weights are there too."""
    pattern = re.compile(re.escape(prefix) + r"_iter_(\d+)\.solverstate(\.h5)?")
    found = [
        (int(match[1]), path)
        for path in glob.glob(glob.escape(prefix) + "_iter_*.solverstate*")
        if (match := pattern.fullmatch(path)) and os.path.isfile(path.replace(".solverstate", ".caffemodel"))
    ]
    return max(found)[1] if found else None


def check_writable(prefix: str, where: Where) -> None:
    """Refuse a prefix in whose folder no file can be made, before any work is done."""
    folder = os.path.dirname(prefix) or "."
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        hint = f"create the folder first: mkdir -p {folder}" if not os.path.isdir(folder) else None
        raise SolverError(f"snapshots cannot be written to {prefix!r}: {reason}", where=where, hint=hint) from error


def save(names: Names, net: Net, rule: Rule, state: Progress, *, diffs: bool, log: Log) -> None:
    """Write a snapshot: each file whole or not at all, the solverstate last.

    Raises:
        RunError: a file cannot be written. Older snapshots stay as they were.
    """
    kind = "HDF5" if names.model.endswith(".h5") else "binary proto"
    log(f"Snapshotting to {kind} file {names.model}")
    _save_model(names.model, net, diffs)
    resume = io.BytesIO()  # torch says nothing useful of a full disk
    torch.save(state.resume, resume)
    with files.atomic(names.resume) as temporary:
        temporary.write_bytes(resume.getbuffer())
    log(f"Snapshotting solver state to {kind} file {names.state}")
    solverstate.write(names.state, SolverState(state.iteration, names.model, history(net, rule), state.current_step))


def history(net: Net, rule: Rule) -> list[Array]:
    """The rule's history in Caffe's order and shapes: the first tensor of every blob, then the second."""
    pairs = [(blob, rule.history(blob.tensor)) for blob in net.learned]
    return [blob.to_caffe(tensors[slot]) for slot in range(len(rule.slots)) for blob, tensors in pairs]


def set_history(net: Net, rule: Rule, arrays: Sequence[Array]) -> None:
    """Replace the rule's history by what `check_history` found right."""
    learned = net.learned
    for i, blob in enumerate(learned):
        own = [np.array(array, dtype=np.float32).reshape(blob.shape) for array in arrays[i :: len(learned)]]
        rule.set_history(blob.tensor, [blob.from_caffe(array) for array in own])


def check_history(net: Net, rule: Rule, arrays: Sequence[Array], where: Where) -> None:
    """Refuse the history of another rule or of another net.

    Raises:
        SolverError: there are more or fewer blobs than the rule keeps, or one has another shape.
    """
    learned, slots = net.learned, len(rule.slots)
    if len(arrays) != len(learned) * slots:
        keeps = (
            f"{type(rule).__name__} keeps {slots} history blobs for each of the net's {len(learned)} learnable blobs"
        )
        hint = (
            "it may be the snapshot of a solver of another type" if len(arrays) == len(learned) * (3 - slots) else None
        )
        raise SolverError(f"{keeps}. Received: {len(arrays)} in all", where=where, hint=hint)
    for i, array in enumerate(arrays):
        blob = learned[i % len(learned)]
        shape = tuple(blob.shape)
        if array.shape not in (shape, (1,) * (4 - len(shape)) + shape):
            which = f"history blob {i} belongs to blob {blob.index} of layer {blob.layer!r}, of shape {shape}"
            raise SolverError(f"{which}. Received: shape {array.shape}", where=where)


def model_of(state: SolverState, path: str) -> str:
    """The weight file that a solverstate names: from the working directory, else beside the solverstate.

    Raises:
        SolverError: it names none, or the file is in neither place.
    """
    if not state.learned_net:
        raise SolverError("it names no weights (learned_net)", where=Where(file=path))
    for candidate in (state.learned_net, os.path.join(os.path.dirname(path), os.path.basename(state.learned_net))):
        if os.path.isfile(candidate):
            return candidate
    raise SolverError(f"its weights are not there. Received: learned_net {state.learned_net!r}", where=Where(file=path))


def read_resume(path: str, iteration: int) -> dict[str, Any] | None:
    """What stands in the `.resume` beside a solverstate; None where there is none, as after Caffe's own snapshots.

    Raises:
        SolverError: it cannot be read, or is of another iteration.
    """
    resume = re.sub(r"\.solverstate(\.h5)?$", "", path) + ".resume"
    if not os.path.exists(resume):
        return None
    hint = "without this file the training resumes as Caffe does, its data layers from their start"
    try:
        content = torch.load(resume, map_location="cpu", weights_only=True)
        found = content["iter"]
    except Exception as error:
        raise SolverError(f"cannot read it: {error}", where=Where(file=resume), hint=hint) from error
    if found != iteration:
        raise SolverError(
            f"expected the state of iteration {iteration}. Received: {found}", where=Where(file=resume), hint=hint
        )
    return dict(content)


def _save_model(path: str, net: Net, diffs: bool) -> None:
    """The weights and, for snapshot_diff, what the last update took from each."""
    if not diffs:
        net.save(path)
    elif path.endswith(".h5"):
        shared = [(node.name, param.index) for node in net.graph.nodes for param in node.params if param.owner]
        hdf5.write(path, net.layer_messages(), _updates(net), shared)
    else:
        caffemodel.write(path, net.name, net.layer_messages(), _updates(net))


def _updates(net: Net) -> Iterator[list[Array]]:
    """What stands in the gradients of each layer's blobs, in Caffe's shapes; zeros where there is none."""
    params = net.params
    for node in net.graph.nodes:
        blobs = params.get(node.name, ())
        yield [np.zeros(b.shape, np.float32) if b.tensor.grad is None else b.to_caffe(b.tensor.grad) for b in blobs]
