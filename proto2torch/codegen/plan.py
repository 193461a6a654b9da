"""What every way of writing a net has in common: its steps, what they share, and where each blob is kept."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from proto2torch.codegen.inline import pieces
from proto2torch.codegen.names import LOCALS, MODULE_ATTRIBUTES, Names
from proto2torch.codegen.steps import Step, roots, steps_of
from proto2torch.errors import blaming
from proto2torch.ir.fuse import fuse
from proto2torch.ir.graph import Net, Node, Param, Value
from proto2torch.ir.memory import overwritten
from proto2torch.layers.base import Code, Constant, literal


def called(code: str) -> list[str]:
    """The pieces of runtime/ that lines of source call."""
    words = set(re.findall(r"(?<!\.)\b[A-Za-z_]\w*(?=\()", code))
    return [name for name in pieces() if name in words]


@dataclass(frozen=True)
class Places:
    """Where a file keeps the modules of the net's nodes."""

    attributes: Mapping[int, str]
    """The attribute of each module by its node, of each block by its step."""
    blocks: Mapping[int, Step]
    """The block that each node within one belongs to."""
    paths: Mapping[int, str]
    """The way from the net to the module that each node calls: `res3.0.branch2a`."""
    called: Mapping[int, str]
    """The same by step."""


class Plan:
    """A net as steps, what its layers share, and what of it gives the values that are asked for; of a `whole` net also
    the layers that do more than make their tops."""

    def __init__(self, net: Net, returns: Sequence[tuple[str, Value]], whole: bool, traced: bool = False) -> None:
        self.net = fuse(net, keep=[v for _, v in returns])
        root = roots(self.net)
        self.returns = [(name, root.get(value, value)) for name, value in returns]
        self.values = [value for _, value in self.returns]
        memories = overwritten(self.net)
        self.codes = {node.index: _code(node, memories.get(node.index)) for node in self.net.nodes}
        acting = {i for i, code in self.codes.items() if whole and (code.counts or code.stateful)}
        self._needed = _needed(self.net, [v for _, v in returns], acting)
        self.reserved = _reserved(self.codes)
        self._memories = {i: v for i, v in memories.items() if i in self._needed}
        names = Names("memory", self.reserved)
        names.give(f"{v.blob}_memory" for v in self._memories.values())
        self.memories = {v: names[f"{v.blob}_memory"] for v in self._memories.values()}
        self.reserved |= set(self.memories.values())
        for index, value in self._memories.items():
            code = self.codes[index]
            self.codes[index] = Code((code.forward or "").replace("{memory}", self.memories[value]), code.module)
        if traced:
            self.codes = {index: _traced(index, code) for index, code in self.codes.items()}
            self.reserved.add("in_layer")
        self._homes = _homes(self.net, self.codes)
        self._lenders = {p.owner[0] for n in self.net.nodes if n.index in self._needed for p in n.params if p.owner}
        called = {self._homes[i] for i in self._needed if i in self._homes} | self._lenders
        self._used = [n for n in self.net.nodes if self._homes.get(n.index) == n.index and n.index in called]
        tied = _tied(self.net, self._homes) | set(self._memories)
        self.steps = tuple(steps_of(self.net, self.codes, self._needed, tied, self.memories))
        self.imports = sorted({line for node in self._used for line in self.codes[node.index].imports})

    def places(self, steps: Sequence[Step]) -> Places:
        """Where the modules are when the net is written as `steps`."""
        ways = {node: way for step in steps for node, way in step.parts if way}
        blocks = {node: step for step in steps for node, way in step.parts if way}
        attributes = self._attributes(blocks)
        paths = {i: attributes[home] for i, home in self._homes.items() if home in attributes}
        paths |= {node: attributes[blocks[node].index] + way for node, way in ways.items()}
        return Places(attributes, blocks, paths, paths | {s.index: attributes[s.index] for s in blocks.values()})

    def _attributes(self, blocks: Mapping[int, Step]) -> dict[int, str]:
        """Two layers of one name get two attributes."""
        unique, seen = {}, dict[str, int]()
        for node in self.net.nodes:
            index, name = node.index, node.name
            if index in blocks:
                index, name = blocks[index].index, blocks[index].name
            if self.codes[node.index].module is not None and index not in unique:
                seen[name] = seen.get(name, 0) + 1
                unique[index] = name if seen[name] == 1 else f"{name} {seen[name]}"
        names = Names("layer", MODULE_ATTRIBUTES)
        names.give(unique.values())
        return {index: names[name] for index, name in unique.items()}

    def init(self, places: Places) -> list[str]:
        """The modules, and after them the blobs that one lends to another."""
        modules: dict[int, str | None] = {}
        for node in self._used:
            step = places.blocks.get(node.index)
            if step:
                modules.setdefault(step.index, step.module)
            else:
                modules[node.index] = self.codes[node.index].module
        lines = [f"self.{places.attributes[index]} = {module}" for index, module in modules.items()]
        for param, owner in self._borrowed():
            own, theirs = _blob(places, param), _blob(places, owner)
            lines.append(f"{own} = {theirs}" if _same_layout(param, owner) else f"del {own}")
        return lines

    def preludes(self, places: Places) -> dict[int, list[str]]:
        """What `forward` does before a step: a module borrows a blob in another shape, a list waits for a value."""
        lines: dict[int, list[str]] = {}
        for param, owner in self._borrowed():
            if not _same_layout(param, owner):
                theirs = f"{_blob(places, owner)}{'.t()' if owner.blob.transposed else ''}"
                shape = f"{literal(list(param.blob.shape))}{').t()' if param.blob.transposed else ')'}"
                lines.setdefault(param.node, []).append(f"{_blob(places, param)} = {theirs}.reshape({shape}")
        waiting = set()
        for index, value in self._memories.items():
            if value not in waiting:
                waiting.add(value)
                lines.setdefault(index, []).append(f"{self.memories[value]} = []")
        return lines

    def _borrowed(self) -> Iterator[tuple[Param, Param]]:
        nodes = {node.index: node for node in self.net.nodes}
        for node in self._used:
            for param in node.params:
                if param.owner is not None and param.owner[0] in self._homes:
                    yield param, nodes[param.owner[0]].params[param.owner[1]]

    def keys(
        self, places: Places
    ) -> tuple[dict[tuple[int, int], str], dict[int, str], dict[int, str], dict[str, Constant]]:
        """The state_dict keys of blobs, and the modules of statistics, of what is stateful and of constants."""
        keys: dict[tuple[int, int], str] = {}
        statistics, stateful, constants = dict[int, str](), dict[int, str](), dict[str, Constant]()
        for node in self.net.nodes:
            code = self.codes[node.index]
            if node.index not in self._needed | self._lenders or code.module is None:
                continue
            path = places.paths[node.index]
            if code.statistics:
                statistics[node.index] = path
            if code.stateful and node.index in self._needed:
                stateful[node.index] = path
            if node.index in self._needed:
                constants |= {f"{path}.{c.buffer}": c for c in code.constants}
            for param in node.params:
                if not (code.statistics and param.blob.frozen):
                    keys[param.node, param.index] = f"{path}.{param.blob.key}"
        return keys, statistics, stateful, constants


