"""The weights that a training script begins with, as the state_dict of its own train net."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from proto2torch.codegen.source import Source
from proto2torch.data import unread
from proto2torch.ir.graph import Shape
from proto2torch.net import Net
from proto2torch.net.loading import load_definition
from proto2torch.prototxt import filters
from proto2torch.solvers.definition import SolverDefinition
from proto2torch.training import nets
from proto2torch.weights.random import Stream


def state(
    d: SolverDefinition,
    source: Source,
    files: Sequence[str],
    *,
    strict: bool = False,
    level: int | None = None,
    stages: Sequence[str] = (),
    shapes: Mapping[str, Shape] | None = None,
) -> tuple[dict[str, Any], list[str]]:
    """The state_dict of the train net that `source` defines, with the weights of `files` one after the other, and what
    there is to say of each. What no file has begins as Caffe's fillers draw it from the solver's `random_seed`.

    Raises:
        WeightsError: a file cannot be read, or does not fit.
    """
    net = _net(d, level, stages, shapes or {})
    try:
        lines = [line for path in files for line in net.load_weights(path, strict).lines()]
        return net.state(source), lines
    finally:
        net.close()


def _net(d: SolverDefinition, level: int | None, stages: Sequence[str], shapes: Mapping[str, Shape]) -> Net:
    """The train net, as a training builds it."""
    definition = nets.read(d, d.train)
    which = nets.selection(definition, d.train, "TRAIN", level, stages)
    feeds = unread.feeds(filters.select(definition, **which).layers, shapes)
    return load_definition(replace(definition, state=None), stream=Stream(d.random_seed), feeds=feeds, **which)
