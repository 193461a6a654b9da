"""Constructor calls taken apart: the name of every argument, its source, and what may be left out."""

from __future__ import annotations

import ast
import re
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from proto2torch.codegen.inline import pieces

WIDTHS = frozenset(("in", "out", "follow"))
"""The kinds of parameter that count channels: read from the input, chosen by the layer, or of what it works on."""

_NUMBER = re.compile(r"-?[\d.]+(e-?\d+)?")
_TUPLE = re.compile(r"\((-?\d+, )+-?\d+\)")


@dataclass(frozen=True)
class Parameter:
    """One parameter of a constructor."""

    name: str
    default: str | None = None
    """Its source where it may be left out; None where it must be given."""
    kind: str = ""
    """One of WIDTHS, or empty."""
    keyword: bool = True
    """Whether it goes by its name where it differs from its default."""


@dataclass(frozen=True)
class Call:
    """`nn.Conv2d(3, 96, 11, stride=4)`: a function, its parameters, and the source of a value for each."""

    function: str
    parameters: tuple[Parameter, ...]
    values: tuple[str, ...]

    @property
    def text(self) -> str:
        """The call without what stands at its default."""
        given = []
        for parameter, value in zip(self.parameters, self.values, strict=True):
            if parameter.default is None:
                given.append(f"{parameter.name}={value}" if parameter.keyword and parameter.name else value)
            elif value != parameter.default:
                given.append(f"{parameter.name}={value}")
        return f"{self.function}({', '.join(given)})"

    @property
    def label(self) -> Hashable:
        """What stays when the numbers are taken out; a convolution that goes channel by channel stays one."""
        rest = tuple("" if is_number(v) else v for v in self.values)
        return self.function, self.parameters, rest, self._grouping()

    def _grouping(self) -> str:
        given = {p.name: v for p, v in zip(self.parameters, self.values, strict=True)}
        groups = given.get("groups", "1")
        if groups == "1":
            return ""
        return "depthwise" if groups == given.get("in_channels", given.get("channels")) else "grouped"

    def with_values(self, values: Sequence[str]) -> Call:
        """The same call with other values."""
        return replace(self, values=tuple(values))


def is_number(value: str) -> bool:
    """Whether a value is a number or a tuple of numbers, which may become a parameter."""
    return bool(_NUMBER.fullmatch(value) or _TUPLE.fullmatch(value))


@lru_cache(maxsize=4096)
def parse(text: str) -> Call:
    """Take a call apart. Arguments of torch's own modules that are left out get torch's default."""
    tree = ast.parse(text, mode="eval").body
    assert isinstance(tree, ast.Call)
    function = _source(text, tree.func)
    positional = [_source(text, a) for a in tree.args]
    named = {k.arg or "": _source(text, k.value) for k in tree.keywords}
    known = _signature(function)
    parameters, values = [], []
    for i, value in enumerate(positional):
        name, default, kind = known[i] if i < len(known) else ("", None, "")
        parameters.append(Parameter(name, default, kind, keyword=False))
        values.append(value)
    for name, default, kind in known[len(positional) :]:
        if name in named or default is not None:
            parameters.append(Parameter(name, default, kind))
            values.append(named.pop(name, default or ""))
    for name, value in named.items():
        parameters.append(Parameter(name))
        values.append(value)
    return Call(function, tuple(parameters), tuple(values))


def _source(text: str, node: ast.expr) -> str:
    return text[node.col_offset : node.end_col_offset]


def _signature(function: str) -> Sequence[tuple[str, str | None, str]]:
    """Name, default and kind of each parameter; of a class of ours from its own source."""
    if function.startswith("nn."):
        return _TORCH.get(function.removeprefix("nn.").rstrip("123d"), ())
    return _ours(function) if function in pieces() else ()


@lru_cache
def _ours(function: str) -> Sequence[tuple[str, str | None, str]]:
    for node in ast.walk(ast.parse(pieces()[function].text)):
        if isinstance(node, ast.FunctionDef) and node.name == "__init__":
            names = [a.arg for a in node.args.args[1:]]
            defaults = [None] * (len(names) - len(node.args.defaults)) + [ast.unparse(d) for d in node.args.defaults]
            kinds = ["follow" if name in ("channels", "shape") else "" for name in names]
            return list(zip(names, defaults, kinds, strict=True))
    return ()


_CONVOLUTION: Sequence[tuple[str, str | None, str]] = (
    ("in_channels", None, "in"),
    ("out_channels", None, "out"),
    ("kernel_size", None, ""),
    ("stride", "1", ""),
    ("padding", "0", ""),
    ("dilation", "1", ""),
    ("groups", "1", "follow"),
    ("bias", "True", ""),
)
_TORCH: dict[str, Sequence[tuple[str, str | None, str]]] = {
    "Conv": _CONVOLUTION,
    "ConvTranspose": _CONVOLUTION,  # all but the first three go by name
    "Linear": (("in_features", None, "in"), ("out_features", None, "out"), ("bias", "True", "")),
    "BatchNorm": (("num_features", None, "follow"), ("eps", "1e-05", ""), ("affine", "True", "")),
    "PReLU": (("num_parameters", None, "follow"),),
    "LocalResponseNorm": (("size", None, ""), ("alpha", "0.0001", ""), ("beta", "0.75", ""), ("k", "1", "")),
}
