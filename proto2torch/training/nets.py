"""The train net and the test nets of a solver: which files, which layers, in which order they draw their weights."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from proto2torch import files
from proto2torch.errors import SolverError, WeightsError, Where
from proto2torch.net import Net, load_definition
from proto2torch.prototxt import replace as replacing
from proto2torch.prototxt import schema, upgrade
from proto2torch.prototxt.document import Document, NetDefinition
from proto2torch.prototxt.read import read_net
from proto2torch.prototxt.replace import New
from proto2torch.solvers.definition import SolverDefinition
from proto2torch.solvers.sources import NetSource
from proto2torch.training import net_log
from proto2torch.training.log import Log
from proto2torch.weights.random import Stream

PHASES = ("TRAIN", "TEST")
"""Caffe's phases by their numbers."""


@dataclass
class Nets:
    """What a solver trains and what it tests; the test nets use the train net's weights."""

    train: Net
    tests: list[Net]

    def close(self) -> None:
        """Close what their data layers read."""
        for net in (self.train, *self.tests):
            net.close()


def build(
    definition: SolverDefinition,
    *,
    device: torch.device,
    weights: Sequence[str] = (),
    level: int | None = None,
    stages: Sequence[str] = (),
    allow_python_layers: bool = False,
    data: Mapping[str, Any] | None = None,
    test_data: Mapping[str, Any] | Sequence[Mapping[str, Any]] = (),
    replaced: Mapping[str, New] | None = None,
    strict: bool = False,
    log: Log,
) -> Nets:
    """Build the train net, then the test nets, all from one stream of random numbers, and load `weights` into each.

    `level`, where given, and `stages` go to the train net alone, as `caffe train` does. `data` feeds layers of the
    train net, by name, in place of what they read; `test_data` those of the test nets, one for all or one each.
    Layers of all nets are `replaced`; `strict` refuses weights of other layers than the train net's.
    """
    stream = Stream(definition.random_seed)
    how: dict[str, Any] = {"device": device, "stream": stream, "allow_python_layers": allow_python_layers}
    how |= {"replaced": replaced or {}, "log": log}
    log(f"Creating training net from {definition.train.described}")
    train = _load(definition, definition.train, "TRAIN", level, stages, feeds=data, **how)
    nets = Nets(train, [])
    try:
        for i, (source, feeds) in enumerate(zip(definition.tests, _for_each(test_data, definition), strict=True)):
            log(f"Creating test net (#{i}) specified by {source.described}")
            nets.tests.append(_load(definition, source, "TEST", feeds=feeds, **how))
        for note in dict.fromkeys(note for net in (train, *nets.tests) for note in net.notes):
            log(note)
        for path in weights:
            log(f"Finetuning from {path}")
            for line in train.load_weights(path, strict).lines():
                log(line)
            for net in nets.tests:
                net.load_weights(path)
        for net in nets.tests:
            net.share(train)
    except BaseException:
        nets.close()
        raise
    return nets


def _for_each(
    test_data: Mapping[str, Any] | Sequence[Mapping[str, Any]], definition: SolverDefinition
) -> Sequence[Mapping[str, Any]]:
    """The feeds of each test net."""
    tests = len(definition.tests)
    if isinstance(test_data, Mapping):
        return [test_data] * tests
    if not test_data:
        return [{}] * tests
    if len(test_data) != tests:
        message = f"test_data must be given once, or for each of {tests} test nets. Received: {len(test_data)}"
        raise SolverError(message, where=definition.document.where())
    return test_data


def _load(
    definition: SolverDefinition,
    source: NetSource,
    phase: str,
    level: int | None = None,
    stages: Sequence[str] = (),
    *,
    replaced: Mapping[str, New],
    log: Log,
    **how: Any,
) -> Net:
    whole = replacing.apply(read(definition, source), replaced)
    net = load_definition(replace(whole, state=None), **selection(whole, source, phase, level, stages), **how)
    for line in net_log.lines(net, whole):
        log(line)
    return net


def read(definition: SolverDefinition, source: NetSource) -> NetDefinition:
    """The net that a solver means: of a file, or of the solver's own text.

    Raises:
        SolverError: the file that it names is not there, or is a folder.
    """
    document = definition.document
    if source.path is not None:
        path = files.resolve(source.path, definition.path)
        if not os.path.exists(path) or os.path.isdir(path):
            reason = "is a folder" if os.path.isdir(path) else "is not there"
            raise SolverError(f"the net {source.path!r} {reason}", where=document.where(source.field))
        return read_net(path)
    name, _, index = source.field.partition("[")
    message = getattr(document.message, name)
    mark = document.mark.find(source.field) if document.mark is not None else None
    return upgrade.net(Document(message[int(index[:-1])] if index else message, mark, document.source))


def selection(
    whole: NetDefinition, source: NetSource, phase: str, level: int | None = None, stages: Sequence[str] = ()
) -> dict[str, Any]:
    """The phase, level and stages that select the layers of a net: those that its states say; `level`, where it is
    given, in place of theirs, and `stages` behind theirs."""
    state = merged(phase, whole.state, source.state)
    level = state.level if level is None else level
    return {"phase": PHASES[state.phase], "level": level, "stages": (*state.stage, *stages)}


def merged(phase: str, net: Any, solver: Any) -> Any:
    """The NetState of a net: its phase, then what the net's own state says, then the solver's; stages add up."""
    state = schema.new("NetState")
    state.phase = PHASES.index(phase)
    for more in (net, solver):
        if more is not None:
            state.MergeFrom(more)
    return state


def weight_files(given: str | Sequence[str] | None, definition: SolverDefinition) -> list[str]:
    """The files to start from: those given, else those of the solver file.

    Raises:
        WeightsError: one is not there; said before nets are built.
    """
    parts = given.split(",") if isinstance(given, str) else given
    paths = definition.weights if parts is None else [part.strip() for part in parts if part.strip()]
    where = definition.document.where("weights") if parts is None else Where()
    found = [files.resolve(path, definition.path) if parts is None else path for path in paths]
    for path in found:
        if not os.path.exists(path):
            raise WeightsError(f"the weights {path!r} are not there", where=where)
    return found


def batch_size(net: Net) -> int:
    """How many records an iteration of a net takes: the first extent of what its first data layer gives; else 0."""
    shapes = [feed.shapes[0] for feed in net.feeds.values()]
    return next((shape[0] for shape in shapes if shape), 0)
