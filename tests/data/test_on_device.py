"""Batches that are transformed on the device: the same numbers, on the CPU where every machine can compare them."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import proto2torch as p2t
from proto2torch import data
from proto2torch.data import database, device_cache, on_device
from proto2torch.data.database import DatabaseSource
from proto2torch.weights import blobproto

from .records import GOLDEN, data_layer, datum, layer, pictures, write_lmdb

CPU = torch.device("cpu")
TRANSFORMS = [
    "",
    "scale: 0.00390625",
    "mirror: true",
    "crop_size: 5",
    "crop_size: 5 mirror: true scale: 0.3",
    'mean_file: "mean.binaryproto"',
    'mean_file: "mean.binaryproto" mirror: true scale: 1.7',
    'mean_file: "mean.binaryproto" crop_size: 5 mirror: true',
    "mean_value: 104.5",
    "mean_value: 104.5 mean_value: 3 mean_value: 0.1 crop_size: 7 mirror: true scale: 0.3",
]


def written(folder: Path) -> None:
    write_lmdb(folder / "db", [datum(image, n) for n, image in enumerate(pictures(10))])
    mean = np.random.default_rng(3).uniform(0, 255, (1, 3, 7, 9)).astype(np.float32)
    blobproto.write(str(folder / "mean.binaryproto"), mean)


CACHED = Path(__file__).with_name("test_device_cache.py")
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"


@pytest.fixture
def launches(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """The batches that Triton's kernel has made; where its interpreter runs, it makes those of the CPU."""
    made: list[tuple[int, ...]] = []

    def launched(*arguments: object) -> torch.Tensor:
        batch = on_device.launched(*arguments)
        made.append(tuple(batch.shape))
        return batch

    if INTERPRETED:
        monkeypatch.setattr(on_device, "kernel", lambda kind: launched)
    return made


compiled = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None or INTERPRETED, reason="Triton is not there, or interprets"
)


