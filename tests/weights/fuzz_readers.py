"""Drawn, cut and corrupted files for the readers of weights, held against protobuf's own reading of the same bytes.

    python tests/weights/fuzz_readers.py --minutes 1 --seed 7

Each input is a message that was drawn (every generation of layers, old and new shapes, float and double, packed and
unpacked), or a file of Caffe's, or one of them with bytes changed, cut out, put in, doubled or cut off. What a reader
gives must be what protobuf gives; what it refuses, it refuses with its own kind of error, and protobuf's reading must
say why: it refuses too, or a shape does not fit its values. HDF5 files are only read or refused, for no second reader
of them is at hand; they are read in a process of their own, so that a crash is seen.
"""

from __future__ import annotations

import argparse
import math
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from proto2torch.data import datum
from proto2torch.errors import Proto2TorchError
from proto2torch.prototxt import schema
from proto2torch.weights import blobproto, caffemodel, solverstate, wire
from proto2torch.weights import read as read_weights

DATA = Path(__file__).parents[1] / "golden" / "data"
KINDS = ("caffemodel", "binaryproto", "solverstate", "datum")
LONGEST = 2.0  # seconds that a reader may take for a file of some kilobytes

Found = dict[str, Any]


STRICTER = (
    "must be coded as",  # a field that is known, of another wire type: protobuf takes it for an unknown one
    "no field has the tag",  # a group, which protobuf skips and no message of Caffe's has
    "Received: text",  # nothing but printable characters
    "the file is empty",
)
"""What is refused and protobuf reads."""


class Disagreement(Exception):
    """A reader and protobuf say two things of the same bytes."""


# What is drawn


def values(draw: random.Random, count: int) -> list[float]:
    return [draw.choice((0.0, -0.0, 1.5, math.inf, -math.inf, math.nan, 1e-45, draw.gauss(0, 1))) for _ in range(count)]


def blob(draw: random.Random, message: Any) -> None:
    """A blob that fits, or nearly."""
    shape = [draw.choice((1, 1, 2, 3, 0, 5)) for _ in range(draw.choice((0, 1, 2, 4)))]
    if draw.random() < 0.4:
        shape = [1] * (4 - len(shape)) + shape
        message.num, message.channels, message.height, message.width = shape
        if draw.random() < 0.2:
            message.ClearField(draw.choice(("num", "channels", "height", "width")))
    else:
        message.shape.dim.extend(shape)
    count = math.prod(shape) + draw.choice((0,) * 9 + (1,))
    kind = draw.choice(("data", "data", "double_data"))
    getattr(message, kind).extend(values(draw, count))
    if draw.random() < 0.3:
        getattr(message, draw.choice(("diff", "double_diff"))).extend(values(draw, count))


def caffemodel_message(draw: random.Random) -> Any:
    net = schema.new("NetParameter")
    net.name = draw.choice(("net", "", "n\u00e9t"))
    generation = draw.choice(("layer", "layer", "layers", "v0"))
    for number in range(draw.randint(0, 3)):
        layer = net.layers.add().layer if generation == "v0" else getattr(net, generation).add()
        layer.name = draw.choice((f"l{number}", "same"))
        for _ in range(draw.randint(0, 3)):
            blob(draw, layer.blobs.add())
    return net


def solverstate_message(draw: random.Random) -> Any:
    state = schema.new("SolverState")
    state.iter, state.current_step = draw.choice((0, 7, -1, 2**31 - 1)), draw.randint(0, 3)
    state.learned_net = draw.choice(("w.caffemodel", "", "a/b"))
    for _ in range(draw.randint(0, 3)):
        blob(draw, state.history.add())
    return state


def binaryproto_message(draw: random.Random) -> Any:
    message = schema.new("BlobProto")
    blob(draw, message)
    return message


def datum_message(draw: random.Random) -> Any:
    message = schema.new("Datum")
    message.channels, message.height, message.width = (draw.choice((0, 1, 2, 3, -1)) for _ in range(3))
    message.label = draw.choice((0, 5, -3, 2**31 - 1))
    if draw.random() < 0.5:
        message.data = draw.randbytes(draw.randint(0, 12))
    else:
        message.float_data.extend(values(draw, draw.randint(0, 6)))
    message.encoded = draw.random() < 0.3
    return message


MESSAGES: dict[str, tuple[Callable[[random.Random], Any], str, list[Path]]] = {
    "caffemodel": (caffemodel_message, "NetParameter", [DATA / "tools/net.caffemodel"]),
    "binaryproto": (binaryproto_message, "BlobProto", [DATA / "tools/mean.binaryproto"]),
    "solverstate": (
        solverstate_message,
        "SolverState",
        sorted((DATA / "solvers").glob("*/snap_iter_10.solverstate"))[:1],
    ),
    "datum": (datum_message, "Datum", []),
}


