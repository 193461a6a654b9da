"""The lines of `forward`: expressions nested as far as they read well.

A line begins at a layer that learns and takes in the layers behind it that only reshape, normalise or rectify:
`x = F.max_pool2d(F.relu(self.conv1(x)), 2)`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from proto2torch.codegen.expression import fill, uses
from proto2torch.codegen.layout import WIDTH, statement
from proto2torch.codegen.liveness import are_free
from proto2torch.codegen.names import identifier
from proto2torch.codegen.steps import Step
from proto2torch.codegen.variables import TRUNK, Statement, assign
from proto2torch.ir.graph import Value
from proto2torch.layers.base import literal

_SHORT = 8  # lines that read best in the names of their blobs, and hold little
_DEEPEST = 3  # layers in one expression
_INDENT = 8
_PLACE = re.compile(r"ß(\d+)")  # a value in an expression until variables are known; no source has this letter


@dataclass(frozen=True)
class _Expression:
    text: str
    depth: int = 0  # 0: a name


class Forward:
    """Writes the body of `forward` for `steps`, which give `returns`.

    `attributes` gives the attribute that holds a step's module, `titles` what to call a value that has a variable of
    its own; by default its blob's name. `preludes` are statements before a step, by its index;
    `memories` the lists that hold a value for the gradient of a layer whose memory it overwrites. `restrided` are the
    inputs that are laid out channels_last first. `whole_net` says that nothing is folded: a short body is then written
    in blob names.
    """

    def __init__(
        self,
        steps: Sequence[Step],
        inputs: Sequence[Value],
        returns: Sequence[tuple[str, Value]],
        attributes: Mapping[int, str],
        reserved: set[str],
        titles: Mapping[Value, str] | None = None,
        preludes: Mapping[int, Sequence[str]] | None = None,
        memories: Mapping[Value, str] | None = None,
        restrided: Collection[Value] = (),
        in_block: bool = False,
        whole_net: bool = False,
    ) -> None:
        read_by_steps = {v for step in steps for v in step.inputs}
        # each input as it lies channels_last, by what it was; nothing reads it as it was
        self._laid = {v: replace(v, version=-1) for v in restrided if v in read_by_steps}
        steps = [replace(step, inputs=tuple(self._laid.get(v, v) for v in step.inputs)) for step in steps]
        returns = [(name, self._laid.get(v, v)) for name, v in returns]
        self.steps, self.attributes, self.returns, self.in_block = steps, attributes, returns, in_block
        read = [v for step in steps for v in step.inputs] + [v for _, v in returns]
        self._preludes, self._memories = preludes or {}, memories or {}
        self._readers = Counter(read)
        self._reader = {v: step for step in steps for v in step.inputs}
        self._next = {step.index: behind for step, behind in pairwise(steps)}
        wanted = {*read, *self._laid}
        self.inputs = [v for v in inputs if v in wanted]
        made = (v for step in steps for v in step.outputs)
        self._values = list(dict.fromkeys([*self.inputs, *self._laid.values(), *made]))
        self._at = {v: i for i, v in enumerate(self._values)}
        self._titles = {v: (titles or {}).get(v, v.blob) for v in self._values}
        self._titles |= {laid: self._titles[v] for v, laid in self._laid.items()}
        self._reserved = reserved
        self._names = {v: identifier(t, "blob") for v, t in self._titles.items()}
        for _ in range(2):  # what fits on a line depends on the names, and which values have names on what fits
            self._statements = self._lay_out()
            by_blob = whole_net and len(self._statements) - len(self._laid) <= _SHORT and self._names_are_free()
            self._variables = assign(self._statements, self.inputs, self._titles, reserved, in_block, by_blob)
            self._names |= self._variables.names

    @property
    def arguments(self) -> list[str]:
        """The names of forward's arguments."""
        return [self._names[v] for v in self.inputs]

    def lines(self) -> list[str]:
        """The statements as they stand in the file, the return last."""
        out = []
        for at, line in enumerate(self._statements):
            names = [self._names[v] for v in line.targets]
            text = f"{', '.join(names)} = {line.text}" if names else line.text
            written = statement(self._render(text), _INDENT)
            out += self._with_blob(written, line) if len(written) == 1 else written
            out += _deletions(self._variables.dead.get(at, []))
        return out

    def _with_blob(self, written: list[str], line: Statement) -> list[str]:
        """The line, and behind it the name of its blob where nothing in the line says it."""
        if self.in_block or [self._names[v] for v in line.targets] != [TRUNK]:
            return written
        blob = identifier(self._titles[line.targets[0]], "blob")
        noted = f"{written[0]}  # {blob}"
        return written if re.search(rf"\b{blob}\b", written[0]) or len(noted) > WIDTH else [noted]

    def _render(self, text: str) -> str:
        return _PLACE.sub(lambda m: self._names[self._values[int(m.group(1))]], text)

    def _names_are_free(self) -> bool:
        """Whether a variable for each blob, alive to the end, takes no more memory at the peak than reused ones."""
        named = [value for line in self._statements for value in line.targets]
        return are_free(self.steps, [value for _, value in self.returns], named)

    # Which expressions make a line

    def _lay_out(self) -> list[Statement]:
        given = {*self.inputs, *self._laid.values()}
        self._text = {v: _Expression(f"ß{i}") for i, v in enumerate(self._values) if v in given}
        statements = [self._lay(value, laid) for value, laid in self._laid.items()]
        for step in self.steps:
            statements += [Statement((), line, ()) for line in self._preludes.get(step.index, ())]
            inputs = [self._text[v] for v in step.inputs]
            text = self._call(step, [e.text for e in inputs])
            deepest = max((e.depth for e in inputs), default=0)
            joined = len(inputs) == 2 and step.type != "Concat"
            expression = _Expression(text, max(1, deepest + (not joined)))
            if len(step.outputs) == 1 and _PLACE.fullmatch(text) and step.outputs[0] not in self._memories:
                self._text[step.outputs[0]] = _Expression(text)
            elif len(step.outputs) == 1 and self._nests(step, expression):
                self._text[step.outputs[0]] = expression
            else:
                statements.append(Statement(step.outputs, text, self._reads(text)))
                self._text.update((v, _Expression(f"ß{self._at[v]}")) for v in step.outputs)
                statements += [self._remember(v) for v in step.outputs if v in self._memories]
        return [*statements, self._return()]

    def _lay(self, value: Value, laid: Value) -> Statement:
        return Statement((laid,), f"ß{self._at[value]}.to(memory_format=torch.channels_last)", (value,))

    def _remember(self, value: Value) -> Statement:
        return Statement((), f"{self._memories[value]}.append(ß{self._at[value]}.detach())", (value,))

    def _call(self, step: Step, inputs: Sequence[str]) -> str:
        return fill(step.forward or "", inputs, f"self.{self.attributes.get(step.index, '')}")

    def _reads(self, text: str) -> tuple[Value, ...]:
        return tuple(dict.fromkeys(self._values[int(i)] for i in _PLACE.findall(text)))

    def _nests(self, step: Step, expression: _Expression) -> bool:
        """Whether a value is written where it is read, and not given a name."""
        value = step.outputs[0]
        if self._readers.get(value) != 1 or value in self._memories:
            return False
        if value not in self._reader:
            return len(self.returns) == 1 and expression.depth <= _DEEPEST
        if expression.depth >= _DEEPEST:
            return False
        reader = self._reader[value]
        at = reader.inputs.index(value)
        if uses(reader.forward or "").get(at) != 1 or not (
            self._ends_join(step, reader, at) or (at == 0 and reader.takes_nested)
        ):
            return False
        view = step.forward or ""
        if reader.leads and not (view.startswith("{0}.") and expression.depth == 1):
            return False
        inputs = [self._text[v].text if v in self._text else "label" for v in reader.inputs]
        inputs[at] = expression.text
        text = self._render(self._call(reader, inputs))
        target = self._names[reader.outputs[0]] if reader.outputs else ""
        return _INDENT + len(f"{target} = {text}") <= WIDTH

    def _ends_join(self, step: Step, reader: Step, at: int) -> bool:
        """Whether the very next step joins this one's value with a value that has a name: `x + self.conv3(conv2)`. The
        sum then holds no more in memory than it must."""
        if len(reader.inputs) != 2 or reader.type == "Concat" or self._next.get(step.index) is not reader:
            return False
        other = self._text.get(reader.inputs[1 - at])
        return other is not None and bool(_PLACE.fullmatch(other.text))

    def _return(self) -> Statement:
        if len(self.returns) == 1:
            text = self._text[self.returns[0][1]].text
        else:
            pairs = [f"{literal(name)}: {self._text[value].text}" for name, value in self.returns]
            text = "{" + ", ".join(pairs) + "}"
        return Statement((), f"return {text}", self._reads(text))


def _deletions(names: Sequence[str]) -> list[str]:
    """`del` lines, as many as the width takes."""
    lines: list[str] = []
    for name in names:
        if lines and len(f"{lines[-1]}, {name}") <= WIDTH:
            lines[-1] += f", {name}"
        else:
            lines.append(f"{' ' * _INDENT}del {name}")
    return lines
