"""Repeated blocks as classes: the steps of a net folded, and the text of each class.

What is folded computes what it was folded from: a block's body is the body of its first instance, with the numbers that
differ as parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from proto2torch.codegen import titles
from proto2torch.codegen.call import Call, Parameter
from proto2torch.codegen.forward import Forward
from proto2torch.codegen.layout import WIDTH, statement
from proto2torch.codegen.names import LOCALS, MODULE_ATTRIBUTES, Names, class_name, identifier
from proto2torch.codegen.parameters import generalize
from proto2torch.codegen.rows import Row, rows_of
from proto2torch.codegen.steps import Step
from proto2torch.ir import fold
from proto2torch.ir.graph import Value

_NAMED_AFTER = {"Convolution": "Conv", "InnerProduct": "Linear", "BatchNorm": "BN", "Deconvolution": "Deconv"}
_LISTED = 6  # instances that a docstring lists by name


@dataclass(frozen=True)
class Block:
    """A class of the file: its parameters, what it does, and the names of its parts."""

    name: str
    parameters: tuple[Parameter, ...]
    steps: tuple[Step, ...]
    attributes: dict[int, str]
    inputs: tuple[Value, ...]
    output: Value
    titles: dict[Value, str]
    instances: tuple[str, ...]

    def text(self, reserved: set[str]) -> str:
        """The class; `reserved` are the names that its locals must not take."""
        signature = ["self"]
        for p in self.parameters:
            signature.append(p.name if p.default is None else f"{p.name}={p.default}")
        out = [f"class {self.name}(nn.Module):", *self._docstring()]
        out += statement(f"def __init__({', '.join(signature)}):", 4)
        out.append("        super().__init__()")
        for step in self.steps:
            call = step.constructor
            if call is not None:
                out += statement(f"self.{self.attributes[step.index]} = {call.text}", 8)
        forward = Forward(
            self.steps, self.inputs, [("", self.output)], self.attributes, reserved, self.titles, in_block=True
        )
        out += ["", *statement(f"def forward({', '.join(['self', *forward.arguments])}):", 4), *forward.lines()]
        return "\n".join(out) + "\n"

    def _docstring(self) -> list[str]:
        names = list(self.instances)
        if not names:
            return []
        text = ", ".join(names)
        if len(names) > _LISTED:
            text = f"{names[0]} to {names[-1]}, {len(names)} in all"
        line = f'    """{text}."""'
        return [line if len(line) <= WIDTH else f'    """{len(names)} blocks."""', ""]


@dataclass(frozen=True)
class Folded:
    """A net's steps with blocks in place of what repeats, the blocks' classes, and what values are called."""

    steps: tuple[Step, ...]
    blocks: tuple[Block, ...] = ()
    titles: Mapping[Value, str] = field(default_factory=dict)


def foldings(steps: Sequence[Step], returned: Collection[Value], taken: Collection[str]) -> list[Folded]:
    """The ways of writing a net that may be the shortest: flat, folded, and folded with its units. A way that cannot be
    is left out, which spares the writing."""
    folded = fold_steps(steps, returned, taken, with_units=False)
    kept = [*folded.steps, *(step for block in folded.blocks for step in block.steps)]
    ways = [folded] if 2 * len(kept) < len(steps) else [Folded(tuple(steps)), folded]
    if sum(step.leads and step.call is None for step in kept) > fold.AROUND:
        ways.append(fold_steps(steps, returned, taken, with_units=True))
    return ways


def fold_steps(steps: Sequence[Step], returned: Collection[Value], taken: Collection[str], with_units: bool) -> Folded:
    """Fold segments, then words, then rows of equal blocks; with `with_units`, before all that, single layers and what
    follows them.

    `taken` are the names that a class must not have.
    """
    folder = _Folder(list(steps), frozenset(returned), set(taken))
    if with_units:
        folder.replace(fold.units(folder.line), _unit_title)
    folder.replace(fold.segments(folder.line), _segment_title, closed=True)
    while found := fold.word(folder.line, folder.is_one):
        folder.replace([found], _segment_title)
    folder.rows()
    return Folded(tuple(folder.steps), tuple(folder.blocks), folder.titles)


def _unit_title(instances: Sequence[Sequence[Step]]) -> str:
    """`Conv BN ReLU`."""
    return " ".join(_NAMED_AFTER.get(step.type, step.type) for step in instances[0])


def _segment_title(instances: Sequence[Sequence[Step]]) -> str:
    return titles.class_title(titles.prefix_of(_leaders(instances)))


def _leaders(instances: Sequence[Sequence[Step]]) -> list[str]:
    """The names of the layer that a block is called after: its first one that learns and leads."""
    first = instances[0]
    learning = [i for i, step in enumerate(first) if step.constructor is not None]
    at = next((i for i in learning if first[i].leads), learning[0])
    return [steps[at].name for steps in instances]


def _stems(instances: Sequence[Sequence[Step]]) -> list[str]:
    """What each instance is called: what tells its leader's name apart, where all of its layers' names begin so; else
    what they have in common."""
    stems = titles.stems(_leaders(instances))
    common = [titles.shared([step.name for step in steps if step.constructor is not None]) for steps in instances]
    rival = all(common) and len(set(common)) == len(common)
    return common if rival and not all(map(str.startswith, common, stems)) else stems


class _Folder:
    """The steps as they are folded, and the classes made so far."""

    def __init__(self, steps: list[Step], returned: frozenset[Value], taken: set[str]) -> None:
        self.steps, self.returned, self.taken = steps, returned, taken
        self.line = fold.Line(steps, returned)
        self.blocks: list[Block] = []
        self.titles: dict[Value, str] = {}

    def is_one(self, span: range) -> bool:
        """Whether the names of a span's layers have more in common than with the layers before and behind it."""
        learning = [i for i, step in enumerate(self.steps) if step.module is not None]
        stem = titles.shared([self.steps[i].name for i in learning if i in span])
        around = [max((i for i in learning if i < span.start), default=-1)]
        around += [i for i in learning if i >= span.stop][:1]
        apart = all(titles.shared([stem, self.steps[i].name]) != stem for i in around if i >= 0)
        return bool(stem) and stem != titles.letters(stem) and apart

    def replace(
        self, groups: Sequence[list[range]], title: Callable[[Sequence[Sequence[Step]]], str], closed: bool = False
    ) -> None:
        """Make a class of each group of spans, and a step of each span. A `closed` block goes into no other."""
        if not groups:
            return
        line = self.line
        groups = sorted(groups, key=lambda spans: spans[0].start)
        instances = [[[self.steps[i] for i in span] for span in spans] for spans in groups]
        names = self._class_names([title(group) for group in instances], [_is_identity(line, g[0]) for g in groups])
        made: dict[int, tuple[range, Step]] = {}
        for spans, group, name in zip(groups, instances, names, strict=True):
            block, calls = _block(line, spans, group, name, title is _unit_title, self.taken | LOCALS | {"super"})
            self.blocks.append(block)
            stems = [steps[0].name for steps in group] if title is _unit_title else _stems(group)
            for span, call, stem in zip(spans, calls, stems, strict=True):
                made[span.start] = span, self._step(line, span, block, call, stem, not closed)
        steps, at = [], 0
        while at < len(self.steps):
            span, step = made.get(at, (range(at, at + 1), self.steps[at]))
            steps.append(step)
            at = span.stop
        self.steps = steps
        self.line = fold.Line(steps, self.returned)

    def _step(self, line: fold.Line, span: range, block: Block, call: Call, stem: str, foldable: bool) -> Step:
        steps = [self.steps[i] for i in span]
        inputs = tuple(line.inputs(span))
        outputs = tuple(line.outputs(span))
        if stem:
            self.titles.update((v, stem) for v in outputs)
        attributes = [block.attributes.get(own.index, "") for own in block.steps]
        parts = [
            (node, f".{attribute}{way}")
            for step, attribute in zip(steps, attributes, strict=True)
            for node, way in step.parts
        ]
        places = ", ".join(f"{{{i}}}" for i in range(len(inputs)))
        return Step(
            steps[0].index,
            stem or steps[0].name,
            steps[0].type,
            f"{{me}}({places})",
            call.text,
            inputs,
            outputs,
            leads=True,
            takes_nested=len(inputs) == 1,
            foldable=foldable,
            call=call,
            parts=tuple(parts),
            inner=tuple(steps),
        )

    def _class_names(self, wanted: Sequence[str], identity: Sequence[bool]) -> list[str]:
        """Distinct names: of two residual blocks the one without the plain shortcut is the projection; others get
        letters."""
        names = []
        for i, title in enumerate(wanted):
            rivals = [k for k, other in enumerate(wanted) if class_name(other) == class_name(title)]
            word = title
            if len(rivals) == 2 and sum(identity[k] for k in rivals) == 1:
                word = title if identity[i] else titles.projection(title)
            elif len(rivals) > 1:
                word = f"{title} {chr(ord('A') + rivals.index(i) % 26)}"
            name, n = class_name(word), 2
            while name in self.taken:
                name, n = f"{class_name(word)}{n}", n + 1
            self.taken.add(name)
            names.append(name)
        return names

    def rows(self) -> None:
        """Make nn.Sequential of each row of blocks that are equal, or whose widths grow evenly."""
        steps = self.steps
        found: list[Row] = []
        at = 0
        while at < len(steps):
            end = at + 1
            while steps[at].call and self.line.follows(end) and steps[end].call:
                end += 1
            found += rows_of([step.call for step in steps[at:end] if step.call], at)
            at = end
        within = {i for row in found for i in row.span}
        others = [step.name for i, step in enumerate(steps) if i not in within and step.module is not None]
        names = titles.rows([[steps[i].name for i in row.span] for row in found], others)
        for row, name in reversed(list(zip(found, names, strict=True))):
            self.steps[row.span.start : row.span.stop] = [self._row([steps[i] for i in row.span], row, name)]

    def _row(self, steps: Sequence[Step], row: Row, name: str) -> Step:
        parts = [(node, f".{i}{way}") for i, step in enumerate(steps) for node, way in step.parts]
        self.titles.update((value, name) for value in steps[-1].outputs)
        return replace(
            steps[0],
            name=name,
            module=row.text,
            outputs=steps[-1].outputs,
            call=None,
            parts=tuple(parts),
            inner=tuple(steps),
        )


