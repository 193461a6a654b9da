"""Databases and layers to test with, written by py-lmdb and protobuf alone."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import lmdb
import numpy as np

from proto2torch.prototxt.document import LayerDefinition
from proto2torch.prototxt.read import read_net
from proto2torch.prototxt.schema import new

GOLDEN = Path(__file__).parent.parent / "golden" / "data"


def datum(image: np.ndarray, label: int = 0) -> bytes:
    """A Datum as protobuf writes it: uint8 pixels in `data`, others in `float_data`."""
    message = new("Datum")
    message.channels, message.height, message.width = image.shape
    if image.dtype == np.uint8:
        message.data = image.tobytes()
    else:
        message.float_data.extend(image.ravel().tolist())
    message.label = label
    return bytes(message.SerializeToString())


def write_lmdb(folder: Path, values: Iterable[bytes], keys: Iterable[bytes] | None = None) -> str:
    """An LMDB of these values under the keys `%08d`."""
    values = list(values)
    keys = list(keys) if keys is not None else [b"%08d" % i for i in range(len(values))]
    with lmdb.open(str(folder), map_size=1 << 26) as environment, environment.begin(write=True) as transaction:
        for key, value in zip(keys, values, strict=True):
            transaction.put(key, value)
    (folder / "lock.mdb").unlink()
    return str(folder)


def mapped(folder: Path) -> bool:
    """Whether this process has mapped a file below `folder`, where the system says so."""
    maps = Path("/proc/self/maps")
    return maps.exists() and f"{folder}/" in maps.read_text()


def pictures(count: int, shape: tuple[int, int, int] = (3, 7, 9), seed: int = 0) -> np.ndarray:
    """Random uint8 images."""
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), np.uint8)


def layer(folder: Path, text: str, name: str = "net.prototxt") -> LayerDefinition:
    """The one layer of a prototxt in `folder`."""
    path = folder / name
    path.write_text(text)
    return read_net(str(path)).layers[0]


def data_layer(folder: Path, source: str = "db", batch: int = 4, transform: str = "", **more: Any) -> LayerDefinition:
    """A Data layer over the LMDB `source`; `param` and `tops` stand in place of what is usual."""
    tops = more.get("tops", ("data", "label"))
    param = more.get("param", f'source: "{source}" batch_size: {batch} backend: LMDB')
    lines = ['layer { name: "digits" type: "Data"', *(f'top: "{top}"' for top in tops)]
    if transform:
        lines.append(f"transform_param {{ {transform} }}")
    return layer(folder, "\n".join([*lines, f"data_param {{ {param} }} }}"]))
