"""Files of features, written as the batches come, so that memory does not grow with the number of images.

By the ending: `.txt` (as numpy.savetxt, a row an image), `.npy`, `.npz`, `.mat`, `.h5`, and the databases `.lmdb` and
`.leveldb` of Datums that Caffe's extract_features writes. `.npz`, `.mat` and `.h5` hold several blobs, the others one.
"""

from __future__ import annotations

import os
import shutil
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from proto2torch import files
from proto2torch.data.new_database import new_database
from proto2torch.data.records import LEVELDB, LMDB
from proto2torch.errors import DataError, Where, did_you_mean
from proto2torch.training import mat
from proto2torch.training.spool import Spool
from proto2torch.weights import wire

Array = NDArray[np.float32]
Say = Callable[[str], None]
SEVERAL = (".npz", ".mat", ".h5")
ENDINGS = (".txt", ".npy", *SEVERAL, ".lmdb", ".leveldb")


class Sink(Protocol):
    """Takes the rows of blobs, batch after batch."""

    def add(self, batch: Mapping[str, Array]) -> None:
        """Add the rows of one batch, (rows, …) of each blob."""


def ending(path: str) -> str:
    """The ending that says what a file of features is.

    Raises:
        DataError: it is none of those.
    """
    found = os.path.splitext(path.rstrip("/"))[1].lower()
    if found not in ENDINGS:
        hint = did_you_mean(found, ENDINGS)
        raise DataError(f"expected a name that ends in {', '.join(ENDINGS)}", where=Where(file=path), hint=hint)
    return found


def names(path: str, blobs: Sequence[str]) -> list[str]:
    """The files that hold `blobs` under `path`: itself, or, where one holds one blob alone, `f-fc7.txt` for `f.txt`."""
    if len(blobs) == 1 or ending(path) in SEVERAL:
        return [path]
    stem, tail = os.path.splitext(path.rstrip("/"))
    return [f"{stem}-{''.join(c if c.isalnum() or c in '-_.' else '_' for c in blob)}{tail}" for blob in blobs]


@contextmanager
def writing(paths: Sequence[str], blobs: Sequence[str], say: Say = lambda _: None) -> Iterator[Sink]:
    """A sink for `blobs`, in one file or one each; the files are there when the block ends without an error.

    `say` is told what a user should know: variables that had to be renamed, a format that was changed.

    Raises:
        DataError: an ending that is not known, several blobs for a file of one, or a database that is there already.
        RunError: a file cannot be written.
    """
    if len(paths) not in (1, len(blobs)):
        raise DataError(f"expected one file, or one for each of {len(blobs)} blobs. Received: {len(paths)}")
    if len(paths) == 1 and len(blobs) > 1 and ending(paths[0]) not in SEVERAL:
        paths = names(paths[0], blobs)
    with ExitStack() as stack:
        if len(paths) == 1:
            yield stack.enter_context(_open(paths[0], blobs, say))
            return
        if len(set(map(os.path.abspath, paths))) < len(paths):
            raise DataError(f"two blobs would be written to one file. Received: {', '.join(paths)}")
        sinks = [stack.enter_context(_open(path, [blob], say)) for path, blob in zip(paths, blobs, strict=True)]
        yield _Each(dict(zip(blobs, sinks, strict=True)))


@contextmanager
def databases(paths: Sequence[str], blobs: Sequence[str], backend: str) -> Iterator[Sink]:
    """A sink that writes a database (LMDB or LEVELDB of `data.records`) for each blob, whatever their names end in."""
    with ExitStack() as stack:
        yield _Each({b: stack.enter_context(_database(p, backend)) for p, b in zip(paths, blobs, strict=True)})


def _open(path: str, blobs: Sequence[str], say: Say) -> Any:
    kind = ending(path)
    if kind in (".lmdb", ".leveldb"):
        return _database(path, LMDB if kind == ".lmdb" else LEVELDB)
    openers: dict[str, Any] = {".txt": _text, ".npy": _npy, ".npz": _npz, ".h5": _hdf5}
    return _mat(path, blobs, say) if kind == ".mat" else openers[kind](path, blobs)


class _Each:
    """A sink of its own for each blob."""

    def __init__(self, sinks: Mapping[str, Sink]) -> None:
        self._sinks = sinks

    def add(self, batch: Mapping[str, Array]) -> None:
        for blob, rows in batch.items():
            self._sinks[blob].add({blob: rows})


