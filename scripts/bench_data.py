"""The benches of data: how fast batches come out of databases, written here with drawn pixels.

    data_uint8  raw 3 x 256 x 256 records to random crops of 227 as bytes, against a DataLoader with two workers
    data_float  the same to float32 less the mean, mirrored, against a loop of protobuf and numpy
    data_jpeg   500 x 375 JPEGs to crops of 227 as bytes, against torchvision's decoder alone on all cores
    data_jpeg_float  the same to float32 less the mean, mirrored; no target
    data_lenet  a training step of LeNet from an LMDB, against the same step from memory

Each also says what share of the speed of copying the result's bytes it reaches.
"""

from __future__ import annotations

import io
import statistics
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from itertools import cycle
from pathlib import Path
from typing import Any, NamedTuple

import lmdb
import numpy as np
import torch
from bench_sides import Side, in_turn, taken
from PIL import Image
from torch.utils.data import DataLoader, Dataset

import proto2torch as p2t
from proto2torch.data import datum
from proto2torch.data.database import DatabaseSource
from proto2torch.data.new_database import new_database
from proto2torch.data.workers import workers
from proto2torch.prototxt.read import read_net
from proto2torch.prototxt.schema import new

TARGETS = {"data_uint8": 1 / 20, "data_float": 1 / 5, "data_jpeg": 1 / 0.9, "data_jpeg_float": None, "data_lenet": 1.1}
RECORDS, BATCH, SIDE, CROP, MEAN = 512, 64, 256, 227, (104.0, 117.0, 123.0)
JPEGS, TURNS, STEPS, STEP = 64, 8, 30, 64
_CPU = torch.device("cpu")
_DATUM: Any = type(new("Datum"))


class Sides(NamedTuple):
    """What a bench compares; each side makes as many batches in a call."""

    ours: Side
    theirs: Side
    against: str
    copy: Side | None
    """Copies as many bytes as the batches have."""
    alone: bool = True
    """Whether all of it happens in this process, so that its processor time says all."""


def row(name: str, rounds: int, lenet: str, solver: str) -> dict[str, object]:
    """The figures of a bench; `lenet` is a net whose second line is its data layer."""
    with tempfile.TemporaryDirectory() as folder:
        benches: dict[str, Callable[[], Any]] = {
            "data_uint8": lambda: _uint8(Path(folder)),
            "data_float": lambda: _float(Path(folder)),
            "data_jpeg": lambda: _jpeg(Path(folder), floats=False),
            "data_jpeg_float": lambda: _jpeg(Path(folder), floats=True),
            "data_lenet": lambda: _lenet(Path(folder), lenet, solver),
        }
        with benches[name]() as sides:
            return _measured(name, sides, rounds)


def line(row: dict[str, Any]) -> str:
    """A row as text."""
    target = f"(target {row['target']:.3f})" if row["target"] else "(no target)"
    share = f"; {row['copy_share']:.0%} of the speed of copying" if row["copy_share"] else ""
    busy = f"; of processor time {row['processor_ratio']:.3f}" if row["processor_ratio"] else ""
    return (
        f"{row['bench']}: {row['ratio']:.3f} times the time of {row['against']} {target}, "
        f"{row['times']:.1f} times as fast, {row['proto2torch_ms']} ms against {row['theirs_ms']} ms; {row['rounds']} "
        f"rounds, {row['lowest']:.3f} to {row['highest']:.3f}{busy}{share}"
    )


def _measured(name: str, sides: Sides, rounds: int) -> dict[str, object]:
    sides.ours(), sides.theirs()
    copy = sides.copy or (lambda: None)
    results = [(ours, theirs, taken(copy)) for ours, theirs in in_turn(sides.ours, sides.theirs, rounds)]
    ratios = [ours.clock / theirs.clock for ours, theirs, _ in results]
    processor = [ours.processor / theirs.processor for ours, theirs, _ in results]
    shares = [copied.processor / ours.processor for ours, _, copied in results]
    return {
        "bench": name,
        "against": sides.against,
        "ratio": round(statistics.median(ratios), 4),
        "times": round(1 / statistics.median(ratios), 2),
        "processor_ratio": round(statistics.median(processor), 4) if sides.alone else None,
        "target": TARGETS[name] and round(TARGETS[name], 4),
        "lowest": round(min(ratios), 4),
        "highest": round(max(ratios), 4),
        "rounds": rounds,
        "proto2torch_ms": round(statistics.median(ours.clock for ours, _, _ in results) * 1000, 3),
        "theirs_ms": round(statistics.median(theirs.clock for _, theirs, _ in results) * 1000, 3),
        "copy_share": round(statistics.median(shares), 3) if sides.copy else None,
    }