@compiled
def test_one_kernel_makes_the_same_numbers() -> None:
    """What else is tested here, by the kernel that CUDA has, interpreted on the CPU."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", __file__, str(CACHED), "-q", "-k", "numbers_are_those"],
        env={**os.environ, "TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@compiled
@pytest.mark.parametrize("mean", ["none", "channel", "image"])
@pytest.mark.parametrize("cropped", [False, True])
def test_the_kernel_compiles_without_a_fused_multiply_add(
    mean: str, cropped: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For a GPU that need not be there: a fused one would round once where two operations round twice."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from proto2torch.data.kernel import _transform

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    chosen = {"CROPPED": cropped, "MEAN": mean, "BLOCK": 1024}
    types = {"pixels": "*u8", "picks": "*i32", "mean": "*fp32", "batch": "*fp32", "scale": "fp32"}
    signature = {name: "constexpr" if name in chosen else types.get(name, "i32") for name in _transform.arg_names}
    made = triton.compile(ASTSource(_transform, signature, chosen), target=GPUTarget("cuda", 80, 32))
    assert "cubin" in made.asm
    assert "fma.rn.f32" not in made.asm["ptx"]
    assert "mul.f32" in made.asm["ptx"]


@pytest.mark.parametrize("kind", ["cpu", "meta"])
def test_the_kernel_is_is_cudas(kind: str) -> None:
    assert on_device.kernel(kind) is None


@pytest.mark.parametrize("phase", ["TRAIN", "TEST"])
@pytest.mark.parametrize("transform", TRANSFORMS)
def test_the_numbers_are_those_of_the_host(
    tmp_path: Path, transform: str, phase: str, launches: list[tuple[int, ...]]
) -> None:
    written(tmp_path)
    definition = data_layer(tmp_path, batch=4, transform=transform)
    host, device = (DatabaseSource(definition, phase, 5) for _ in range(2))
    for first in (0, 4, 8, 20):
        expected = host.batch(first)
        received = device.finish(device.gather(first, CPU), CPU)
        assert [part.dtype for part in received] == [torch.float32] * 2
        assert all(map(torch.equal, received, expected))
    assert len(launches) == (4 if INTERPRETED else 0)  # one a batch
    host.close()
    device.close()


def test_files_of_images(tmp_path: Path) -> None:
    folder = GOLDEN / "tools"
    text = f'crop_size: 40 mirror: true mean_value: 100 scale: 0.5 force_color: true }} data_param {{ source: "{folder}/lmdb_encoded"'
    one, two = (
        DatabaseSource(
            layer(
                tmp_path,
                f'layer {{ name: "d" type: "Data" top: "x" transform_param {{ {text} batch_size: 5 backend: LMDB }} }}',
            ),
            "TRAIN",
            1,
        )
        for _ in range(2)
    )
    for first in (0, 5, 10):
        assert torch.equal(one.batch(first)[0], two.finish(two.gather(first, CPU), CPU)[0])
    lines = "".join(f"im{n:02d}.{'png' if n % 2 else 'jpg'} {n}\n" for n in range(12))
    (tmp_path / "list.txt").write_text(lines)
    images = layer(
        tmp_path,
        'layer { name: "d" type: "ImageData" top: "x" top: "y" transform_param { crop_size: 30 mirror: true }'
        f' image_data_param {{ source: "list.txt" root_folder: "{folder}/images/" batch_size: 4 shuffle: true }} }}',
    )
    from proto2torch.data.image_data import ImageSource

    host, device = ImageSource(images, "TRAIN", 2), ImageSource(images, "TRAIN", 2)
    for first in (0, 4, 8):
        assert all(map(torch.equal, host.batch(first), device.finish(device.gather(first, CPU), CPU)))


def test_numbers_that_are_no_bytes_are_transformed_on_the_host(tmp_path: Path) -> None:
    values = np.random.default_rng(0).standard_normal((4, 1, 2, 3)).astype(np.float32)
    write_lmdb(tmp_path / "db", [datum(value) for value in values])
    source = DatabaseSource(data_layer(tmp_path, batch=4, transform="scale: 3"), "TEST", 0)
    gathered = source.gather(0, CPU)
    assert isinstance(gathered, tuple) and np.array_equal(gathered[0].numpy(), values * np.float32(3))
    assert source.finish(gathered, CPU) is gathered
    source.close()


def test_a_feed_makes_batches_for_the_device_that_asks(tmp_path: Path) -> None:
    written(tmp_path)
    feed = data.open(data_layer(tmp_path, batch=4, transform="crop_size: 5 mirror: true mean_value: 3"), "TRAIN", 5)
    there = torch.device("meta")  # a device that every machine has; it keeps shapes alone
    images, labels = feed.next(there)
    assert (images.device.type, labels.device.type) == ("meta", "meta")
    assert (images.shape, images.dtype, labels.shape) == ((4, 3, 5, 5), torch.float32, (4,))
    other = data.open(data_layer(tmp_path, batch=4, transform="crop_size: 5 mirror: true mean_value: 3"), "TRAIN", 5)
    other.next()
    assert all(map(torch.equal, feed.next(), other.next()))  # back on the CPU it goes on where it was
    feed.close()
    other.close()


def test_bytes_for_cuda_are_pinned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def empty(shape: tuple[int, ...], dtype: torch.dtype, pin_memory: bool = False) -> torch.Tensor:
        asked.append((shape, dtype, pin_memory))
        return torch.zeros(shape, dtype=dtype)

    written(tmp_path)
    source = DatabaseSource(data_layer(tmp_path, batch=4), "TEST", 0)
    monkeypatch.setattr(torch, "empty", empty)
    monkeypatch.setattr(device_cache, "free", lambda device: 0)
    source.gather(0, torch.device("cuda"))
    assert asked == [((4, 3, 7, 9), torch.uint8, True)]
    source.gather(0, CPU)
    assert len(asked) == 1
    source.close()


def test_a_net_asks_for_batches_on_its_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path)
    definition = data_layer(tmp_path, batch=4)
    net = p2t.load(definition.where().file)
    asked = []
    feed = net.feeds["digits"]
    given = feed.next

    def next_batch(device: torch.device) -> database.Batch:
        asked.append(device)
        return given()

    monkeypatch.setattr(feed, "next", next_batch)
    net()
    assert asked == [net.device]
    net.close()