class _Call:
    """A function as a sink."""

    def __init__(self, add: Callable[[str, Array], None]) -> None:
        self._add = add

    def add(self, batch: Mapping[str, Array]) -> None:
        for blob, rows in batch.items():
            self._add(blob, rows)


@contextmanager
def _text(path: str, blobs: Sequence[str]) -> Iterator[Sink]:
    with files.atomic(path) as temporary, open(temporary, "w", newline="\n") as file:
        yield _Call(lambda _, rows: np.savetxt(file, rows.reshape(len(rows), -1)))


@contextmanager
def _npy(path: str, blobs: Sequence[str]) -> Iterator[Sink]:
    with files.atomic(path) as temporary, Spool(temporary) as spool:
        yield _Call(lambda _, rows: spool.add(rows))
        spool.finish()


@contextmanager
def _spools(path: str, blobs: Sequence[str]) -> Iterator[dict[str, Spool]]:
    """A temporary .npy of each blob, beside `path`."""
    target = Path(os.path.realpath(path))
    with ExitStack() as stack:
        spools = {}
        for number, blob in enumerate(blobs):
            at = target.with_name(f".{target.name[:100]}.{os.getpid()}.{number}.tmp")
            stack.callback(at.unlink, missing_ok=True)
            spools[blob] = stack.enter_context(Spool(at))
        yield spools


@contextmanager
def _npz(path: str, blobs: Sequence[str]) -> Iterator[Sink]:
    with files.atomic(path) as temporary, _spools(path, blobs) as spools:
        yield _Call(lambda blob, rows: spools[blob].add(rows))
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
            for blob, spool in spools.items():
                spool.finish()
                with open(spool.path, "rb") as source, archive.open(f"{blob}.npy", "w", force_zip64=True) as entry:
                    shutil.copyfileobj(source, entry, 1 << 20)


@contextmanager
def _mat(path: str, blobs: Sequence[str], say: Say) -> Iterator[Sink]:
    variables = mat.variables(blobs)
    renamed = [f"{blob} is {variable}" for blob, variable in variables.items() if blob != variable]
    with files.atomic(path) as temporary, _spools(path, blobs) as spools:
        yield _Call(lambda blob, rows: spools[blob].add(rows))
        arrays = {variables[blob]: spool.finish() for blob, spool in spools.items()}
        if renamed:
            say(f"{path}: MATLAB's names are letters, digits and underscores: {', '.join(renamed)}")
        if mat.write(temporary, arrays) == "7.3":
            say(f"{path}: above 2 GB, written as MATLAB 7.3 (HDF5): scipy does not read it, MATLAB and h5py do")


@contextmanager
def _hdf5(path: str, blobs: Sequence[str]) -> Iterator[Sink]:
    import h5py

    with files.atomic(path) as temporary, h5py.File(temporary, "w") as file:

        def add(blob: str, rows: Array) -> None:
            if blob not in file:
                file.create_dataset(blob, data=rows, maxshape=(None, *rows.shape[1:]), chunks=True)
                return
            dataset = file[blob]
            dataset.resize(len(dataset) + len(rows), axis=0)
            dataset[-len(rows) :] = rows

        yield _Call(add)


@contextmanager
def _database(path: str, backend: str) -> Iterator[Sink]:
    """Datums with float_data under the keys 0000000000, 0000000001 …"""
    with new_database(path, backend) as writer:
        count = 0

        def add(_: str, rows: Array) -> None:
            nonlocal count
            for row in rows:
                writer.put(b"%010d" % count, float_datum(row))
                count += 1

        yield _Call(add)


def float_datum(row: Array) -> bytes:
    """The bytes of a Datum of floats, as extract_features writes it: the first three axes of a row, and its values.

    Each value has its own tag, for Caffe's schema does not pack them.
    """
    extents = (*row.shape, 1, 1, 1)[:3]
    head = b"".join(wire.tag(field, wire.VARINT) + wire.encode(extent) for field, extent in enumerate(extents, start=1))
    record = np.dtype([("tag", "u1"), ("value", "<f4")])
    values = np.empty(row.size, record)
    values["tag"], values["value"] = wire.tag(6, wire.FIXED32)[0], row.reshape(-1)
    return head + values.tobytes()
