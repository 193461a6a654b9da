"""What stands in an LMDB's first two pages, checked before anything maps the file.

LMDB maps data.mdb into memory and trusts it: a file that was cut short would end the process with SIGBUS at the first
page that is not there. The file: pages 0 and 1 each hold a header of 16 bytes and the meta data, of which the one with
the higher transaction number counts; it names the last page in use and the root of the tree.
"""

from __future__ import annotations

import os
import struct
from typing import NamedTuple

from proto2torch.data.lmdb.tree import Root
from proto2torch.errors import DataError, Where, unreadable

_FORMAT = struct.Struct("<II16x I44x 4xHH24xQQ QQ")
"""Magic, version; between them and the next an address and the map's size; of the tree of free pages the size of a
page; of the main tree flags, depth, entries and root; the last page and the transaction."""
_HEADER, _MAGIC, _VERSION = 16, 0xBEEFC0DE, 1
LENGTH = _HEADER + _FORMAT.size
"""Bytes of a meta page that say something."""
_PAGE_SIZES = tuple(1 << n for n in range(8, 17))


class Meta(NamedTuple):
    """What a meta page says, as far as it matters here."""

    magic: int
    version: int
    page_size: int
    flags: int
    depth: int
    entries: int
    root: int
    last_page: int
    transaction: int

    @property
    def tree(self) -> Root:
        """Where its records are."""
        return Root(self.root, self.depth, self.entries, self.page_size, self.last_page)


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


def newest(data: memoryview, page_size: int | None = None) -> Meta | None:
    """The meta data that counts, of a whole file; None where the pages are none."""
    first = meta(data[:LENGTH])
    page_size = page_size or (first.page_size if first else 0)
    found = [m for m in (first, meta(data[page_size : page_size + LENGTH])) if m is not None]
    return max(found, key=lambda m: m.transaction, default=None)


def meta(page: bytes | memoryview) -> Meta | None:
    """The meta data of a page; None where it is none."""
    if len(page) < LENGTH:
        return None
    found = Meta(*_FORMAT.unpack_from(page, _HEADER))
    valid = (found.magic, found.version) == (_MAGIC, _VERSION) and found.page_size in _PAGE_SIZES
    return found if valid else None


def _check(path: str, where: Where) -> None:
    try:
        size = os.path.getsize(path)
        with open(path, "rb") as file:
            first = meta(file.read(LENGTH))
            file.seek(first.page_size if first else 0)
            second = meta(file.read(LENGTH))
    except PermissionError as error:
        raise DataError(f"no permission to read {path!r}", where=where) from error
    except OSError as error:
        unreadable(path, error, DataError)
    if not size:
        raise DataError(f"{path!r} is empty", where=where)
    if first is None:
        raise DataError(f"{path!r} is not the data file of an LMDB of a 64-bit machine, or it is damaged", where=where)
    metas = (first, second) if second else (first,)
    counts = max(metas, key=lambda m: m.transaction)
    needed = (counts.last_page + 1) * first.page_size
    if size < needed or second is None:
        raise DataError(f"{path!r} is cut short: its pages take {needed} bytes. Received: {size}", where=where)
    if counts.flags or counts.page_size != first.page_size:
        message = f"{path!r} orders its keys by another rule than their bytes, or has several values a key"
        raise DataError(f"{message}. Received: flags {counts.flags:#x}", where=where)
