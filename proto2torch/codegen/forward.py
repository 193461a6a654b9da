"""The lines of `forward`: expressions nested as far as they read well, in the names of Caffe's blobs.

A line begins at a layer that learns and takes in the layers behind it that only reshape, normalise or rectify:
`pool1 = F.max_pool2d(F.relu(self.conv1(data)), 2)`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from proto2torch.codegen.expression import fill, is_atomic, uses
from proto2torch.codegen.layout import WIDTH
from proto2torch.codegen.names import Names
from proto2torch.ir.graph import Net, Node, Value
from proto2torch.layers.base import Code, literal

_DEEPEST = 3  # layers in one expression
_INDENT = 8


@dataclass(frozen=True)
class _Expression:
    text: str
    depth: int = 0  # 0: a name


class Forward:
    """Writes the body of `forward` for `nodes`, which give `returns`."""

    def __init__(
        self,
        net: Net,
        nodes: Sequence[Node],
        codes: dict[int, Code],
        modules: dict[int, str],
        views: dict[int, list[str]],
        memories: dict[int, Value],
        reserved: set[str],
        returns: Sequence[tuple[str, Value]],
    ) -> None:
        self.nodes, self.codes, self.modules, self.views, self.returns = nodes, codes, modules, views, list(returns)
        self._alias: dict[Value, Value] = {}
        for node in nodes:
            if node.op.alias:
                self._alias.update((v, self.root(node.inputs[0])) for v in node.outputs)
        read = [self.root(v) for n in nodes if not n.op.alias for v in n.inputs] + [self.root(v) for _, v in returns]
        self._readers = Counter(read)
        self._reader = {self.root(v): n for n in nodes if not n.op.alias for v in n.inputs}
        wanted = set(read)
        self.inputs = [v for v in net.inputs if v in wanted]
        self._names = Names("blob", reserved)
        self._names.give([v.blob for v in self.inputs] + [v.blob for n in nodes if not n.op.alias for v in n.outputs])
        present = {n.index for n in nodes}
        self._memories = {i: v for i, v in memories.items() if i in present}
        self._memory_names = Names("memory", self._names.taken)
        self._memory_names.give(f"{v.blob}_memory" for v in self._memories.values())
        self.arguments = [self._names[v.blob] for v in self.inputs]
        self._grad: set[Value] = set()
        self._text: dict[Value, _Expression] = {v: _Expression(self._names[v.blob]) for v in self.inputs}
        self._lines: list[str] = []

    def root(self, value: Value) -> Value:
        """The value that a Split's top stands for."""
        return self._alias.get(value, value)

    def lines(self) -> list[str]:
        """The statements, the return last."""
        for node in self.nodes:
            if node.op.alias or node.op.data or node.type == "Input":
                continue
            self._node(node)
        self._return()
        return self._lines

    def _node(self, node: Node) -> None:
        code = self.codes[node.index]
        if code.forward is None:
            return
        self._lines += self.views.get(node.index, [])
        inputs = [self._input(node, i) for i in range(len(node.inputs))]
        template = code.forward.replace("{memory}", self._memory(node))
        text = fill(template, [e.text for e in inputs], f"self.{self.modules.get(node.index, '')}")
        expression = _Expression(text, 1 + max((e.depth for e in inputs), default=0))
        self._mark_grad(node)
        if len(node.outputs) == 1 and self._nests(node, expression):
            self._text[node.outputs[0]] = expression
            return
        names = [self._names[v.blob] for v in node.outputs]
        if not any(self._readers[v] for v in node.outputs):
            self._lines.append(text)
        elif text != names[0] or len(names) > 1:
            self._lines.append(f"{', '.join(names)} = {text}")
        self._text.update((v, _Expression(n)) for v, n in zip(node.outputs, names, strict=True))
        if node.outputs and node.outputs[0] in self._memories.values():
            self._lines.append(f"{self._memory_names[f'{node.outputs[0].blob}_memory']}.append({names[0]}.detach())")

    def _memory(self, node: Node) -> str:
        """The list that will hold what overwrites this node's memory, made before its first use."""
        if node.index not in self._memories:
            return ""
        name = self._memory_names[f"{self._memories[node.index].blob}_memory"]
        if f"{name} = []" not in self._lines:
            self._lines.append(f"{name} = []")
        return name

    def _input(self, node: Node, i: int) -> _Expression:
        value = self.root(node.inputs[i])
        expression = self._text[value]
        if node.needs_backward and not node.propagate[i] and value in self._grad:
            text = expression.text if is_atomic(expression.text) else f"({expression.text})"
            return _Expression(f"{text}.detach()", expression.depth)
        return expression

    def _mark_grad(self, node: Node) -> None:
        """Which values autograd would follow; only those are worth a detach."""
        through = any(self.root(v) in self._grad for v in node.inputs)
        if node.op.differentiable and (through or any(p.requires_grad for p in node.params)):
            self._grad.update(node.outputs)

    def _nests(self, node: Node, expression: _Expression) -> bool:
        """Whether a value is written where it is read, and not given a name."""
        value = node.outputs[0]
        if self._readers.get(value) != 1 or expression.depth >= _DEEPEST or value in self._memories.values():
            return False
        if value not in self._reader:
            return len(self.returns) == 1
        reader = self._reader[value]
        code = self.codes[reader.index]
        first = self.root(reader.inputs[0]) == value
        if code.forward is None or not first or uses(code.forward).get(0) != 1 or not self._takes_nested(reader):
            return False
        view = self.codes[node.index].forward or ""
        if reader.op.starts_statement and not (view.startswith("{0}.") and expression.depth == 1):
            return False
        others = ["label"] * (len(reader.inputs) - 1)
        text = fill(code.forward, [expression.text, *others], f"self.{self.modules.get(reader.index, '')}")
        target = self._names[reader.outputs[0].blob] if reader.outputs else ""
        return _INDENT + len(f"{target} = {text}") <= WIDTH

    @staticmethod
    def _takes_nested(reader: Node) -> bool:
        return len(reader.inputs) == 1 or reader.op.loss or not reader.op.differentiable

    def _return(self) -> None:
        if len(self.returns) == 1:
            self._lines.append(f"return {self._text[self.root(self.returns[0][1])].text}")
            return
        pairs = [f"{literal(name)}: {self._text[self.root(value)].text}" for name, value in self.returns]
        self._lines.append("return {" + ", ".join(pairs) + "}")
