"""IR to source: the module a person would have written, as text, and where it keeps each of Caffe's blobs."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath

from proto2torch.codegen.forward import Forward
from proto2torch.codegen.inline import closure, pieces
from proto2torch.codegen.layout import WIDTH, statement
from proto2torch.codegen.names import LOCALS, MODULE_ATTRIBUTES, Names, class_name
from proto2torch.ir.fuse import fuse
from proto2torch.ir.graph import Net, Node, Param, Value
from proto2torch.ir.memory import overwritten
from proto2torch.layers.base import Code, Constant, literal

Returns = Sequence[tuple[str, Value]]

_DOCSTRING = 100  # a formatter leaves docstrings alone, and one line reads better than four
_STRING = re.compile(r'"(?:\\.|[^"\\])*"')
_IMPORTS = (
    (re.compile(r"\bmath\."), "import math\n\n"),
    (re.compile(r"\btorch\."), "import torch\n"),
    (re.compile(r"\bF\."), "import torch.nn.functional as F\n"),
)


@dataclass(frozen=True)
class Source:
    """A generated module: its text, and how it answers to the net."""

    text: str
    class_name: str
    inputs: tuple[str, ...]
    """Blob names of forward's arguments, in order."""
    returns: tuple[str, ...]
    """Names of what forward gives: one value by itself, several in a dict under these names."""
    keys: dict[tuple[int, int], str] = field(default_factory=dict)
    """The state_dict key of a blob, by (node, index); a blob that is kept in another form is missing."""
    statistics: dict[int, str] = field(default_factory=dict)
    """The module that keeps running_mean and running_var of a BatchNorm, by its node."""
    stateful: dict[int, str] = field(default_factory=dict)
    """The module that remembers something between forwards, by its node."""
    constants: dict[str, Constant] = field(default_factory=dict)
    """The array that fills a buffer, by the buffer's state_dict key."""
    notes: tuple[str, ...] = ()
    """What Caffe drops or ignores in silence in the net that it was made of."""


def default_returns(net: Net) -> list[tuple[str, Value]]:
    """The net's outputs, and after them the terms of its objective that are no outputs."""
    returns = [(v.blob, v) for v in net.outputs]
    listed = {v for _, v in returns}
    return returns + [(t.value.blob, t.value) for t in net.objective if t.value not in listed]


def generate(net: Net, returns: Returns | None = None) -> Source:
    """The source of `net`; with `returns`, of what gives those values and no more.

    Names and keys are the same whatever is returned, save that a BatchNorm whose own value is asked for stands apart
    from its Scale.
    """
    whole = returns is None
    returns = default_returns(net) if returns is None else list(returns)
    fused = fuse(net, keep=[v for _, v in returns])
    memories = overwritten(fused)
    codes = {node.index: _code(node, memories.get(node.index)) for node in fused.nodes}
    attributes = _attributes(fused, codes)
    roots = {i for i, code in codes.items() if whole and (code.counts or code.stateful)}
    needed = _needed(fused, [v for _, v in returns], roots)
    nodes = [node for node in fused.nodes if node.index in needed]
    homes = _homes(fused, codes)
    lenders = {p.owner[0] for node in nodes for p in node.params if p.owner}
    called = {homes[i] for i in needed if i in homes}
    used = [n for n in fused.nodes if homes.get(n.index) == n.index and n.index in called | lenders]
    modules = {i: attributes[home] for i, home in homes.items()}
    views = _views(fused, used, attributes)
    forward = Forward(fused, nodes, codes, modules, views, memories, _locals(codes), returns)
    lines = forward.lines()
    name = class_name(net.name)
    name = f"{name}Net" if name in pieces() else name
    init = _init(fused, used, codes, attributes)
    imports = sorted({line for node in used for line in codes[node.index].imports})
    text = _assemble(net, name, imports, init, lines, forward, returns)
    keys, statistics = _keys([n for n in fused.nodes if n.index in needed | lenders], codes, modules)
    stateful = {n.index: modules[n.index] for n in nodes if codes[n.index].stateful}
    constants = {f"{modules[n.index]}.{c.buffer}": c for n in nodes for c in codes[n.index].constants}
    inputs = tuple(v.blob for v in forward.inputs)
    return Source(text, name, inputs, tuple(n for n, _ in returns), keys, statistics, stateful, constants)