def unpacked(draw: random.Random, content: bytes) -> bytes:
    """A blob more, its data with a tag for each value, in a layer of its own."""
    numbers = b"".join(b"\x2d" + np.float32(v).tobytes() for v in values(draw, 3))
    body = b"\x3a" + wire.encode(len(numbers) + 5) + numbers + b"\x3a\x03\x0a\x01\x03"
    return content + b"\xa2\x06" + wire.encode(len(body) + 4) + b"\x0a\x02un" + body


def changed(draw: random.Random, content: bytes) -> bytes:
    """A few of the ways in which a file goes wrong."""
    data = bytearray(content)
    for _ in range(draw.choice((0, 0, 1, 1, 2, 4))):
        at = draw.randint(0, max(0, min(len(data), draw.choice((64, 10**6))) - 1))
        end = at + draw.choice((1, 1, 2, 8, 100))
        how = draw.randint(0, 5)
        if how == 0 and data:
            data[at] ^= 1 << draw.randint(0, 7)
        elif how == 1 and data:
            data[at] = draw.choice((0, 0x7F, 0x80, 0xFF, draw.randint(0, 255)))
        elif how == 2:
            del data[at:end]
        elif how == 3:
            data[at:at] = draw.randbytes(draw.randint(1, 10))
        elif how == 4:
            data[at:at] = data[at:end]
        else:
            del data[at:]
    return bytes(data)


# What protobuf says


@np.errstate(invalid="ignore")  # signalling NaNs
def stored(message: Any, name: str) -> np.ndarray | None:
    """The values of data or diff: doubles, floats, or the bytes of NVIDIA's fork; None where those are no numbers."""
    plain = getattr(message, f"double_{name}") or getattr(message, name)
    if plain or not message.HasField(f"raw_{name}"):
        return np.array(plain, np.float64)
    kind = {0: "<f8", 1: "<f4", 2: "<f2"}.get(getattr(message, f"raw_{name}_type"))
    raw = getattr(message, f"raw_{name}")
    return None if kind is None or len(raw) % int(kind[2]) else np.frombuffer(raw, kind).astype(np.float64)


def expected_blob(message: Any) -> np.ndarray | None:
    """The values by Caffe's rule; None where they do not fit."""
    legacy = ("num", "channels", "height", "width")
    if any(message.HasField(name) for name in legacy):
        shape = tuple(getattr(message, name) for name in legacy)
    else:
        shape = tuple(message.shape.dim)
    data, diff = stored(message, "data"), stored(message, "diff")
    if data is None or diff is None or len(shape) > 32 or any(extent < 0 for extent in shape):
        return None
    if math.prod(shape) != len(data) or len(diff) not in (0, len(data)):
        return None
    with np.errstate(over="ignore", invalid="ignore"):
        return data.astype(np.float32).reshape(shape)


def expected(kind: str, message: Any) -> Found | None:
    """What a reader must give; None where it must refuse."""
    if kind == "binaryproto":
        array = expected_blob(message)
        return None if array is None else {"array": array}
    if kind == "solverstate":
        history = [expected_blob(entry) for entry in message.history]
        if any(entry is None for entry in history) or min(message.iter, message.current_step) < 0:
            return None
        return {"iter": message.iter, "step": message.current_step, "history": history}
    if kind == "datum":
        floats = some(np.array(message.float_data, np.float32))
        numbers = (message.channels, message.height, message.width, message.label, message.encoded)
        return {"numbers": numbers, "data": message.data, "floats": floats}
    if bool(message.layer) == bool(message.layers):
        return None
    parts = message.layer or message.layers
    if any(layer.HasField("layer") for layer in message.layers):
        parts = [layer.layer for layer in message.layers if layer.HasField("layer")]
    found: Found = {}
    for layer in parts:
        arrays = [expected_blob(entry) for entry in layer.blobs]
        if any(array is None for array in arrays):
            return None
        found.setdefault(as_shown(layer.name), arrays)
    return found


def some(floats: np.ndarray | None) -> np.ndarray | None:
    """None for none."""
    return floats if floats is not None and len(floats) else None


def as_shown(name: str | bytes) -> str:
    """A name whose bytes are no UTF-8 by their codes; protobuf gives it as surrogates or as bytes, by its runtime."""
    raw = name if isinstance(name, bytes) else name.encode("utf-8", "surrogateescape")
    return raw.decode("utf-8", "backslashreplace")


# What the reader says


def read(kind: str, content: bytes, path: str) -> Found:
    if kind == "datum":
        record = datum.parse(memoryview(content))
        numbers = (record.channels, record.height, record.width, record.label, record.encoded)
        return {"numbers": numbers, "data": bytes(record.data), "floats": some(record.floats)}
    with open(path, "wb") as file:
        file.write(content)
    if kind == "binaryproto":
        return {"array": blobproto.read(path)}
    if kind == "solverstate":
        state = solverstate.read(path)
        return {"iter": state.iter, "step": state.current_step, "history": list(state.history)}
    stored = caffemodel.read(path)
    return {name: [b.array for b in layer.blobs if b is not None] for name, layer in stored.layers.items()}


