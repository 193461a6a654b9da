"""How a script's parameters begin and learn: Caffe's fillers as torch's initialisers, and multipliers as groups."""

from __future__ import annotations

import math
from typing import Any

from proto2torch.codegen.source import Source
from proto2torch.errors import SolverError, UnsupportedError
from proto2torch.ir.graph import Net, Node, Param
from proto2torch.layers.base import literal, number
from proto2torch.train_script.selectors import Case, cases
from proto2torch.train_script.text import laid_out
from proto2torch.weights import fillers
from proto2torch.weights.random import Stream

_AVERAGE = 2  # FillerParameter.VarianceNorm
_FAN_OUT = 1


def owners(net: Net, source: Source) -> dict[str, tuple[Node, Param]]:
    """The parameters of a net's module that a rule may update, by their keys, each once."""
    nodes = {node.index: node for node in net.nodes}
    return {
        source.keys[p.node, p.index]: (nodes[p.node], p)
        for p in net.owners
        if not p.blob.frozen and (p.node, p.index) in source.keys
    }


# First values


def initializer(net: Net, source: Source) -> str:
    """The function `initialize`.

    Raises:
        NetError: a filler that Caffe refuses. UnsupportedError: first values that the prototxt holds itself.
    """
    values = {key: _filler(node, param) for key, (node, param) in owners(net, source).items()}
    found = cases(values)
    lines = ["@torch.no_grad()", "def initialize(net):", '    """Draw the first weights as Caffe\'s fillers do."""']
    if len(found) == 1:
        lines += ["    for parameter in net.parameters():", f"        {found[0].value}"]
    else:
        lines.append("    for name, parameter in net.named_parameters():")
        lines += _chain(found, 8)
    return laid_out("\n".join(lines))


def _chain(found: list[Case], indent: int) -> list[str]:
    """The cases as if, elif and else."""
    pad, lines = " " * indent, []
    for i, case in enumerate(found):
        head = f"{'elif' if i else 'if'} {case.condition}:" if case.condition else "else:"
        lines += [pad + head, f"{pad}    {case.value}"]
    return lines


def _filler(node: Node, param: Param) -> str:
    """The statement that fills `parameter` as Caffe fills a blob."""
    if param.blob.initial is not None or len(node.definition.message.blobs) > param.index:
        raise UnsupportedError(
            "it has first values of its own, which a training script cannot draw",
            where=node.definition.where("blobs"),
            hint="give --weights: they go beside the script, which then begins with them",
        )
    return filler_call(param.blob.filler, param.blob.shape, "parameter", node.definition.where(), param.blob.transposed)


def filler_call(
    filler: Any, shape: tuple[int, ...], name: str, where: Any, transposed: bool = False, generator: str = ""
) -> str:
    """torch's call that fills the tensor `name` from the distribution of a FillerParameter; None fills with zeros."""
    _refuse_what_caffe_refuses(filler, shape, where)
    draws = f", generator={generator}" if generator else ""
    kind = "constant" if filler is None else filler.type
    if kind == "constant":
        value = 0.0 if filler is None else filler.value
        return {0.0: f"nn.init.zeros_({name})", 1.0: f"nn.init.ones_({name})"}.get(
            value, f"nn.init.constant_({name}, {number(value)})"
        )
    if kind == "uniform":
        return f"nn.init.uniform_({name}, {number(filler.min)}, {number(filler.max)}{draws})"
    if kind == "gaussian":
        mean = f", mean={number(filler.mean)}" if filler.mean else ""
        rest = f"{mean}, std={number(filler.std)}{draws})"
        if filler.sparse == -1:
            return f"nn.init.normal_({name}{rest}"
        return f"sparse_normal_({name}, {number(filler.sparse / shape[0])}{rest}"
    if kind == "bilinear":
        return f"bilinear_({name})"
    if kind == "positive_unitball":
        return f"positive_unitball_({name}{draws})"
    return _scaled(filler, shape, name, draws, plain=len(shape) > 1 and not transposed)


def _refuse_what_caffe_refuses(filler: Any, shape: tuple[int, ...], where: Any) -> None:
    """Try the filler on a blob of this kind with few values."""
    kernel = 2 if filler is not None and filler.type == "bilinear" else 0
    few = [min(extent, 1) for extent in shape[1 : len(shape) - kernel]]
    fillers.fill(filler, (*shape[:1], *few, *shape[len(shape) - kernel :]) if shape else shape, Stream(0), where)