def _code(node: Node, memory: Value | None) -> Code:
    """The code of a node; of one whose memory a later layer overwrites, the code with Caffe's gradient."""
    code: Code = node.op.code(node)
    if memory is None:
        return code
    rule = node.op.in_memory()
    if rule is None and node.op.net_phase == "TEST":
        return code  # its forward is right
    if rule is None:
        raise node.op.refuse(
            f"a later layer works in place on {memory.blob!r}, which the backward of this {node.type} reads: Caffe's "
            "gradient would be nobody's",
            "top[0]",
            "give the top of the later layer another name",
        )
    function, slope = rule
    return Code(f"overwritten({{0}}, {function}, {slope}, {{memory}})")


def _needed(net: Net, values: Sequence[Value], roots: set[int]) -> set[int]:
    """The nodes that `values` or a root, which does more than make its tops, depend on."""
    wanted, needed = set(values), set()
    for node in reversed(net.nodes):
        if node.index in roots or any(v in wanted for v in node.outputs):
            needed.add(node.index)
            wanted.update(node.inputs)
    return needed


def _attributes(net: Net, codes: dict[int, Code]) -> dict[int, str]:
    """The attribute that holds each node's module; two layers of one name get two attributes."""
    unique, seen = {}, dict[str, int]()
    for node in net.nodes:
        if codes[node.index].module is not None:
            seen[node.name] = seen.get(node.name, 0) + 1
            unique[node.index] = node.name if seen[node.name] == 1 else f"{node.name} {seen[node.name]}"
    names = Names("layer", MODULE_ATTRIBUTES)
    names.give(unique.values())
    return {index: names[name] for index, name in unique.items()}


def _homes(net: Net, codes: dict[int, Code]) -> dict[int, int]:
    """For each node with a module the node whose module it calls: its own, or the one it shares every blob with."""
    homes = {}
    for node in net.nodes:
        module = codes[node.index].module
        if module is None:
            continue
        owners = {p.owner[0] if p.owner else node.index for p in node.params}
        shared = owners.pop() if len(owners) == 1 else node.index
        whole = all(p.owner == (shared, p.index) for p in node.params) and not codes[node.index].stateful
        homes[node.index] = shared if shared != node.index and whole and codes[shared].module == module else node.index
    return homes


def _locals(codes: dict[int, Code]) -> set[str]:
    return set(LOCALS) | {name for code in codes.values() for name in _carried(code.forward or "")} | {"math"}


def _init(net: Net, nodes: Sequence[Node], codes: dict[int, Code], attributes: dict[int, str]) -> list[str]:
    """The modules, and after them the blobs that one lends to another."""
    lines = [f"self.{attributes[n.index]} = {codes[n.index].module}" for n in nodes]
    for node in nodes:
        for param, owner in _borrowed(net, node, attributes):
            own = f"self.{attributes[node.index]}.{param.blob.key}"
            theirs = f"self.{attributes[owner.node]}.{owner.blob.key}"
            lines.append(f"{own} = {theirs}" if _same_layout(param, owner) else f"del {own}")
    return lines


def _views(net: Net, nodes: Sequence[Node], attributes: dict[int, str]) -> dict[int, list[str]]:
    """What `forward` sets before it calls a module that borrows a blob in another shape."""
    views: dict[int, list[str]] = {}
    for node in nodes:
        for param, owner in _borrowed(net, node, attributes):
            if not _same_layout(param, owner):
                theirs = f"self.{attributes[owner.node]}.{owner.blob.key}{'.t()' if owner.blob.transposed else ''}"
                shape = f"{literal(list(param.blob.shape))}{').t()' if param.blob.transposed else ')'}"
                own = f"self.{attributes[node.index]}.{param.blob.key}"
                views.setdefault(node.index, []).append(f"{own} = {theirs}.reshape({shape}")
    return views


