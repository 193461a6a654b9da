"""Transforms against a plain reference, for any fields, images and phases."""

from __future__ import annotations

import tempfile
from typing import Any

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from proto2torch.data.transform import Transform
from proto2torch.prototxt.document import LayerDefinition
from proto2torch.prototxt.schema import new
from proto2torch.weights import blobproto

CPU = torch.device("cpu")

CASES = st.fixed_dictionaries(
    {
        "phase": st.sampled_from(["TRAIN", "TEST"]),
        "channels": st.sampled_from([1, 3, 4]),
        "height": st.integers(1, 12),
        "width": st.integers(1, 12),
        "crop": st.integers(0, 12),
        "mirror": st.booleans(),
        "scale": st.floats(-3, 3, width=32),
        "mean": st.sampled_from(["none", "one", "each", "file"]),
        "floats": st.booleans(),
        "planar": st.booleans(),
        "first": st.integers(0, 9),
        "count": st.integers(1, 4),
        "seed": st.integers(0, 2**32 - 1),
    }
)


def reference(case: dict[str, Any], images: np.ndarray, mean: np.ndarray | None, crop: int) -> np.ndarray:
    """Draw mirror, then in TRAIN with a crop top and left; (pixel - mean) * scale; write mirrored."""
    random_crop = crop > 0 and case["phase"] == "TRAIN"
    each = int(case["mirror"]) + 2 * random_crop
    words = np.random.RandomState(case["seed"]).randint(0, 1 << 32, (case["first"] + len(images)) * each, np.uint64)
    drawn = iter(words[case["first"] * each :].tolist())
    out = []
    for image in images:
        mirrored = case["mirror"] and next(drawn) % 2 == 1
        height, width = image.shape[1:]
        if random_crop:
            top, left = next(drawn) % (height - crop + 1), next(drawn) % (width - crop + 1)
        else:
            top, left = ((height - crop) // 2, (width - crop) // 2) if crop else (0, 0)
        part = image[:, top : top + crop, left : left + crop] if crop else image
        part = part.astype(np.float32)
        if mean is not None:
            whole = np.broadcast_to(mean, image.shape)
            part = part - (whole[:, top : top + crop, left : left + crop] if crop else whole)
        part = part * np.float32(case["scale"])
        out.append(part[:, :, ::-1] if mirrored else part)
    return np.stack(out)


@settings(max_examples=300, deadline=None)
@given(CASES)
def test_any_transform(case: dict[str, Any]) -> None:
    crop = min(case["crop"], case["height"], case["width"])
    draw = np.random.default_rng(case["seed"])
    shape = (case["count"], case["channels"], case["height"], case["width"])
    images = draw.standard_normal(shape, np.float32) if case["floats"] else draw.integers(0, 256, shape, np.uint8)
    values = {"one": [104.5], "each": [10.25, 20.5, 123.75, 4.0][: case["channels"]]}.get(case["mean"], [])
    mean = np.array(values, np.float32).reshape(-1, 1, 1) if values else None
    message = new("LayerParameter")
    p = message.transform_param
    p.scale, p.mirror, p.crop_size = case["scale"], case["mirror"], crop
    p.mean_value.extend(values)
    with tempfile.TemporaryDirectory() as folder:
        if case["mean"] == "file":
            mean = draw.uniform(0, 255, shape[1:]).astype(np.float32)
            p.mean_file = f"{folder}/mean.binaryproto"
            blobproto.write(p.mean_file, mean[None])
        transform, other = (Transform(LayerDefinition(message), case["phase"], case["seed"]) for _ in range(2))
    given_images = list(images if case["planar"] else images.transpose(0, 2, 3, 1).copy().transpose(0, 3, 1, 2))
    assert all(
        transform.shape(image.shape) == (case["channels"], crop or case["height"], crop or case["width"])
        for image in given_images
    )
    expected = reference(case, images, mean, crop)
    assert np.array_equal(transform(given_images, case["first"]).numpy(), expected)
    if not case["floats"]:
        gathered = other.gather(given_images, case["first"], CPU)
        assert np.array_equal(other.finish(gathered, CPU).numpy(), expected)
