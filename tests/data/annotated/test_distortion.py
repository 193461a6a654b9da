"""Colours in OpenCV's eight bits, and how often they are changed."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from proto2torch.data.annotated import distortion

from .records import message

IMAGE = np.random.default_rng(0).integers(0, 256, (3, 40, 60), dtype=np.uint8)


def opencv(image: np.ndarray, code: int) -> np.ndarray:
    return np.asarray(cv2.cvtColor(np.ascontiguousarray(image.transpose(1, 2, 0)), code)).transpose(2, 0, 1)


def test_hsv_is_opencvs() -> None:
    assert np.array_equal(distortion.to_hsv(IMAGE), opencv(IMAGE, cv2.COLOR_BGR2HSV))


def test_hsv_and_back_is_within_a_level_of_opencv() -> None:
    back = distortion.from_hsv(IMAGE).astype(int)
    assert np.abs(back - opencv(IMAGE, cv2.COLOR_HSV2BGR)).max() <= 1  # OpenCV cuts off what its own formula rounds
    assert distortion.from_hsv(np.full((3, 1, 1), 0, np.uint8)).ravel().tolist() == [0, 0, 0]
    pure = np.array([[[60]], [[255]], [[255]]], np.uint8)
    assert distortion.from_hsv(pure).ravel().tolist() == [0, 255, 0]
    assert distortion.from_hsv(pure + np.array([[[180]], [[0]], [[0]]], np.uint8)).ravel().tolist() == [0, 255, 0]


@pytest.mark.parametrize(("by", "expected"), [(10.5, [10, 138, 255]), (-200, [0, 0, 55]), (0.5, [0, 128, 255])])
def test_brightness_is_added_and_rounded_to_even(by: float, expected: list[int]) -> None:
    levels = np.array([0, 128, 255], np.uint8).reshape(3, 1, 1)
    assert distortion.shifted(levels, by).ravel().tolist() == expected


def test_contrast_multiplies() -> None:
    levels = np.array([1, 100, 200], np.uint8).reshape(3, 1, 1)
    assert distortion.scaled(levels, 1.5).ravel().tolist() == [2, 150, 255]
    assert distortion.scaled(levels, 1.0005) is levels


def test_saturation_0_is_grey() -> None:
    blue, green, red = distortion.saturated(IMAGE, 0)
    assert np.array_equal(blue, green)
    assert np.array_equal(blue, red)
    assert np.array_equal(blue, IMAGE.max(0))


def test_hue_turns_red_to_green() -> None:
    red = np.array([0, 0, 255], np.uint8).reshape(3, 1, 1)
    assert distortion.turned(red, 60).ravel().tolist() == [0, 255, 0]


def changed(**fields: float) -> float:
    """The share of images that are not what they were."""
    param, draw = message("DistortionParameter", **fields), np.random.default_rng(4)
    images = [distortion.distort(IMAGE[:, :2, :2], param, draw) for _ in range(1000)]
    return float(np.mean([not np.array_equal(image, IMAGE[:, :2, :2]) for image in images]))


def test_each_change_has_its_probability() -> None:
    assert changed() == 0
    assert changed(brightness_prob=0.3, brightness_delta=64) == pytest.approx(0.3, abs=0.05)
    assert changed(contrast_prob=0.5, contrast_lower=0.1, contrast_upper=0.5) == pytest.approx(0.5, abs=0.05)
    assert changed(saturation_prob=0.7, saturation_lower=0, saturation_upper=0.2) == pytest.approx(0.7, abs=0.05)
    assert changed(hue_prob=0.4, hue_delta=90) == pytest.approx(0.4, abs=0.06)
    assert changed(random_order_prob=0.6) == pytest.approx(0.6 * 5 / 6, abs=0.05)


def test_brightness_is_uniform() -> None:
    param, draw = message("DistortionParameter", brightness_prob=1, brightness_delta=32), np.random.default_rng(5)
    grey = np.full((3, 1, 1), 128, np.uint8)
    levels = np.array([distortion.distort(grey, param, draw)[0, 0, 0] for _ in range(3000)]).astype(int) - 128
    assert levels.min() == -32
    assert levels.max() == 32
    assert levels.mean() == pytest.approx(0, abs=1.2)
    assert levels.std() == pytest.approx(64 / np.sqrt(12), abs=0.7)