def _blob(places: Places, param: Param) -> str:
    return f"self.{places.attributes[param.node]}.{param.blob.key}"


def _code(node: Node, memory: Value | None) -> Code:
    """The code of a node; of one whose memory a later layer overwrites, the code with Caffe's gradient."""
    with blaming(type(node.op), node.definition.where()):
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


def _traced(index: int, code: Code) -> Code:
    """The code of a layer, computed under its number for a profile."""
    if code.forward is None:
        return code
    return replace(code, forward=f"in_layer({index}, lambda: ({code.forward}))")  # brackets: it may be a tuple


def _needed(net: Net, values: Sequence[Value], acting: set[int]) -> set[int]:
    """The nodes that `values` or an acting node, which does more than make its tops, depend on."""
    wanted, needed = set(values), set()
    for node in reversed(net.nodes):
        if node.index in acting or any(v in wanted for v in node.outputs):
            needed.add(node.index)
            wanted.update(node.inputs)
    return needed


def _homes(net: Net, codes: dict[int, Code]) -> dict[int, int]:
    """For each node with a module the node whose module it calls: its own, or the one it shares every blob with."""
    homes = {}
    params = {(p.node, p.index): p for node in net.nodes for p in node.params}
    for node in net.nodes:
        module = codes[node.index].module
        if module is None:
            continue
        owners = {p.owner[0] if p.owner else node.index for p in node.params}
        shared = owners.pop() if len(owners) == 1 else node.index
        whole = all(p.owner == (shared, p.index) and _same_layout(p, params[p.owner]) for p in node.params)
        alike = whole and not codes[node.index].stateful and codes[shared].module == module
        homes[node.index] = shared if shared != node.index and alike else node.index
    return homes


def _tied(net: Net, homes: dict[int, int]) -> set[int]:
    """The nodes that share a module or a blob with another."""
    tied = {node for pair in homes.items() if pair[0] != pair[1] for node in pair}
    for node in net.nodes:
        for param in node.params:
            if param.owner is not None:
                tied |= {node.index, param.owner[0]}
    return tied


def _reserved(codes: Mapping[int, Code]) -> set[str]:
    """Names that no local may take."""
    return {*LOCALS, *called("\n".join(code.forward or "" for code in codes.values())), "math"}


def _same_layout(param: Param, owner: Param) -> bool:
    return param.blob.shape == owner.blob.shape and param.blob.transposed == owner.blob.transposed
