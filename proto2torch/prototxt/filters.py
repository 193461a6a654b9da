"""Caffe's include and exclude rules: the layers of one phase, level and set of stages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from proto2torch.errors import NetError, Proto2TorchError, raise_problems
from proto2torch.prototxt import schema
from proto2torch.prototxt.document import LayerDefinition, NetDefinition

PHASES = {"TRAIN": 0, "TEST": 1}
"""Caffe's phases and their numbers."""


def select(net: NetDefinition, phase: str, level: int = 0, stages: Sequence[str] = ()) -> NetDefinition:
    """The net with the layers that its rules include; its `state` is the one that decided.

    `phase` and `level` replace those of the file's own `state`; `stages` are added to it. A layer's own `phase` field
    is no rule: it says how the layer computes.

    Raises:
        NetError: a layer has both include and exclude rules; Problems, if several have.
    """
    state = _state(net, phase, level, stages)
    problems: list[Proto2TorchError] = []
    layers = []
    for layer in net.layers:
        includes, excludes = layer.message.include, layer.message.exclude
        if not includes and not excludes:
            layers.append(layer)
        elif includes and excludes:
            text = "a layer takes include rules or exclude rules. Received: both"
            problems.append(NetError(text, where=layer.where("exclude")))
        elif _included(layer, state):
            layers.append(layer)
    raise_problems(problems)
    return replace(net, layers=tuple(layers), state=state)


def _state(net: NetDefinition, phase: str, level: int, stages: Sequence[str]) -> Any:
    if phase not in PHASES:
        raise NetError(f"a phase is TRAIN or TEST. Received: {phase!r}")
    state = schema.new("NetState")
    if net.state is not None:
        state.CopyFrom(net.state)
    state.phase, state.level = PHASES[phase], level
    state.stage.extend(stages)
    return state


def _included(layer: LayerDefinition, state: Any) -> bool:
    """With include rules, whether any matches; with exclude rules, whether none does."""
    if layer.message.include:
        return any(matches(rule, state) for rule in layer.message.include)
    return not any(matches(rule, state) for rule in layer.message.exclude)


def matches(rule: Any, state: Any) -> bool:
    """Whether a NetStateRule holds in a NetState: each condition that it gives, so that an empty one always holds."""
    return unmet(rule, state) is None


def unmet(rule: Any, state: Any) -> str | None:
    """The first condition of a NetStateRule that does not hold, as Caffe logs it; None where all do."""
    if rule.HasField("phase") and rule.phase != state.phase:
        return f"The NetState phase ({state.phase}) differed from the phase ({rule.phase})"
    if rule.HasField("min_level") and state.level < rule.min_level:
        return f"The NetState level ({state.level}) is below the min_level ({rule.min_level})"
    if rule.HasField("max_level") and state.level > rule.max_level:
        return f"The NetState level ({state.level}) is above the max_level ({rule.max_level})"
    missing = next((stage for stage in rule.stage if stage not in state.stage), None)
    if missing is not None:
        return f"The NetState did not contain stage '{missing}'"
    present = next((stage for stage in rule.not_stage if stage in state.stage), None)
    return None if present is None else f"The NetState contained a not_stage '{present}'"