def _scaled(filler: Any, shape: tuple[int, ...], name: str, draws: str, plain: bool) -> str:
    """xavier: uniform within sqrt(3 / n); msra: normal with deviation sqrt(2 / n); n by variance_norm."""
    xavier = filler.type == "xavier"
    if plain and filler.variance_norm != _AVERAGE:
        mode = ', mode="fan_out"' if filler.variance_norm == _FAN_OUT else ""
        kind = 'uniform_({}{}, nonlinearity="linear"{})' if xavier else 'normal_({}{}, nonlinearity="relu"{})'
        return f"nn.init.kaiming_{kind.format(name, mode, draws)}"
    if plain:
        return f"nn.init.xavier_uniform_({name}{draws})" if xavier else f"nn.init.xavier_normal_({name}, 2**0.5{draws})"
    count = math.prod(shape)
    fan_in, fan_out = count / shape[0], count / shape[1] if len(shape) > 1 else count
    fans = (fan_in, fan_out, (fan_in + fan_out) / 2)[filler.variance_norm]
    if xavier:
        bound = number(math.sqrt(3 / fans))
        return f"nn.init.uniform_({name}, -{bound}, {bound}{draws})"
    return f"nn.init.normal_({name}, std={number(math.sqrt(2 / fans))}{draws})"


# Multipliers


def multipliers(net: Net, source: Source, clips: bool) -> dict[str, tuple[float, float] | None]:
    """lr_mult and decay_mult of each parameter by key; None where it stands still and no gradient of it counts.

    Raises:
        SolverError: nothing is left to train.
    """
    found = {
        key: None if not p.lr_mult and not (clips and p.requires_grad) else (p.lr_mult, p.decay_mult)
        for key, (_, p) in owners(net, source).items()
    }
    if not any(found.values()):
        raise SolverError(f"no parameter of the net {net.name!r} learns: there is nothing to train")
    return found


def groups(found: dict[str, tuple[float, float] | None], decay: str | None) -> str:
    """The functions `multipliers` and `parameter_groups`; empty where every parameter has the factors 1 and 1.

    `decay` is the strength of decay_mult 1, empty where the update needs the factor itself, None where nothing decays.
    """
    by_case = cases({key: _factors(pair, decay is not None) for key, pair in found.items()})
    if is_plain(found, decay is not None):
        return ""
    what = "the learning rate" if decay is None else "the learning rate and on the weight decay"
    lines = ["def multipliers(name):", f'    """Factors on {what} of a parameter."""']
    for case in by_case:
        lines += [f"    if {case.condition}:", f"        return {case.value}"] if case.condition else []
    lines += [f"    return {by_case[-1].value}", "", "", "def parameter_groups(net):"]
    lines += ['    """The parameters by their multipliers."""', "    groups = {}"]
    lines += ["    for name, parameter in net.named_parameters():"]
    if None in found.values():
        lines += [
            "        if multipliers(name) is None:",
            "            parameter.requires_grad_(False)",
            "            continue",
        ]
    lines += ["        groups.setdefault(multipliers(name), []).append(parameter)", "    return ["]
    if decay is None:
        lines += [
            '        {"params": parameters, "lr_mult": lr_mult}',
            "        for lr_mult, parameters in groups.items()",
        ]
    else:
        second = f'"weight_decay": decay_mult * {decay}' if decay else '"decay_mult": decay_mult'
        lines += [
            f'        {{"params": parameters, "lr_mult": lr_mult, {second}}}',
            "        for (lr_mult, decay_mult), parameters in groups.items()",
        ]
    return laid_out("\n".join([*lines, "    ]"]))


def is_plain(found: dict[str, tuple[float, float] | None], decay: bool) -> bool:
    """Whether every parameter learns at the rate itself, and decays as strongly as the solver says."""
    return {_factors(pair, decay) for pair in found.values()} == {"1, 1" if decay else "1"}


def _factors(pair: tuple[float, float] | None, decay: bool) -> str:
    if pair is None:
        return "None"
    return f"{literal(pair[0])}, {literal(pair[1])}" if decay else literal(pair[0])
