"""IR to source: the module a person would have written, as text, and where it keeps each of Caffe's blobs."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePath

from proto2torch.codegen.blocks import Folded, foldings
from proto2torch.codegen.forward import Forward
from proto2torch.codegen.inline import closure, pieces
from proto2torch.codegen.layout import WIDTH, statement
from proto2torch.codegen.names import LOCALS, class_name, prose
from proto2torch.codegen.plan import Plan, called
from proto2torch.ir.graph import Net, Value
from proto2torch.ir.layout import restrided
from proto2torch.layers.base import Constant

Returns = Sequence[tuple[str, Value]]

_SUMMARY = 100  # a formatter leaves docstrings alone, and one line reads better than four
_QUOTES = '"""'
_STRING = re.compile(r""" "(?:\\.|[^"\\])*" | '(?:\\.|[^'\\])*' """, re.VERBOSE)
_DOCSTRINGS = re.compile(r'"""[^"]*"""')
_IMPORTS = (
    (re.compile(r"\bmath\."), "import math\n\n"),
    (re.compile(r"\btorch\."), "import torch\n"),
    (re.compile(r"\bF\."), "import torch.nn.functional as F\n"),
)
_FROM_IMPORTS = (
    (re.compile(r"\bnn\."), "from torch import nn\n"),
    (re.compile(r"\bops\."), "from torchvision import ops\n"),
)
"""Import lines by what needs them, before and behind those of a user's own layers."""


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

    def noted(self, *paragraphs: str) -> Source:
        """The same file with `paragraphs` behind what its docstring says."""
        summary, code = self.text.removeprefix(_QUOTES).split(_QUOTES, 1)
        docstring = "\n\n".join([summary.rstrip(), *paragraphs])
        return replace(self, text=f"{_QUOTES}{docstring}\n{_QUOTES}{code}")


def default_returns(net: Net) -> list[tuple[str, Value]]:
    """The net's outputs, and after them the terms of its objective that are no outputs."""
    returns = [(v.blob, v) for v in net.outputs]
    listed = {v for _, v in returns}
    return returns + [(t.value.blob, t.value) for t in net.objective if t.value not in listed]


def generate(
    net: Net, returns: Returns | None = None, fold: bool = False, whole: bool = False, traced: bool = False
) -> Source:
    """The source of `net`; with `returns`, of what gives those values, and no more unless it is to be `whole` and run
    the layers that do more than make their tops; with `fold`, repeated blocks become classes and rows of them where
    that makes it shorter.

    With `traced`, each layer computes under its number, for a profile.

    Without `fold`, names and keys are the same whatever is returned, save that a BatchNorm whose own value is asked for
    stands apart from its Scale.
    """
    plan = Plan(
        net, default_returns(net) if returns is None else list(returns), whole=whole or returns is None, traced=traced
    )
    name = class_name(net.name)
    name = f"{name}Net" if name in pieces() else name
    ways = [Folded(plan.steps)]
    if fold:
        ways = foldings(plan.steps, plan.values, {name, *LOCALS, *pieces()})
    return min([_source(net, plan, way, name) for way in ways], key=lambda source: source.text.count("\n"))


def _source(net: Net, plan: Plan, folded: Folded, name: str) -> Source:
    """The file of a net, folded in one way, and where it keeps what."""
    places = plan.places(folded.steps)
    forward = Forward(
        folded.steps,
        plan.net.inputs,
        plan.returns,
        places.called,
        plan.reserved,
        folded.titles,
        plan.preludes(places),
        plan.memories,
        restrided=restrided(plan.net),
        whole_net=not folded.blocks,
    )
    main = _class(name, plan.init(places), forward)
    text = f"{_docstring(net, name, forward.inputs, plan.returns)}\n\n{_file(plan, folded, main)}"
    inputs = tuple(v.blob for v in forward.inputs)
    returns = tuple(name for name, _ in plan.returns)
    return Source(text, name, inputs, returns, *plan.keys(places))


def _class(name: str, init: Sequence[str], forward: Forward) -> str:
    out = [f"class {name}(nn.Module):"]
    if init:
        out += ["    def __init__(self):", "        super().__init__()"]
        for line in init:
            out += statement(line, 8)
        out.append("")
    out += statement(f"def forward({', '.join(['self', *forward.arguments])}):", 4)
    return "\n".join([*out, *forward.lines()]) + "\n"


def _file(plan: Plan, folded: Folded, main: str) -> str:
    """The classes, and before them what of runtime/ they call and the imports that all of it needs."""
    classes = "\n\n".join([*(block.text(plan.reserved) for block in folded.blocks), main])
    code = _STRING.sub("", _DOCSTRINGS.sub("", classes))
    carried = [piece.text for piece in closure(called(code))]
    code = "\n".join([*carried, code])
    ahead, behind = ([line for pattern, line in table if pattern.search(code)] for table in (_IMPORTS, _FROM_IMPORTS))
    head = "".join([*ahead, *(f"{line}\n" for line in plan.imports), *behind])
    return "\n\n\n".join([head.rstrip("\n"), *carried, classes])


def _docstring(net: Net, name: str, inputs: Sequence[Value], returns: Returns) -> str:
    """What the file says first: from what it came, and the shapes that go in and come out, N for the batch size."""
    batch = {v.shape[0] for v in inputs if v.shape}
    size = batch.pop() if len(batch) == 1 else None

    def show(name: str, value: Value) -> str:
        dims = [str(d) for d in value.shape]
        if dims and value.shape[0] == size:
            dims[0] = "N"
        return f"{prose(name)} ({', '.join(dims)}{',' if len(dims) == 1 else ''})" if dims else prose(name)

    left = ", ".join(show(v.blob, v) for v in inputs)
    right = ", ".join(show(n, v) for n, v in returns)
    origin = f"from {prose(PurePath(net.path).name)}, phase {net.phase}" if net.path else f"phase {net.phase}"
    title = f"{prose(net.name) or name}, {origin}"
    line = f"{_QUOTES}{title}: {left} -> {right}.{_QUOTES}"
    if len(line) <= _SUMMARY:
        return line
    return "\n".join([f"{_QUOTES}{title}.", "", *_wrapped(f"{left} -> {right}"), _QUOTES])


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, subsequent_indent="    ", break_long_words=False)
