"""Whether another process is writing to an LMDB.

LMDB's lock.mdb holds, at byte 64, the mutex of whoever writes: in glibc's layout its owner, a thread, stands 8 bytes
on. Who has the file locked at all is asked of the system first: opening the file and closing it again would take away
the locks of this process, should it have the database open by other means.
"""

from __future__ import annotations

import os
import struct
import sys

from proto2torch.errors import DataError, Where

_OWNER, _MAGIC = 64 + 8, 0xBEEFC0DE


def check(folder: str, where: Where) -> None:
    """Refuse an LMDB that another process is writing to, where the system (Linux) says so.

    Raises:
        DataError: a process is in the middle of a transaction that writes.
    """
    if not sys.platform.startswith("linux"):
        return
    path = os.path.join(folder, "lock.mdb")
    holders = _holders(path)
    if not holders or os.getpid() in holders:
        return
    writer = _owner(path)
    for pid in holders:
        if writer and os.path.exists(f"/proc/{pid}/task/{writer}"):
            message = f"another process, {pid}, is writing to the database {folder!r}"
            raise DataError(message, where=where, hint="wait until it has ended, or read a copy")


def _holders(path: str) -> set[int]:
    """The processes that have a lock on a file."""
    try:
        status = os.stat(path)
        with open("/proc/locks") as file:
            lines = [line.split() for line in file]
    except OSError:
        return set()
    name = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    return {int(line[-4]) for line in lines if len(line) >= 8 and line[-3] == name}


def _owner(path: str) -> int:
    """The thread that holds the mutex of writers; 0 where none does."""
    try:
        with open(path, "rb") as file:
            head = file.read(_OWNER + 4)
    except OSError:
        return 0
    if len(head) < _OWNER + 4 or struct.unpack_from("<I", head)[0] != _MAGIC:
        return 0
    return int(struct.unpack_from("<I", head, _OWNER)[0])
