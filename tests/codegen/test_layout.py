"""Line breaking: what ruff format would leave as it is."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proto2torch.codegen.export import export
from proto2torch.codegen.layout import split_arguments, statement
from proto2torch.prototxt.read import read_net


def test_a_line_that_fits_stays() -> None:
    assert statement("x = f(a)", 8) == ["        x = f(a)"]


def test_arguments_go_on_one_line_of_their_own_where_they_fit() -> None:
    text = "y = F.relu(" + "a" * 40 + ", " + "b" * 36 + ")"
    assert statement(text, 0) == ["y = F.relu(", f"    {'a' * 40}, {'b' * 36}", ")"]


def test_else_each_has_its_line() -> None:
    names = [c * 30 for c in "abc"]
    assert statement(f"y = f({', '.join(names)})", 0) == ["y = f(", *[f"    {n}," for n in names], ")"]


def test_parts_of_a_list_a_dict_or_a_tuple_never_share_a_line() -> None:
    names = [c * 30 for c in "abc"]
    for text, end in ((f"x = [{', '.join(names)}]", "]"), (f"return {{{', '.join(f'{n}: 1' for n in names)}}}", "}")):
        lines = statement(text, 0)
        assert len(lines) == 5 and lines[-1] == end and all(line.endswith(",") for line in lines[1:-1])
    assert statement(f"if x in ({', '.join(names)}):", 0) == ["if x in (", *[f"    {n}," for n in names], "):"]
    index = f"x = {'a' * 60}[{'b' * 30}]"
    assert statement(index, 0) == [f"x = {'a' * 60}[", f"    {'b' * 30}", "]"]


def test_a_quotient_by_something_indexed_breaks_before_the_operator() -> None:
    call = f"f({'a' * 40}, {'b' * 30})"
    assert statement(f"loss = {call} / x.shape[0]", 8) == [
        "        loss = (",
        f"            {call}",
        "            / x.shape[0]",
        "        )",
    ]


def test_commas_in_strings_and_brackets_do_not_split() -> None:
    assert split_arguments('"a, b", (1, 2), [x, y], k={1: 2, 3: 4}') == ['"a, b"', "(1, 2)", "[x, y]", "k={1: 2, 3: 4}"]


@pytest.mark.parametrize("count", [2, 5, 9])
def test_ruff_format_changes_nothing(count: int) -> None:
    pieces = ", ".join(f"inception_{i}a_output_of_branch" for i in range(count))
    source = "def forward():\n"
    for text in (f"joined = torch.cat([{pieces}], 1)", f'return {{"a": first({pieces})}}'):
        source += "".join(f"{line}\n" for line in statement(text, 4))
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "format", "--isolated", "-"],
        input=source,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == source


@given(st.lists(st.text("abc_", min_size=1, max_size=30), min_size=1, max_size=12))
def test_breaking_keeps_the_tokens(names: list[str]) -> None:
    text = f"y = f({', '.join(names)})"
    joined = "".join(part.strip() for part in statement(text, 8))
    assert joined.replace(",)", ")").replace(", ", ",") == text.replace(", ", ",")


CONV = "convolution_param { num_output: 4 kernel_size: 3 pad: 1 }"


def long_named(length: int) -> str:
    """A net whose layers have names of this length: calls, joins, sums, products and two values of one line."""
    a, b, c, d, e = (f"{letter}_{'abcdefghij' * 8}"[:length] for letter in "vwxyz")
    return f"""
    layer {{ name: "data" type: "Input" top: "data" input_param {{ shape {{ dim: 1 dim: 4 dim: 8 dim: 8 }} }} }}
    layer {{ name: "{a}" type: "Convolution" bottom: "data" top: "{a}" {CONV} }}
    layer {{ name: "{b}" type: "Convolution" bottom: "{a}" top: "{b}" {CONV} }}
    layer {{ name: "slice" type: "Slice" bottom: "{b}" top: "{c}" top: "{d}" slice_param {{ axis: 1 }} }}
    layer {{ name: "sum" type: "Eltwise" bottom: "{c}" bottom: "{d}" bottom: "{c}" top: "{e}"
      eltwise_param {{ coeff: 1 coeff: -2.5 coeff: 0.125 }} }}
    layer {{ name: "product" type: "Eltwise" bottom: "{d}" bottom: "{e}" top: "{e}2" eltwise_param {{ operation: PROD }} }}
    layer {{ name: "concat" type: "Concat" bottom: "{c}" bottom: "{e}2" bottom: "{d}" top: "cat" }}
    layer {{ name: "pool" type: "Pooling" bottom: "cat" top: "{d}p" pooling_param {{ kernel_size: 3 stride: 2 }} }}
    layer {{ name: "{d}ip" type: "InnerProduct" bottom: "{d}p" top: "{d}ip" inner_product_param {{ num_output: 5 }} }}
    layer {{ name: "prob" type: "Softmax" bottom: "{d}ip" top: "prob" }}
    """


@pytest.mark.parametrize("length", [20, 30, 36, 44, 52, 60, 64, 75])
def test_names_of_any_length_are_laid_out_as_the_formatter_does(length: int) -> None:
    text = export(read_net(text=long_named(length)), lambda layer, phase: []).text
    command = [sys.executable, "-m", "ruff", "format", "--isolated", "--quiet", "--stdin-filename", "model.py", "-"]
    assert subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout == text
