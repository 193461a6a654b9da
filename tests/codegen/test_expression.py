"""Templates: parentheses where Python needs them and nowhere else."""

from __future__ import annotations

import pytest

from proto2torch.codegen.expression import fill, is_atomic, uses


@pytest.mark.parametrize(
    ("template", "inputs", "expected"),
    [
        ("F.relu({0})", ["a + b"], "F.relu(a + b)"),
        ("{0}.flatten(1)", ["a + b"], "(a + b).flatten(1)"),
        ("{0}.flatten(1)", ["f(a)"], "f(a).flatten(1)"),
        ("{0} * 2", ["a + b"], "(a + b) * 2"),
        ("{0} * {1}", ["a", "b - c"], "a * (b - c)"),
        ("torch.cat([{0}, {1}], 1)", ["a + b", "c"], "torch.cat([a + b, c], 1)"),
        ("{0}[None]", ["-a"], "(-a)[None]"),
        ("{0}.reshape({0}.shape[0], -1)", ["a"], "a.reshape(a.shape[0], -1)"),
    ],
)
def test_fill(template: str, inputs: list[str], expected: str) -> None:
    assert fill(template, inputs) == expected


def test_fill_puts_the_module_in_its_place() -> None:
    assert fill("{me}({0})", ["x"], "self.conv1") == "self.conv1(x)"


def test_atoms() -> None:
    assert [is_atomic(t) for t in ("a", "f(a) ", "a.b[0]", "a + b", "-a", "a < b")] == [True] * 3 + [False] * 3


def test_uses_counts_every_place() -> None:
    assert uses("{0}.reshape({0}.shape[0]) + {1} + {me}") == {0: 2, 1: 1}
