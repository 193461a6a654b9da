"""Snapshots: the weights and the solver's state as Caffe writes them, and beside them what Caffe does not keep.

A snapshot of iteration N is `{prefix}_iter_{N}.caffemodel` and `.solverstate` (with HDF5, each with `.h5`), and a
`.resume` of our own: where the data layers stand and the random states, so that a resumed training goes on as if it had
never stopped. All are written to a folder beside and then moved, the solverstate last, so that where it is, the others
are, whatever moment the process is killed at.
"""

from __future__ import annotations

import glob
import io
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from proto2torch import files, weights
from proto2torch.errors import Proto2TorchError, RunError, SolverError, Where, why
from proto2torch.ir.graph import Node
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
    iteration: int = field(default=0, compare=False)
    """The updates done at the snapshot."""


def names(prefix: str, iteration: int, hdf5: bool) -> Names:
    """What the files of iteration `iteration` are called."""
    stem, ending = f"{prefix}_iter_{iteration}", ".h5" if hdf5 else ""
    return Names(f"{stem}.caffemodel{ending}", f"{stem}.solverstate{ending}", f"{stem}.resume", iteration)


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


def listed(prefix: str) -> list[tuple[int, str]]:
    """(iteration, solverstate) of every snapshot whose weights are there too, the newest last."""
    pattern = re.compile(re.escape(prefix) + r"_iter_(\d+)\.solverstate(\.h5)?")
    return sorted(
        (int(match[1]), path)
        for path in glob.glob(glob.escape(prefix) + "_iter_*.solverstate*")
        if (match := pattern.fullmatch(path)) and os.path.isfile(_model_beside(path))
    )


def newest(prefix: str, say: Callable[[str], None] = lambda line: None, run: str | None = None) -> str | None:
    """The solverstate of the newest complete snapshot: the one of the most iterations whose files can be read.

    Those of the run `run` come before all others, whatever their iterations. `say` is told of each that is passed over,
    as one that Caffe was killed at: it writes straight to the final name.
    """
    for _, path in reversed(by_run(prefix, run)):
        try:
            state = solverstate.read(path)
            weights.read_stored(_model_beside(path))
            read_resume(path, state.iter)
        except Proto2TorchError as error:
            say(f"passing over {path}: {str(error).splitlines()[0]}")
        else:
            return path
    return None


def by_run(prefix: str, run: str | None) -> list[tuple[int, str]]:
    """As `listed`, those of the run `run` behind all others."""
    found = listed(prefix)
    return sorted(found, key=lambda entry: (run is not None and run_of(entry[1]) in (run, BROKEN), entry))


BROKEN = "?"
"""In place of a run, where the file that would say it cannot be read."""


def run_of(state: str) -> str | None:
    """The run that a snapshot is of; None where nothing says so, as of Caffe's."""
    resume = _resume_beside(state)
    if not os.path.exists(resume):
        return None
    try:
        content = torch.load(resume, map_location="cpu", weights_only=True)
    except Exception:  # whatever torch makes of a broken file
        return BROKEN
    return str(content["run"]["run"]) if "run" in content else None


def remove(state: str) -> None:
    """Remove a snapshot by its solverstate, which goes first, so that what is left never looks complete."""
    for path in (state, _resume_beside(state), _model_beside(state)):
        with suppress(FileNotFoundError):
            os.remove(path)


def _model_beside(state: str) -> str:
    folder, name = os.path.split(state)
    return os.path.join(folder, name.replace(".solverstate", ".caffemodel"))


def _resume_beside(state: str) -> str:
    return re.sub(r"\.solverstate(\.h5)?$", "", state) + ".resume"


def check_writable(prefix: str, where: Where) -> None:
    """Refuse a prefix in whose folder no file can be made, before any work is done."""
    folder = os.path.dirname(prefix) or "."
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        reason = why(error)
        hint = f"create the folder first: mkdir -p {folder}" if not os.path.isdir(folder) else None
        raise SolverError(f"snapshots cannot be written to {prefix!r}: {reason}", where=where, hint=hint) from error


def check_names(nodes: Iterable[Node]) -> None:
    """Refuse a net whose layers an HDF5 snapshot cannot hold.

    Raises:
        SolverError: for the first of them, at its line.
    """
    taken: set[str] = set()
    for node in nodes:
        reason = hdf5.refusal(node.name, taken)
        if reason is not None:
            raise SolverError(f"snapshot_format HDF5: {reason}", where=node.definition.where("name"), hint=_BINARY)
        taken.add(node.name)


_BINARY = "a binary snapshot can: snapshot_format: BINARYPROTO"


