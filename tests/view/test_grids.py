"""Arrays as pictures, pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest

from proto2torch.view.grids import bars, enlarged, normalized, square, table


def test_the_least_is_black_and_the_greatest_white() -> None:
    np.testing.assert_array_equal(normalized([[-1.0, 0.0], [1.0, 3.0]]), [[0, 64], [128, 255]])


@pytest.mark.parametrize("values", [[2.0, 2.0], [0.0], []])
def test_equal_values_are_gray(values: list[float]) -> None:
    np.testing.assert_array_equal(normalized(values), np.full(len(values), 128))


def test_what_is_not_finite_is_gray_and_stretches_nothing() -> None:
    np.testing.assert_array_equal(normalized([0.0, 1.0, np.nan, np.inf, -np.inf]), [0, 255, 127, 127, 127])
    np.testing.assert_array_equal(normalized([np.nan, np.nan]), [127, 127])


def vis_square(data: np.ndarray) -> np.ndarray:
    """The grid of Caffe's classification example, by its own words: planes normalised, the side the root of their
    number, each padded by a white pixel to the right and below."""
    data = (data - data.min()) / (data.max() - data.min())
    side = int(np.ceil(np.sqrt(data.shape[0])))
    canvas = np.ones((side * (data.shape[1] + 1), side * (data.shape[2] + 1), *data.shape[3:]))
    for i, plane in enumerate(data):
        y, x = i // side * (data.shape[1] + 1), i % side * (data.shape[2] + 1)
        canvas[y : y + data.shape[1], x : x + data.shape[2]] = plane
    return canvas


@pytest.mark.parametrize("shape", [(9, 2, 3), (7, 4, 4, 3), (1, 5, 2)])
def test_a_square_grid_is_vis_squares(shape: tuple[int, ...]) -> None:
    data = np.random.default_rng(0).normal(size=shape)
    grid = square(normalized(data))
    expected = np.rint(vis_square(data) * 255)[: grid.shape[0], : grid.shape[1]]
    np.testing.assert_array_equal(grid, expected)
    rows, columns = -(-shape[0] // int(np.ceil(np.sqrt(shape[0])))), int(np.ceil(np.sqrt(shape[0])))
    assert grid.shape[:2] == (rows * (shape[1] + 1) - 1, columns * (shape[2] + 1) - 1)


def test_a_table_has_its_columns() -> None:
    planes = np.arange(6, dtype=np.uint8).reshape(6, 1, 1)
    np.testing.assert_array_equal(table(planes, 3), [[0, 255, 1, 255, 2], [255] * 5, [3, 255, 4, 255, 5]])


def test_enlarging_repeats_pixels() -> None:
    np.testing.assert_array_equal(enlarged(np.array([[1, 2]], np.uint8), 5, 9), [[1, 1, 2, 2], [1, 1, 2, 2]])
    assert enlarged(np.zeros((3, 4), np.uint8), 100, 2).shape == (6, 8)
    assert enlarged(np.zeros((300, 4), np.uint8), 100, 2).shape == (300, 4)


def test_bars_go_up_and_down_from_zero() -> None:
    picture = bars([1.0, -1.0, 0.0], height=5, width=3)
    np.testing.assert_array_equal(picture < 255, [[1, 0, 0], [1, 0, 0], [1, 1, 1], [0, 1, 0], [0, 1, 0]])


def test_many_values_show_the_greatest_of_each_group() -> None:
    values = np.zeros(1000)
    values[501] = 3.0
    picture = bars(values, height=11, width=10)
    assert picture.shape == (11, 10)
    assert (picture[0] < 255).tolist() == [i == 5 for i in range(10)]


def test_bars_of_nothing_and_of_nan() -> None:
    assert bars([np.nan, np.inf, 0.0]).shape[0] == 80
    assert bars([0.0]).shape[0] == 80
