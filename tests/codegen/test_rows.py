"""Rows of blocks: what becomes a loop, and what stays as it is."""

from __future__ import annotations

import pytest

from proto2torch.codegen.call import Call, Parameter
from proto2torch.codegen.rows import rows_of


def chain(text: str) -> list[Call]:
    """Blocks from `A(64, 1)` each, the second number optional as a stride is."""
    calls = []
    for part in text.split():
        name, numbers = part.rstrip(")").split("(")
        values = numbers.split(",")
        parameters = (Parameter("width", keyword=False), Parameter("stride", "1"))
        calls.append(Call(name, parameters, (values[0], values[1] if len(values) > 1 else "1")))
    return calls


@pytest.mark.parametrize(
    ("blocks", "expected"),
    [
        ("A(4) A(4) A(4)", [(0, 3, "nn.Sequential(*[A(4) for _ in range(3)])")]),
        ("P(4) A(4) A(4)", [(0, 3, "nn.Sequential(P(4), *[A(4) for _ in range(2)])")]),
        (
            "P(4,2) A(4) A(4) P(8,2) A(8) A(8) A(8)",
            [
                (0, 3, "nn.Sequential(P(4, stride=2), *[A(4) for _ in range(2)])"),
                (3, 7, "nn.Sequential(P(8, stride=2), *[A(8) for _ in range(3)])"),
            ],
        ),
        ("A(64) A(96) A(128) A(160)", [(0, 4, "nn.Sequential(*[A(64 + 32 * i) for i in range(4)])")]),
        ("A(9) A(6) A(3)", [(0, 3, "nn.Sequential(*[A(9 - 3 * i) for i in range(3)])")]),
        ("A(64) A(96)", []),
        ("A(1) A(2) A(4) A(9)", []),
        ("A(1) A(2) A(2) A(3)", []),
        ("A(1) A(2) A(2) A(2) A(3)", [(1, 4, "nn.Sequential(*[A(2) for _ in range(3)])")]),
        ("A(1)", []),
    ],
)
def test_rows(blocks: str, expected: list[tuple[int, int, str]]) -> None:
    found = rows_of(chain(blocks), 0)
    assert [(row.span.start, row.span.stop, row.text) for row in found] == expected


def test_a_row_begins_where_its_chain_does() -> None:
    (row,) = rows_of(chain("A(4) A(4)"), 7)
    assert row.span == range(7, 9)