def _borrowed(net: Net, node: Node, attributes: dict[int, str]) -> Iterator[tuple[Param, Param]]:
    for param in node.params:
        if param.owner is not None and param.owner[0] in attributes:
            owner = next(n for n in net.nodes if n.index == param.owner[0])
            yield param, owner.params[param.owner[1]]


def _same_layout(param: Param, owner: Param) -> bool:
    return param.blob.shape == owner.blob.shape and param.blob.transposed == owner.blob.transposed


def _keys(
    nodes: Sequence[Node], codes: dict[int, Code], homes: dict[int, str]
) -> tuple[dict[tuple[int, int], str], dict[int, str]]:
    keys, statistics = {}, {}
    for node in nodes:
        code = codes[node.index]
        if code.module is None:
            continue
        if code.statistics:
            statistics[node.index] = homes[node.index]
        for param in node.params:
            if not (code.statistics and param.blob.frozen):
                keys[param.node, param.index] = f"{homes[node.index]}.{param.blob.key}"
    return keys, statistics


def _assemble(
    net: Net,
    name: str,
    imports: Sequence[str],
    init: list[str],
    body: list[str],
    forward: Forward,
    returns: Returns,
) -> str:
    out = [f"class {name}(nn.Module):", *_docstring(net, forward.inputs, returns), ""]
    if init:
        out += ["    def __init__(self):", "        super().__init__()"]
        for line in init:
            out += statement(line, 8)
        out.append("")
    arguments = "".join(f", {a}" for a in forward.arguments)
    out += statement(f"def forward(self{arguments}):", 4)
    for line in body:
        out += statement(line, 8)
    code = _STRING.sub("", "\n".join([*init, *body]))
    carried = [piece.text for piece in closure(_carried(code))]
    code = "\n".join([*carried, code])
    head = "".join(line for pattern, line in _IMPORTS if pattern.search(code))
    head += "".join(f"{line}\n" for line in (*imports, "from torch import nn"))
    return "\n\n\n".join([head.rstrip("\n"), *carried, "\n".join(out) + "\n"])


def _carried(code: str) -> list[str]:
    """The runtime pieces that the lines call."""
    words = set(re.findall(r"(?<!\.)\b[A-Za-z_]\w*(?=\()", code))
    return [name for name in pieces() if name in words]


def _docstring(net: Net, inputs: Sequence[Value], returns: Returns) -> list[str]:
    batch = {v.shape[0] for v in inputs if v.shape}
    size = batch.pop() if len(batch) == 1 else None

    def show(name: str, value: Value) -> str:
        dims = [str(d) for d in value.shape]
        if dims and value.shape[0] == size:
            dims[0] = "N"
        return f"{_prose(name)} ({', '.join(dims)}{',' if len(dims) == 1 else ''})" if dims else _prose(name)

    left = ", ".join(show(v.blob, v) for v in inputs)
    right = ", ".join(show(n, v) for n, v in returns)
    origin = f"from {_prose(PurePath(net.path).name)}, phase {net.phase}" if net.path else f"phase {net.phase}"
    line = f'    """{left} -> {right}; {origin}."""'
    if len(line) <= _DOCSTRING:
        return [line]
    return [f'    """{origin[0].upper()}{origin[1:]}.', "", *_wrapped(f"{left} -> {right}"), '    """']


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH - 4, initial_indent="    ", subsequent_indent="        ", break_long_words=False)


def _prose(name: str) -> str:
    """A name within a docstring: plain characters as they are, anything that could end the string as `?`."""
    return re.sub(r"[^ !#-\[\]-~]", "?", name)
