"""What must not kill a process, nor fill it: databases cut short, workers killed, many nets, a large database."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from proto2torch import data
from proto2torch.prototxt.schema import new
from proto2torch.weights import wire

from .records import GOLDEN, data_layer, datum, pictures, write_lmdb

CUT = """
import os, sys
from proto2torch.data.records import open_records
from proto2torch.errors import DataError
path = os.path.join(sys.argv[1], "data.mdb")
whole = os.path.getsize(path)
refused = read = 0
for size in [*range(whole - 4096, -1, -4096), *range(whole - 4096, 0, -4096 * 5 - 17)]:
    os.truncate(path, min(size, os.path.getsize(path)))
    try:
        records = open_records(sys.argv[1], "lmdb")
        read += sum(len(bytes(value)) > 0 for _, value in records.take(0, len(records)))
        records.close()
    except DataError:
        refused += 1
print(refused, read)
"""


@pytest.mark.parametrize("source", [GOLDEN / "tools" / "lmdb_raw", GOLDEN / "runs" / "digits_test_lmdb"])
def test_an_lmdb_cut_at_every_page_kills_nothing(tmp_path: Path, source: Path) -> None:
    shutil.copytree(source, tmp_path / "db")
    for path in [tmp_path / "db", *(tmp_path / "db").iterdir()]:
        path.chmod(0o755)
    size = os.path.getsize(source / "data.mdb")
    done = subprocess.run([sys.executable, "-c", CUT, str(tmp_path / "db")], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    refused, read = map(int, done.stdout.split())
    assert refused >= size // 4096 and read == 0


def test_a_thousand_nets_leave_no_file_and_no_thread(tmp_path: Path) -> None:
    write_lmdb(tmp_path / "db", [datum(image) for image in pictures(3)])
    definition = data_layer(tmp_path, batch=1)
    data.open(definition, "TEST").close()
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0, threading.active_count()
    for number in range(1000):
        feed = data.open(definition, "TEST")
        if number % 10 == 0:
            feed.next()
        feed.close()
    after = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0, threading.active_count()
    assert after == before


KILLED = """
import os, signal, sys
import torch
from torch.utils.data import DataLoader
from proto2torch import data
found = data.LMDB(sys.argv[1])
iterator = iter(DataLoader(found, batch_size=2, num_workers=2))
next(iterator)
try:
    for worker in iterator._workers:
        os.kill(worker.pid, signal.SIGKILL)
    for _ in range(64):
        next(iterator)
except (RuntimeError, OSError) as error:  # the latter where a batch was on its way
    print(isinstance(error, OSError) or "DataLoader worker" in str(error))
del iterator
print(torch.cat([labels for _, labels in DataLoader(found, batch_size=2, num_workers=2)]).tolist() == list(range(64)))
"""


def test_workers_that_are_killed_are_reported_and_the_next_ones_work(tmp_path: Path) -> None:
    folder = write_lmdb(tmp_path / "db", [datum(image, i) for i, image in enumerate(pictures(64))])
    done = subprocess.run([sys.executable, "-c", KILLED, folder], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "True\nTrue\n"), done.stderr


MEMORY = """
import sys
from proto2torch import data
from proto2torch.prototxt.read import read_net

def own():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("RssAnon"))

feed = data.open(read_net(sys.argv[1]).layers[0], "TRAIN")
for _ in range(4):
    feed.next()
before = most = own()
for _ in range(int(sys.argv[2])):
    feed.next()
    most = max(most, own())
feed.close()
print(most - before)
"""
"""How much memory of its own a process takes; the pages of a mapped file are the system's, which drops them at need."""


def sparse_lmdb(folder: Path, count: int, side: int) -> int:
    """An LMDB of `count` black images of 3 x side x side, its pixels left out of the disk; gives the file's length.

    Pages of 4096 bytes: two meta pages, a leaf whose nodes name the first page of each value, and the values.
    """
    page, invalid, pixels = 4096, (1 << 64) - 1, 3 * side * side
    message = new("Datum")
    message.channels, message.height, message.width = 3, side, side
    head = message.SerializeToString() + b"\x22" + wire.encode(pixels)
    size = len(head) + pixels + 2
    pages = -(-(16 + size) // page)
    folder.mkdir()
    with open(folder / "data.mdb", "wb") as file:
        last = 2 + count * pages
        for meta in range(2):
            free = struct.pack("<IHHQQQQQ", page, 8, 0, 0, 0, 0, 0, invalid)
            main = struct.pack("<IHHQQQQQ", 0, 0, 1, 0, 1, count * pages, count, 2)
            header = struct.pack("<QHHHH", meta, 0, 8, 0, 0)
            tail = struct.pack("<QQ", last, meta)
            file.seek(meta * page)
            file.write(header + struct.pack("<IIQQ", 0xBEEFC0DE, 1, 0, (last + 1) * page) + free + main + tail)
        nodes = [
            struct.pack("<HHHH8sQ", size & 0xFFFF, size >> 16, 1, 8, b"%08d" % n, 3 + n * pages) for n in range(count)
        ]
        tops = [page - 24 * (n + 1) for n in range(count)]
        file.seek(2 * page)
        file.write(struct.pack(f"<QHHHH{count}H", 2, 0, 2, 16 + 2 * count, tops[-1], *tops))
        file.seek(2 * page + tops[-1])
        file.write(b"".join(reversed(nodes)))
        for n in range(count):
            file.seek((3 + n * pages) * page)
            file.write(struct.pack("<QHHI", 3 + n * pages, 0, 4, pages) + head)
            file.seek(pixels, os.SEEK_CUR)
            file.write(b"\x28\x01")
        file.truncate((last + 1) * page)
    return (last + 1) * page


@pytest.mark.skipif(
    not os.path.exists("/proc/self/status"), reason="only Linux says how much memory is a process's own"
)
def test_a_database_of_ten_gibibytes_takes_the_memory_of_a_small_one(tmp_path: Path) -> None:
    assert sparse_lmdb(tmp_path / "db", count=100, side=6000) > 10 << 30
    data_layer(tmp_path, transform="crop_size: 64", param=f'source: "{tmp_path}/db" batch_size: 1 backend: LMDB')
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, str(tmp_path / "net.prototxt"), "100"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 50 << 10  # KiB


def test_a_net_read_again_and_again_is_the_same_in_forked_workers(tmp_path: Path) -> None:
    images = pictures(6)
    found = data.LMDB(write_lmdb(tmp_path / "db", [datum(image) for image in images]))
    for _ in range(3):
        got = torch.cat([image for image, _ in DataLoader(found, batch_size=4, num_workers=1)])
        assert np.array_equal(got, images)
