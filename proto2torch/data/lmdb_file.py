"""What stands in an LMDB's first two pages, checked before anything maps the file.

LMDB maps data.mdb into memory and trusts it: a file that was cut short would end the process with SIGBUS at the first
page that is not there. The file: pages 0 and 1 each hold a header of 16 bytes and the meta data, of which the one with
the higher transaction number counts; it names the last page in use.
"""

from __future__ import annotations

import os
import struct
from typing import NamedTuple

from proto2torch.errors import DataError, Where, unreadable

_FORMAT = struct.Struct("<II16xI44x48xQQ")  # between version and last page: address, map size, the roots of two trees
_HEADER, _MAGIC, _VERSION = 16, 0xBEEFC0DE, 1
_LENGTH = _HEADER + _FORMAT.size
_PAGE_SIZES = tuple(1 << n for n in range(8, 17))


def find(folder: str, where: Where) -> str:
    """The data.mdb of an LMDB folder, its pages all there.

    Raises:
        DataError: nothing is there, it is something else (a file, a LevelDB), or the file cannot be read or is damaged.
    """
    if os.path.isfile(folder):
        hint = "name the folder that it lies in" if os.path.basename(folder) == "data.mdb" else None
        raise DataError(f"an LMDB is a folder with a data.mdb. Received: the file {folder!r}", where=where, hint=hint)
    if not os.path.isdir(folder):
        raise DataError(f"no database is there. Received: {folder!r}", where=where, hint=searched(folder, where.file))
    path = os.path.join(folder, "data.mdb")
    if not os.path.exists(path):
        if is_leveldb(folder):
            hint = "set 'backend: LEVELDB', or convert the database to LMDB"
            raise DataError(f"expected an LMDB. Received: {folder!r}, a LevelDB", where=where, hint=hint)
        raise DataError(f"expected an LMDB. Received: {folder!r}, a folder without data.mdb", where=where)
    _check(path, where)
    return path


def is_leveldb(folder: str) -> bool:
    """Whether a folder looks like a LevelDB."""
    return os.path.isfile(os.path.join(folder, "CURRENT"))


def searched(path: str, beside: str | None) -> str:
    """Where a relative path was looked for."""
    places = [os.path.abspath(path)]
    if beside is not None and not os.path.isabs(path):
        places.append(os.path.abspath(os.path.join(os.path.dirname(beside), path)))
    return "looked for " + " and ".join(dict.fromkeys(places))


def _check(path: str, where: Where) -> None:
    try:
        size = os.path.getsize(path)
        with open(path, "rb") as file:
            first = _meta(file.read(_LENGTH))
            file.seek(first.page_size if first else 0)
            second = _meta(file.read(_LENGTH))
    except PermissionError as error:
        raise DataError(f"no permission to read {path!r}", where=where) from error
    except OSError as error:
        unreadable(path, error, DataError)
    if not size:
        raise DataError(f"{path!r} is empty", where=where)
    if first is None:
        raise DataError(f"{path!r} is not the data file of an LMDB of a 64-bit machine, or it is damaged", where=where)
    metas = (first, second) if second else (first,)
    needed = (max(metas, key=lambda meta: meta.transaction).last_page + 1) * first.page_size
    if size < needed or second is None:
        raise DataError(f"{path!r} is cut short: its pages take {needed} bytes. Received: {size}", where=where)


class _Meta(NamedTuple):
    """What a meta page says, as far as it matters here."""

    magic: int
    version: int
    page_size: int
    last_page: int
    transaction: int


def _meta(page: bytes) -> _Meta | None:
    """The meta data of a page; None where it is none."""
    if len(page) < _LENGTH:
        return None
    meta = _Meta(*_FORMAT.unpack_from(page, _HEADER))
    valid = (meta.magic, meta.version) == (_MAGIC, _VERSION) and meta.page_size in _PAGE_SIZES
    return meta if valid else None