@contextmanager
def _uint8(folder: Path) -> Iterator[Sides]:
    path, batches = _raw(folder), 4 * RECORDS // BATCH
    loader = DataLoader(Datums(path, 4 * RECORDS), BATCH, num_workers=2, persistent_workers=True)
    with _source(folder, path, f"crop_size: {CROP}") as source:
        numbers = _numbers()

        def ours() -> None:
            for _ in range(batches):
                source.gather(next(numbers), _CPU)

        def theirs() -> None:
            for _ in loader:
                pass

        copy = _copy((BATCH, 3, CROP, CROP), np.uint8, batches)
        yield Sides(ours, theirs, "a DataLoader with two workers", copy, alone=False)


@contextmanager
def _float(folder: Path) -> Iterator[Sides]:
    path, batches = _raw(folder), 4 * RECORDS // BATCH
    mean = "".join(f"mean_value: {value} " for value in MEAN)
    with _source(folder, path, f"crop_size: {CROP} mirror: true {mean}") as source, _reader(path) as get:
        numbers, draw = _numbers(), np.random.default_rng(0)

        def ours() -> None:
            for _ in range(batches):
                source.batch(next(numbers))

        def theirs() -> None:
            for batch in range(batches):
                np.stack([_plain(get((batch * BATCH + i) % RECORDS), draw) for i in range(BATCH)])

        copy = _copy((BATCH, 3, CROP, CROP), np.float32, batches)
        yield Sides(ours, theirs, "a loop of protobuf and numpy", copy)


def _plain(record: bytes, draw: np.random.Generator) -> np.ndarray:
    """A record as float32, cropped, less the mean and perhaps mirrored, as one writes it."""
    image = _parsed(record)
    top, left = draw.integers(0, SIDE - CROP + 1, 2)
    part = image[:, top : top + CROP, left : left + CROP].astype(np.float32)
    part -= np.array(MEAN, np.float32)[:, None, None]
    return part[:, :, ::-1] if draw.integers(2) else part


@contextmanager
def _jpeg(folder: Path, floats: bool) -> Iterator[Sides]:
    encoded = [_picture(number) for number in range(JPEGS)]
    path = _written(folder / "jpegs", [datum.write_encoded(one, number) for number, one in enumerate(encoded)])
    mean = "".join(f"mean_value: {value} " for value in MEAN)
    with (
        _source(folder, path, f"crop_size: {CROP} mirror: true {mean}") as source,
        ThreadPoolExecutor(workers()) as pool,
    ):
        numbers = _numbers()

        def ours() -> None:
            for _ in range(TURNS):
                source.batch(next(numbers)) if floats else source.gather(next(numbers), _CPU)

        def theirs() -> None:
            for _ in range(TURNS):
                list(pool.map(_decoded, encoded))

        copy = _copy((JPEGS, 3, CROP, CROP), np.float32 if floats else np.uint8, TURNS)
        yield Sides(ours, theirs, "torchvision's decoder alone, on all cores", copy)


def _decoded(encoded: bytes) -> torch.Tensor:
    import torchvision.io  # noqa: F401

    pixels = torch.frombuffer(bytearray(encoded), dtype=torch.uint8)
    return torch.ops.image.decode_jpeg(pixels, 3)  # type: ignore[no-any-return]


