"""What a training needs, beside Caffe's solverstate, to go on as if it had never stopped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from proto2torch.net import Net, copies
from proto2torch.solvers.base import Rule
from proto2torch.training.nets import Nets


def state(nets: Nets, iteration: int, device: torch.device) -> dict[str, Any]:
    """The state of now, of plain values and tensors."""
    kept: dict[str, Any] = {
        "iter": iteration,
        "train": _feeds(nets.train),
        "tests": [_feeds(net) for net in nets.tests],
        "memories": [copies.remembered(net.blobs) for net in (nets.train, *nets.tests)],
        "random": torch.get_rng_state(),
    }
    if device.type == "cuda":
        kept["cuda"] = torch.cuda.get_rng_state(device)
    return kept


def load(nets: Nets, kept: Mapping[str, Any], device: torch.device) -> None:
    """Go on from `kept`; data layers that it does not know keep their place."""
    _set_feeds(nets.train, kept["train"])
    for net, feeds in zip(nets.tests, kept["tests"], strict=False):
        _set_feeds(net, feeds)
    for net, memories in zip((nets.train, *nets.tests), kept.get("memories", ()), strict=False):
        copies.remember(net.blobs, memories)
    torch.set_rng_state(kept["random"])
    if device.type == "cuda" and "cuda" in kept:
        torch.cuda.set_rng_state(kept["cuda"], device)


def divided(rule: Rule) -> list[dict[str, Any]]:
    """The buffers that a rule keeps divided by its `scale`, as they lie, and that scale; a group each.

    Caffe's history is their product, rounded, from which they do not come back bit for bit.
    """
    found = []
    for at, group in enumerate(rule.param_groups):
        if group.get("scale", 1.0) != 1.0:
            states = [rule.state.get(param, {}) for param in group["params"]]
            buffers = [{name: value.detach().cpu().clone() for name, value in state.items()} for state in states]
            found.append({"group": at, "scale": group["scale"], "buffers": buffers})
    return found


def set_divided(rule: Rule, kept: Sequence[Mapping[str, Any]]) -> None:
    """Put back what `divided` gave."""
    for entry in kept:
        group = rule.param_groups[entry["group"]]
        group["scale"] = entry["scale"]
        for param, buffers in zip(group["params"], entry["buffers"], strict=True):
            for name, value in buffers.items():
                rule.state[param][name].copy_(value)


def _feeds(net: Net) -> dict[str, Any]:
    return {layer: feed.state() for layer, feed in net.feeds.items()}


def _set_feeds(net: Net, kept: Mapping[str, Any]) -> None:
    for layer, feed in net.feeds.items():
        if layer in kept:
            feed.load_state(kept[layer])
