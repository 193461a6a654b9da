"""The measure of the self-check, of values worked out by hand."""

from __future__ import annotations

import pytest
import torch

from proto2torch.exporting.difference import largest, shown

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("found", "expected", "difference"),
    [
        ([0.5, 0.25], [0.5, 0.25], 0.0),
        ([0.5, 0.25], [0.5, 0.125], 0.125),
        ([100.0, 4.0], [100.0, 3.0], 0.01),
        ([NAN, 1.0], [NAN, 1.0], 0.0),
        ([NAN, 1.0], [NAN, 0.5], 0.5),
        ([NAN], [1.0], INF),
        ([1.0], [NAN], INF),
        ([INF, 2.0], [INF, 1.0], 1.0),
        ([INF], [-INF], INF),
        ([], [], 0.0),
    ],
)
def test_largest(found: list[float], expected: list[float], difference: float) -> None:
    assert largest([torch.tensor(found)], [torch.tensor(expected)]) == difference


def test_other_shapes_and_numbers_of_values_are_infinitely_far() -> None:
    assert largest([torch.zeros(2)], [torch.zeros(1, 2)]) == INF
    assert largest([], [torch.zeros(2)]) == INF


def test_one_digit_is_shown() -> None:
    assert [shown(d) for d in (0.0, 5.96e-08, 1.2e-06)] == ["0", "6e-08", "1e-06"]
