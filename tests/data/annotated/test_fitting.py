"""Sizes: resize_param, the canvas of expand_param, and cutting, for pixels and for boxes."""

from __future__ import annotations

import numpy as np
import pytest

from proto2torch.data.annotated.fitting import cut, expand, fit, fit_boxes
from proto2torch.prototxt import schema

from .records import message
from .test_objects import objects

IMAGE = np.random.default_rng(0).integers(0, 256, (3, 20, 40), dtype=np.uint8)
DRAW = np.random.default_rng(0)


def resize(mode: str, **fields: object) -> object:
    made = schema.new("ResizeParameter")
    made.resize_mode = {"WARP": 1, "SMALL": 2, "LARGE": 3}[mode]
    made.height, made.width = 30, 30
    for name, value in fields.items():
        if isinstance(value, list):
            getattr(made, name).extend(value)
        else:
            setattr(made, name, value)
    return made


def test_warp_fills_the_whole() -> None:
    assert fit(IMAGE, resize("WARP"), DRAW).shape == (3, 30, 30)
    boxes = fit_boxes(objects((0.1, 0.2, 0.5, 0.9), (-0.5, -1, 2, 3)), (20, 40), resize("WARP")).boxes
    assert boxes.tolist() == [pytest.approx([0.1, 0.2, 0.5, 0.9]), pytest.approx([0, 0, 1, 1])]


def test_small_keeps_the_aspect_and_fits_the_smaller_side() -> None:
    assert fit(IMAGE, resize("SMALL"), DRAW).shape == (3, 30, 60)
    assert fit(IMAGE.transpose(0, 2, 1), resize("SMALL"), DRAW).shape == (3, 60, 30)
    boxes = fit_boxes(objects((0.1, 0.2, 0.5, 0.9)), (20, 40), resize("SMALL")).boxes
    assert boxes[0].tolist() == pytest.approx([0.1, 0.2, 0.5, 0.9])


def test_large_fits_the_larger_side_and_pads() -> None:
    fitted = fit(IMAGE, resize("LARGE", pad_value=[1.0, 2.0, 3.0]), DRAW)
    assert fitted.shape == (3, 30, 30)
    assert [fitted[:, row, 0].tolist() for row in (0, 6, 22, 29)] == [[1, 2, 3]] * 4
    inner = fit(IMAGE, resize("WARP", height=15), DRAW)
    assert np.array_equal(fitted[:, 7:22], inner)
    boxes = fit_boxes(objects((0.1, 0.2, 0.5, 0.9)), (20, 40), resize("LARGE")).boxes
    assert boxes[0].tolist() == pytest.approx([0.1, 0.25 + 0.2 / 2, 0.5, 0.25 + 0.9 / 2])


def test_large_of_a_tall_image() -> None:
    tall = IMAGE.transpose(0, 2, 1)
    fitted = fit(tall, resize("LARGE", pad_mode=3), DRAW)
    assert np.array_equal(fitted[:, :, 0], fitted[:, :, 7])
    boxes = fit_boxes(objects((0.2, 0.1, 0.9, 0.5)), (40, 20), resize("LARGE")).boxes
    assert boxes[0].tolist() == pytest.approx([0.25 + 0.2 / 2, 0.1, 0.25 + 0.9 / 2, 0.5])


def test_padding_that_mirrors_leaves_the_edge_out() -> None:
    fitted = fit(IMAGE, resize("LARGE", pad_mode=2), DRAW)
    assert np.array_equal(fitted[:, 6], fitted[:, 8])


def test_of_several_methods_each_is_taken() -> None:
    draw, param = np.random.default_rng(1), resize("WARP", interp_mode=[1, 2, 3, 4, 5])
    seen = {fit(IMAGE, param, draw).tobytes() for _ in range(60)}
    assert len(seen) == 5


def test_expand_places_the_image_on_a_canvas_of_the_mean() -> None:
    param = message("ExpansionParameter", prob=1, max_expand_ratio=4)
    draw, mean = np.random.default_rng(2), np.float32([104, 117, 123.5]).reshape(3, 1, 1)
    for _ in range(20):
        canvas, box = expand(IMAGE, param, mean, draw)
        assert box is not None
        rows, columns = canvas.shape[1:]
        assert 20 <= rows <= 80
        left, top = round(-box[0] * 40), round(-box[1] * 20)
        assert np.array_equal(canvas[:, top : top + 20, left : left + 40], IMAGE)
        assert box.tolist() == pytest.approx([-left / 40, -top / 20, (columns - left) / 40, (rows - top) / 20])
        outside = np.ones((rows, columns), bool)
        outside[top : top + 20, left : left + 40] = False
        assert (canvas[:, outside] == np.array([[104], [117], [124]])).all()


def test_expand_has_its_probability_and_ratio() -> None:
    param, draw = message("ExpansionParameter", prob=0.3, max_expand_ratio=3), np.random.default_rng(3)
    boxes = [expand(IMAGE, param, None, draw)[1] for _ in range(1000)]
    grown = [box for box in boxes if box is not None]
    assert len(grown) / len(boxes) == pytest.approx(0.3, abs=0.05)
    assert np.mean([box[3] - box[1] for box in grown]) == pytest.approx(2, abs=0.15)
    assert expand(IMAGE, message("ExpansionParameter", prob=1, max_expand_ratio=1), None, draw)[1] is None


def test_cut_rounds_corners_down() -> None:
    part = cut(IMAGE, np.float32([0.26, 0.13, 0.77, 0.99]))
    assert np.array_equal(part, IMAGE[:, 2:19, 10:30])
    assert np.array_equal(cut(IMAGE, np.float32([-1, -1, 2, 2])), IMAGE)
