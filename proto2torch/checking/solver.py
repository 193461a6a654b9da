"""A solver: whether it can be run, whether its nets can, and what of it trains badly without failing."""

from __future__ import annotations

import os
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from proto2torch.checking import net as nets
from proto2torch.checking.findings import Findings
from proto2torch.checking.records import count
from proto2torch.cost.fitting import advice
from proto2torch.cost.memory import HISTORY
from proto2torch.errors import SolverError
from proto2torch.ir.graph import Net
from proto2torch.prototxt.document import Document
from proto2torch.prototxt.read import read_solver
from proto2torch.solvers import definition as definitions
from proto2torch.solvers import sources
from proto2torch.solvers.definition import HYPERPARAMETERS
from proto2torch.solvers.sources import NetSource
from proto2torch.training import nets as training
from proto2torch.training import snapshot

_POLICY = ("gamma", "power", "stepsize", "stepvalue")
_USES: dict[str, tuple[str, ...]] = {
    "fixed": (),
    "step": ("gamma", "stepsize"),
    "exp": ("gamma",),
    "inv": ("gamma", "power"),
    "multistep": ("gamma", "stepvalue"),
    "poly": ("power",),
    "sigmoid": ("gamma", "stepsize"),
    "plateau": ("gamma",),
    "multifixed": (),
}
_OF_RULES = ("momentum", "momentum2", "rms_decay", "delta")


def check(
    path: str, findings: Findings, allow_python_layers: bool = False, memory: tuple[int, str] | None = None
) -> None:
    """Gather what is wrong with a solver file and the nets it names; `memory` is how much what has, to train on."""
    with findings.gathering():
        document = read_solver(path)
        with findings.gathering():
            definition = definitions.read(document)
            with findings.gathering():
                training.weight_files(None, definition)
            _rates(document, findings)
            _course(document, findings)
            _unused(document, findings)
        graph = _nets(document, findings, allow_python_layers)
        if graph is not None and memory is not None and document.message.type in HISTORY:
            _memory(document, graph, memory, findings)


def _memory(document: Document, graph: Net, memory: tuple[int, str], findings: Findings) -> None:
    """Whether a training step fits."""
    p = document.message
    found = advice(graph, p.type, p.iter_size, *memory)
    if found is not None:
        findings.warn(found.text, found.where, found.hint)


def _nets(document: Document, findings: Findings, allow_python_layers: bool) -> Net | None:
    """The nets, also where something else of the solver is wrong; the graph of the one that trains."""

    def ignore(field: str, text: str) -> None:
        """Was reported already."""

    trained: Net | None = None
    train, tests = sources.train(document, ignore), sources.tests(document, ignore)
    if train is not None:
        graph = trained = _net(document, train, "TRAIN", findings, allow_python_layers)
        if graph is not None:
            _train(document, train, graph, findings)
    for source in tests:
        graph = _net(document, source, "TEST", findings, allow_python_layers)
        if graph is not None:
            _coverage(document, source, graph, findings)
    return trained


def _train(document: Document, source: NetSource, graph: Net, findings: Findings) -> None:
    """What the solver asks of its train net."""
    p = document.message
    if not any(True for _ in graph.objective):
        findings.warn("the train net has no loss: nothing will learn", document.where(source.field))
    if p.snapshot_format == p.HDF5 and (p.snapshot or p.snapshot_after_train):
        with findings.gathering():
            snapshot.check_names(graph.nodes)


def _net(
    document: Document, source: NetSource, phase: str, findings: Findings, allow_python_layers: bool
) -> Net | None:
    holder: Any = SimpleNamespace(path=document.path, document=document)
    with findings.gathering():
        whole = training.read(holder, source)
        return nets.check(
            whole,
            findings=findings,
            pretrained=bool(document.message.weights),
            allow_python_layers=allow_python_layers,
            **training.selection(whole, source, phase),
        )
    return None