def same(ours: Any, theirs: Any) -> bool:
    if isinstance(ours, np.ndarray) or isinstance(theirs, np.ndarray):
        if ours is None or theirs is None or ours.shape != theirs.shape:
            return False
        return bool(np.array_equal(ours, theirs, equal_nan=True))
    if isinstance(ours, dict):
        return list(ours) == list(theirs) and all(same(ours[key], theirs[key]) for key in ours)
    if isinstance(ours, list):
        return len(ours) == len(theirs) and all(map(same, ours, theirs))
    return bool(ours == theirs)


def compare(kind: str, content: bytes, path: str) -> str:
    """How it went: read, refused, or refused by one alone for a reason that is known; else a Disagreement."""
    message = schema.new(MESSAGES[kind][1])
    try:
        message.ParseFromString(content)
        theirs, parsed = expected(kind, message), True
    except DecodeError:
        theirs, parsed = None, False
    started = time.perf_counter()
    try:
        ours = read(kind, content, path)
    except (Proto2TorchError, datum.NotADatum) as error:
        ours, reason = None, str(error)
    if time.perf_counter() - started > LONGEST:
        raise Disagreement("it took too long")
    if ours is None:
        if theirs is None:
            return "refused by both"
        if any(text in reason for text in STRICTER):
            return "refused for what protobuf skips"
        raise Disagreement(f"protobuf reads it: {reason}")
    if not parsed:
        return "read, where protobuf refuses what is not read"
    if theirs is None or not same(ours, theirs):
        raise Disagreement(f"ours {str(ours)[:300]}, protobuf's {str(theirs)[:300]}")
    return "read, the same"


def inputs(kind: str, draw: random.Random) -> Iterator[bytes]:
    make, _, paths = MESSAGES[kind]
    files = [path.read_bytes() for path in paths]
    while True:
        content = draw.choice(files) if files and draw.random() < 0.2 else make(draw).SerializePartialToString()
        if kind == "caffemodel" and draw.random() < 0.1:
            content = unpacked(draw, content)
        yield changed(draw, content)


def run(kind: str, seed: int, *, seconds: float = math.inf, count: int | None = None) -> Counter[str]:
    """Try inputs until time or number is up; an input that disagrees is told in bytes."""
    found: Counter[str] = Counter()
    until = time.perf_counter() + seconds
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as folder:
        for content in inputs(kind, random.Random(f"{kind} {seed}")):
            if time.perf_counter() > until or found.total() == count:
                return found
            try:
                found[compare(kind, content, os.path.join(folder, "file"))] += 1
            except Exception as error:
                where = os.path.join(tempfile.gettempdir(), f"disagreed.{kind}")
                Path(where).write_bytes(content)
                raise AssertionError(f"{kind}, {len(content)} bytes, kept in {where}: {error!r}") from error
    return found


# HDF5


def hdf5(seed: int, seconds: float, count: int | None = None) -> Counter[str]:
    """Corrupted .h5 files of Caffe, read in another process."""
    command = [sys.executable, __file__, "--hdf5", str(seconds), "--seed", str(seed)]
    done = subprocess.run([*command, *(["--count", str(count)] if count else [])], capture_output=True, text=True)
    if done.returncode:
        raise AssertionError(f"it ended with {done.returncode}: {done.stderr[-2000:]}")
    return Counter({name: int(number) for number, name in (line.split(" ", 1) for line in done.stdout.splitlines())})


def _hdf5_here(seed: int, seconds: float, count: int | None) -> Counter[str]:
    draw, found = random.Random(seed), Counter[str]()
    weights = (DATA / "tools/net.caffemodel.h5").read_bytes()
    state = next((DATA / "solvers").glob("*/*.solverstate.h5")).read_bytes()
    until = time.perf_counter() + seconds
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "file.h5")
        while time.perf_counter() < until and found.total() != count:
            whole, reader = draw.choice(((weights, read_weights), (state, solverstate.read)))
            with open(path, "wb") as file:
                file.write(changed(draw, whole))
            try:
                reader(path)
                found["read"] += 1
            except Proto2TorchError:
                found["refused"] += 1
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=1.0, help="for each kind of file")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--count", type=int)
    parser.add_argument("--hdf5", type=float, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.hdf5 is not None:
        for name, number in _hdf5_here(arguments.seed, arguments.hdf5, arguments.count).items():
            print(number, name)
        return
    seconds = 60 * arguments.minutes
    for kind in (*KINDS, "hdf5"):
        found = hdf5(arguments.seed, seconds) if kind == "hdf5" else run(kind, arguments.seed, seconds=seconds)
        print(f"{kind}: {found.total()} inputs; " + ", ".join(f"{name}: {n}" for name, n in found.most_common()))


if __name__ == "__main__":
    main()
