"""Names and strings of a prototxt are data: whatever they are, the file has the same syntax tree and computes the same."""

from __future__ import annotations

import ast
import builtins
import keyword
import string

import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proto2torch.codegen.build import build
from proto2torch.codegen.export import export
from proto2torch.codegen.names import LOCALS, MODULE_ATTRIBUTES, identifier
from proto2torch.codegen.source import Source
from proto2torch.prototxt.read import read_net

NAMES = 8
WORDS = sorted({*keyword.kwlist, *keyword.softkwlist, *dir(builtins), *dir(object), *LOCALS, *MODULE_ATTRIBUTES})
DUNDERS = [
    "__init__",
    "__class__",
    "__dict__",
    "__del__",
    "__name__",
    "__builtins__",
    "__import__",
    "_modules",
    "_",
    "__",
]
ATTACKS = [
    '"""',
    "'''",
    '"""; import os; """',
    "\\",
    '\\"',
    "\n    import os\n",
    "\r\n\t\f\v\0",
    "#",
    "{0}",
    "{me}",
    "%s",
    "ß0",
    "\u2028\u2029\x85",
    "\N{RIGHT-TO-LEFT OVERRIDE}",
    "\N{FULLWIDTH LATIN SMALL LETTER I}mport",
    "x" * 5000,
    "é" * 3000,
    "😀",
    '"; raise SystemExit; "',
    "conv1/7x7_s2",
    "1",
]
name = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40),
    st.sampled_from(WORDS + DUNDERS + ATTACKS),
    st.builds(str.__add__, st.sampled_from(ATTACKS + WORDS), st.text(string.printable, max_size=5)),
)


def quoted(text: str) -> str:
    return '"' + "".join(f"\\{byte:03o}" for byte in text.encode()) + '"'


def prototxt(title: str, names: list[str]) -> str:
    """Layers that learn, one of two tops, two outputs; every name is given. Nothing nests, for what fits on a line
    depends on names; the first blob is the largest, so that the others' names may stay to the end."""
    data, first, second, third, left, right, join, end = map(quoted, names)
    learn = 'inner_product_param { num_output: 4 weight_filler { type: "constant" value: 0.5 } }'
    return f"""
name: {quoted(title)}
layer {{ name: {data} type: "Input" top: {data} input_param {{ shape {{ dim: 2 dim: 3 }} }} }}
layer {{ name: {first} type: "InnerProduct" bottom: {data} top: {first} {learn.replace("4", "40", 1)} }}
layer {{ name: {third} type: "Slice" bottom: {first} top: {left} top: {right} slice_param {{ slice_point: 1 }} }}
layer {{ name: {left} type: "InnerProduct" bottom: {left} top: {second} {learn} }}
layer {{ name: {right} type: "InnerProduct" bottom: {right} top: {third} {learn} }}
layer {{ name: {join} type: "Concat" bottom: {second} bottom: {third} bottom: {first} top: {join} }}
layer {{ name: {end} type: "InnerProduct" bottom: {join} top: {end} {learn} }}
layer {{ name: {quoted(names[-1] + "2")} type: "Power" bottom: {join} top: {quoted(names[-1] + "2")} }}
"""


def source_of(title: str, names: list[str], fold: bool) -> Source:
    return export(read_net(text=prototxt(title, names)), lambda definition, phase: [], fold=fold)


def harmless(names: list[str]) -> list[str]:
    """As many names of letters, each as long as what is made of the other: lines break at the same places."""
    return [letter * max(1, len(identifier(n, "layer"))) for letter, n in zip("bcdghklm", names, strict=True)]


def tree(text: str) -> str:
    """The syntax tree without names and strings."""
    parsed = ast.parse(text)
    for node in ast.walk(parsed):
        for field, value in ast.iter_fields(node):
            if isinstance(value, str):
                setattr(node, field, "")
    return ast.dump(parsed)


def results(source: Source) -> dict[str, torch.Tensor]:
    module = build(source).to_empty(device="cpu")
    state = {
        key: torch.linspace(-1, 1, value.numel()).reshape(value.shape) for key, value in module.state_dict().items()
    }
    module.load_state_dict(state)
    with torch.no_grad():
        found = module(torch.linspace(-2, 2, 6).reshape(2, 3))
    assert isinstance(found, dict)
    return found


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    title=name,
    names=st.lists(name, min_size=NAMES, max_size=NAMES, unique=True).filter(lambda n: n[-1] + "2" not in n),
)
def test_names_are_data(title: str, names: list[str]) -> None:
    source, plain = source_of(title, names, fold=False), source_of("harmless", harmless(names), fold=False)
    assert tree(source.text) == tree(plain.text)
    found, expected = results(source), results(plain)
    assert set(found) == {names[-1], names[-1] + "2"}
    by_plain_name = {names[-1]: harmless(names)[-1], names[-1] + "2": harmless(names)[-1] + "2"}
    for key, value in found.items():
        assert torch.equal(value, expected[by_plain_name[key]])


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(names=st.lists(name, min_size=NAMES, max_size=NAMES, unique=True).filter(lambda n: n[-1] + "2" not in n))
def test_folded_or_not_every_name_is_plain(names: list[str]) -> None:
    text = source_of("title", names, fold=True).text
    assert text.isascii()
    for node in ast.walk(ast.parse(text)):
        for part in (getattr(node, "id", None), getattr(node, "attr", None), getattr(node, "arg", None)):
            assert part is None or (part.isidentifier() and not keyword.iskeyword(part))