def _coverage(document: Document, source: NetSource, graph: Net, findings: Findings) -> None:
    """Whether a test sees each record once."""
    index = list(sources.tests(document, lambda field, text: None)).index(source)
    for node in nets.feeders(graph):
        records = count(node.definition)
        if not records or not node.outputs[0].shape or not source.iterations:
            continue
        batch = node.outputs[0].shape[0]
        seen = batch * source.iterations
        whole = -(-records // batch)
        where = document.where(f"test_iter[{index}]")
        if seen < records:
            text = f"a test sees {seen} of the {records} records of layer {node.name!r}"
            findings.warn(f"{text}: {source.iterations} batches of {batch}", where, f"test_iter: {whole} covers them")
        elif seen > whole * batch or (seen > records and records % batch):
            text = f"a test sees {seen} records of layer {node.name!r}, which has {records}: some count twice"
            exact = next((b for b in range(batch, 0, -1) if records % b == 0), 1)
            findings.warn(text, where, f"batch_size {exact} and test_iter {records // exact} see each once")


def _rates(document: Document, findings: Findings) -> None:
    """Learning rates that do not do what their policy is for."""
    p = document.message
    if p.base_lr == 0 and p.lr_policy != "multifixed":
        findings.warn("base_lr is missing or 0: nothing will learn", document.where("base_lr"))
    for name in ("base_lr", "weight_decay", "stagelr"):
        if any(value < 0 for value in _values(p, name)):
            findings.warn(f"{name} is negative: the training goes uphill", document.where(name))
    if p.momentum < 0 or (p.momentum >= 1 and p.type in ("SGD", "Nesterov")):
        text = f"momentum {p.momentum:g} is not between 0 and 1: the training diverges or goes back and forth"
        findings.warn(text, document.where("momentum"))
    if p.clip_gradients == 0:
        findings.warn(
            "clip_gradients is 0: every gradient becomes 0, and nothing will learn", document.where("clip_gradients")
        )
    uses = _USES[p.lr_policy]
    if "gamma" in uses and p.gamma == 0:
        effect = "the rate never changes" if p.lr_policy in ("inv", "sigmoid") else "the rate falls to 0 at once"
        effect = "the rate falls to 0 at its first step" if p.lr_policy in ("step", "multistep", "plateau") else effect
        findings.warn(f"gamma is missing or 0 for the {p.lr_policy} policy: {effect}", document.where("lr_policy"))
    if "power" in uses and p.power == 0:
        text = f"power is missing or 0 for the {p.lr_policy} policy: the rate never changes"
        findings.warn(text, document.where("lr_policy"))
    if p.lr_policy == "step" and p.max_iter and p.stepsize >= p.max_iter:
        text = f"stepsize {p.stepsize} is not below max_iter {p.max_iter}: the rate never changes"
        findings.warn(text, document.where("stepsize"))
    if p.lr_policy == "multistep":
        _stepvalues(document, list(p.stepvalue), findings)


def _values(p: Any, name: str) -> Sequence[float]:
    value = getattr(p, name)
    return [value] if isinstance(value, float) else list(value)


def _stepvalues(document: Document, values: Sequence[int], findings: Findings) -> None:
    last = document.message.max_iter
    if not values:
        findings.warn("the multistep policy has no stepvalue: the rate never changes", document.where("lr_policy"))
    for i, value in enumerate(values):
        if i and value <= values[i - 1]:
            text = f"stepvalues must grow to take effect where they say. Received: {value} after {values[i - 1]}"
            findings.warn(text, document.where(f"stepvalue[{i}]"))
        elif last and value >= last:
            text = f"stepvalue {value} is not below max_iter {last}: it has no effect"
            findings.warn(text, document.where(f"stepvalue[{i}]"))


def _course(document: Document, findings: Findings) -> None:
    """What the training does and leaves."""
    p = document.message
    if p.max_iter == 0:
        findings.warn("max_iter is missing or 0: nothing will be trained", document.where("max_iter"))
    if p.snapshot == 0 and not p.snapshot_after_train:
        findings.warn("no snapshot is ever written: the weights are lost at the end", document.where("snapshot"))
    elif p.max_iter and p.snapshot > p.max_iter and not p.snapshot_after_train:
        text = f"snapshot {p.snapshot} is above max_iter {p.max_iter}: no snapshot is ever written"
        findings.warn(text, document.where("snapshot"))
    if p.test_interval and not p.test_iter:
        text = "test_interval is given without test_iter: nothing is ever tested"
        findings.warn(text, document.where("test_interval"), "test_iter: how many batches a test takes")
    if any(count == 0 for count in p.test_iter):
        at = list(p.test_iter).index(0)
        findings.warn("test_iter is 0: a test of no batches shows nothing", document.where(f"test_iter[{at}]"))
    if p.test_interval > p.max_iter > 0 and p.test_iter:
        text = f"test_interval {p.test_interval} is above max_iter {p.max_iter}: what was learned is never tested"
        findings.warn(text, document.where("test_interval"))
    if p.display == 0:
        findings.warn("display is missing or 0: the loss is never shown", document.where("display"))
    folder = os.path.dirname(p.snapshot_prefix)
    beside = os.path.join(os.path.dirname(document.path or ""), folder)
    if folder and not os.path.isdir(folder) and not os.path.isdir(beside):
        text, hint = f"the folder of snapshot_prefix, {folder!r}, is not there", f"create it first: mkdir -p {folder}"
        findings.errors.append(SolverError(text, where=document.where("snapshot_prefix"), hint=hint))


def _unused(document: Document, findings: Findings) -> None:
    """Fields that are given and do nothing."""
    p = document.message
    given = {field.name for field, _ in p.ListFields()}
    for name in _POLICY:
        if name in given and name not in _USES[p.lr_policy]:
            findings.warn(f"{name} has no effect under the {p.lr_policy} policy", document.where(name))
    for name in _OF_RULES:
        if name in given and name not in HYPERPARAMETERS[p.type]:
            findings.warn(f"{name} has no effect on {p.type}", document.where(name))
    if p.type in ("Nesterov", "Adam") and "momentum" not in given:
        findings.warn(f"momentum is 0 for {p.type} unless it is given, as in Caffe", document.where("type"))