@dataclass(frozen=True)
class Taken:
    """A snapshot in memory."""

    names: Names
    net: str
    layers: list[tuple[Any, list[Array]]]
    diffs: list[list[Array]] | None
    """For snapshot_diff, what the last update took from each blob."""
    shared: list[tuple[str, int]]
    """The (layer, index) of blobs that another layer owns."""
    resume: bytes
    state: SolverState

    def write(self) -> None:
        """Write all files, or none.

        Raises:
            RunError: a file cannot be written. Older snapshots stay as they were.
        """
        names = self.names
        with _together((names.model, names.resume, names.state)) as (model, resume, solver):
            if model.endswith(".h5"):
                hdf5.write(model, self.layers, self.diffs, self.shared)
            else:
                caffemodel.write(model, self.net, self.layers, self.diffs, seal=True)
            with files.atomic(resume) as temporary:
                temporary.write_bytes(self.resume)
            solverstate.write(solver, self.state, seal=True)


def take(names: Names, net: Net, rule: Rule, state: Progress, *, diffs: bool, log: Log, copied: bool = True) -> Taken:
    """What a snapshot holds; where it is `copied`, the training may go on before it is written."""

    def own(arrays: Iterable[Array]) -> list[Array]:
        return [array.copy() if copied else array for array in arrays]

    kind = "HDF5" if names.model.endswith(".h5") else "binary proto"
    log(f"Snapshotting to {kind} file {names.model}")
    log(f"Snapshotting solver state to {kind} file {names.state}")
    content = io.BytesIO()  # torch says nothing useful of a full disk
    torch.save(state.resume, content)
    kept = own(history(net, rule))
    return Taken(
        names,
        net.name,
        [(message, own(arrays)) for message, arrays in net.layer_messages()],
        [own(arrays) for arrays in _updates(net)] if diffs else None,
        [(node.name, param.index) for node in net.graph.nodes for param in node.params if param.owner],
        content.getvalue(),
        SolverState(state.iteration, names.model, kept, state.current_step),
    )


@contextmanager
def _together(paths: Sequence[str]) -> Iterator[list[str]]:
    """Write several files of one folder, all or none: yields their names in a folder beside, then moves them.

    The last of them marks the others as complete: where it is replaced, it goes before they do.
    """
    folder, last = os.path.split(os.path.abspath(paths[-1]))
    stem = re.sub(r"\.solverstate(\.h5)?$", "", last)
    staging = os.path.join(folder, f".{stem}.{secrets.token_hex(4)}.tmp")
    try:
        _sweep(folder, re.sub(r"_(iter_\d+|best)$", "", stem))
        os.mkdir(staging)
        staged = [os.path.join(staging, os.path.basename(path)) for path in paths]
        yield staged
        with suppress(FileNotFoundError):
            os.remove(paths[-1])
        for source, path in zip(staged, paths, strict=True):
            os.replace(source, path)
        files.sync(Path(folder))
    except RunError as error:
        final = os.path.join(os.path.dirname(paths[-1]), os.path.basename(error.file or paths[-1]))
        raise RunError(error.message, where=Where(file=final), hint=error.hint) from error
    except OSError as error:
        reason = why(error)
        raise RunError(f"cannot write it: {reason}", where=Where(file=paths[-1])) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _sweep(folder: str, prefix: str) -> None:
    """Remove what processes that were killed left of their snapshots."""
    pattern = re.compile(rf"\.{re.escape(prefix)}_(iter_\d+|best)\.[0-9a-f]{{8}}\.tmp")
    for name in os.listdir(folder):
        if pattern.fullmatch(name):
            shutil.rmtree(os.path.join(folder, name), ignore_errors=True)


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
    resume = _resume_beside(path)
    if not os.path.exists(resume):
        return None
    hint = "without this file the training resumes as Caffe does, its data layers from their start"
    try:
        content = torch.load(resume, map_location="cpu", weights_only=True)
        found = content["iter"]
    except Exception as error:
        raise SolverError("cannot read it: it is cut short or damaged", where=Where(file=resume), hint=hint) from error
    if found != iteration:
        raise SolverError(
            f"expected the state of iteration {iteration}. Received: {found}", where=Where(file=resume), hint=hint
        )
    return dict(content)


def _updates(net: Net) -> Iterator[list[Array]]:
    """What stands in the gradients of each layer's blobs, in Caffe's shapes; zeros where there is none."""
    params = net.params
    for node in net.graph.nodes:
        blobs = params.get(node.name, ())
        yield [np.zeros(b.shape, np.float32) if b.tensor.grad is None else b.to_caffe(b.tensor.grad) for b in blobs]
