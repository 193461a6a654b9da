"""Line breaking: what ruff format would leave as it is."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proto2torch.codegen.layout import split_arguments, statement


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