@contextmanager
def _lenet(folder: Path, net: str, solver: str) -> Iterator[Sides]:
    draw = np.random.default_rng(0)
    images = draw.integers(0, 256, (RECORDS, 1, 28, 28), np.uint8)
    path = _written(folder / "digits", [datum.write(image, number % 10) for number, image in enumerate(images)])
    layer = (
        f'layer {{ name: "memory" type: "Data" top: "data" top: "label" transform_param {{ scale: 0.00390625 }} '
        f'data_param {{ source: "{path}" batch_size: {STEP} backend: LMDB }} }}\n'
    )
    (folder / "net.prototxt").write_text(layer + net.strip().split("\n", 2)[2])
    (folder / "solver.prototxt").write_text(solver.replace("net.prototxt", str(folder / "net.prototxt")))
    from_database, from_memory = (
        p2t.Solver(folder / "solver.prototxt", device="cpu", log=lambda message: None) for _ in range(2)
    )
    feed = from_memory.net.feeds["memory"]
    batches = [tuple(part.clone() for part in feed.next()) for _ in range(RECORDS // STEP)]
    feed.close()
    from_memory.net.feeds["memory"] = _Memory(batches)
    yield Sides(lambda: from_database.step(STEPS), lambda: from_memory.step(STEPS), "a step from memory", None)
    from_database.net.close()


class _Memory:
    """Stands in for a data layer: the same batches over and over."""

    def __init__(self, batches: list[Any]) -> None:
        self._batches = cycle(batches)

    def next(self) -> Any:
        return next(self._batches)


class Datums(Dataset[tuple[torch.Tensor, int]]):
    """Random crops of an LMDB's Datums, as one writes it for a DataLoader."""

    def __init__(self, path: str, length: int) -> None:
        self._path, self._length = path, length
        self._get: Callable[[int], bytes] | None = None

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        if self._get is None:
            self._stack = ExitStack()
            self._get = self._stack.enter_context(_reader(self._path))
        image = _parsed(self._get(index % RECORDS))
        top, left = torch.randint(0, SIDE - CROP + 1, (2,)).tolist()
        return torch.from_numpy(image[:, top : top + CROP, left : left + CROP].copy()), index


def _parsed(record: bytes) -> np.ndarray:
    message = _DATUM.FromString(record)
    return np.frombuffer(message.data, np.uint8).reshape(message.channels, message.height, message.width)


@contextmanager
def _reader(path: str) -> Iterator[Callable[[int], bytes]]:
    """What gives the bytes of a record, by LMDB's own library."""
    with lmdb.open(path, readonly=True, lock=False) as environment, environment.begin() as transaction:
        yield lambda number: transaction.get(b"%08d" % number)


@contextmanager
def _source(folder: Path, path: str, transform: str) -> Iterator[DatabaseSource]:
    (folder / "layer.prototxt").write_text(
        f'layer {{ name: "data" type: "Data" top: "data" top: "label" transform_param {{ {transform} }} '
        f'data_param {{ source: "{path}" batch_size: {BATCH} backend: LMDB }} }}'
    )
    source = DatabaseSource(read_net(str(folder / "layer.prototxt")).layers[0], "TRAIN", 0)
    yield source
    source.close()


def _numbers() -> Iterator[int]:
    """The numbers of the records that begin the batches."""
    number = 0
    while True:
        yield number
        number += BATCH


def _copy(shape: tuple[int, ...], dtype: type, times: int) -> Side:
    source, target = np.ones(shape, dtype), np.zeros(shape, dtype)

    def run() -> None:
        for _ in range(times):
            np.copyto(target, source)

    return run


def _raw(folder: Path) -> str:
    path = folder / "raw"
    if path.exists():
        return str(path)
    draw = np.random.default_rng(0)
    images = (draw.integers(0, 256, (3, SIDE, SIDE), np.uint8) for _ in range(RECORDS))
    return _written(path, (datum.write(image, number % 10) for number, image in enumerate(images)))


def _written(path: Path, records: Any) -> str:
    with new_database(str(path)) as database:
        for number, record in enumerate(records):
            database.put(b"%08d" % number, record)
    return str(path)


def _picture(number: int) -> bytes:
    """A JPEG of 500 x 375, as long as a photograph's: soft colours with some noise."""
    draw = np.random.default_rng(number)
    soft = Image.fromarray(draw.integers(0, 256, (12, 16, 3), np.uint8)).resize((500, 375), Image.Resampling.BICUBIC)
    noisy = np.asarray(soft) + draw.normal(0, 8, (375, 500, 3))
    file = io.BytesIO()
    Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=90)
    return file.getvalue()