def _is_identity(line: fold.Line, span: range) -> bool:
    """Whether it adds to what comes in, as a residual block with a plain shortcut does."""
    inputs = set(line.inputs(span))
    return any(inputs.intersection(line.steps[i].inputs) for i in span if line.steps[i].type == "Eltwise")


def _block(
    line: fold.Line,
    spans: Sequence[range],
    instances: Sequence[Sequence[Step]],
    name: str,
    unit: bool,
    reserved: set[str],
) -> tuple[Block, list[Call]]:
    """The class of a group, and the call that makes each instance."""
    first = instances[0]
    inputs, output = line.inputs(spans[0]), line.outputs(spans[0])[0]
    stem = titles.prefix_of(_leaders(instances))
    attributes = _attributes(instances, stem, unit)
    calling = [i for i, step in enumerate(first) if step.constructor is not None]
    calls = [[c for i in calling if (c := steps[i].constructor) is not None] for steps in instances]
    outer = {k for k, i in enumerate(calling) if set(inputs).intersection(first[i].inputs)}
    found = generalize(calls, [attributes[first[i].index] for i in calling], outer, reserved)
    written = dict(zip(calling, found.calls, strict=True))
    steps = tuple(replace(step, call=written.get(i, step.call)) for i, step in enumerate(first))
    layers = {
        step.name: titles.local([steps[i].name for steps in instances], stem, step.type) for i, step in enumerate(first)
    }
    value_titles = {
        value: layers.get(value.blob, titles.local([steps[i].outputs[k].blob for steps in instances], stem, step.type))
        for i, step in enumerate(first)
        for k, value in enumerate(step.outputs)
    }
    value_titles |= {value: "x" if i == 0 else f"x{i + 1}" for i, value in enumerate(inputs)}
    stems = [] if unit else [identifier(s, "block") for s in _stems(instances)]
    block = Block(name, found.parameters, steps, attributes, tuple(inputs), output, value_titles, tuple(stems))
    made = [Call(name, found.parameters, values) for values in found.values]
    return block, made


def _attributes(instances: Sequence[Sequence[Step]], stem: str, unit: bool) -> dict[int, str]:
    """The attribute of each module of a block, by the index of the first instance's step."""
    keys: dict[int, str] = {}
    for i, step in enumerate(instances[0]):
        if step.constructor is not None:
            names = [steps[i].name for steps in instances]
            key = titles.short(step.type) if unit else titles.local(names, stem, step.type)
            same = list(keys.values()).count(key)
            keys[step.index] = f"{key} {same + 1}" if same else key
    names_ = Names("layer", MODULE_ATTRIBUTES)
    names_.give(keys.values())
    return {index: names_[key] for index, key in keys.items()}
