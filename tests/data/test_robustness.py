"""What must not kill a process, nor fill it: databases cut short, workers killed, many nets, a large database."""

from __future__ import annotations

import gc
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

import proto2torch as p2t
from proto2torch import data
from proto2torch.prototxt.schema import new
from proto2torch.weights import wire

from .records import GOLDEN, data_layer, datum, mapped, pictures, write_lmdb

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


FLIP = """
import os, random, sys
from proto2torch.data.inspect import summary
from proto2torch.data.records import open_records
from proto2torch.errors import DataError
path, draw = os.path.join(sys.argv[1], "data.mdb"), random.Random(0)
with open(path, "rb") as file:
    whole = file.read()
refused = read = 0
for page in range(0, len(whole), 4096):
    for place in [*range(16), *(draw.randrange(16, 64) for _ in range(6)), *(draw.randrange(4096) for _ in range(6))]:
        with open(path, "r+b") as file:
            file.seek(page + place)
            file.write(bytes([whole[page + place] ^ 1 << draw.randrange(8)]))
        try:
            records = open_records(sys.argv[1], "lmdb")
            keys = records.keys()
            sum(len(bytes(value)) for _, value in records.take(0, len(keys) + 1))
            sum(len(bytes(records.get(key) or b"")) for key in keys[:: max(1, len(keys) // 8)])
            records.close()
            read += 1
        except DataError as error:
            refused += 1
            assert sys.argv[1] in str(error), error
        with open(path, "r+b") as file:
            file.seek(page + place)
            file.write(whole[page + place : page + place + 1])
print(refused, read)
"""


@pytest.mark.parametrize("sizes", [[30] * 400, [9000] * 20], ids=["small values", "long values"])
def test_an_lmdb_with_bits_flipped_in_every_page_kills_nothing(tmp_path: Path, sizes: list[int]) -> None:
    folder = write_lmdb(tmp_path / "db", [bytes([n % 251]) * size for n, size in enumerate(sizes)])
    pages = os.path.getsize(tmp_path / "db" / "data.mdb") // 4096
    done = subprocess.run([sys.executable, "-c", FLIP, folder], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    refused, read = map(int, done.stdout.split())
    assert refused + read == pages * 28 and refused > 20 and read > 20


def test_a_thousand_nets_leave_no_file_and_no_thread(tmp_path: Path) -> None:
    write_lmdb(tmp_path / "db", [datum(image) for image in pictures(3)])
    data_layer(tmp_path, batch=1)
    path = tmp_path / "net.prototxt"
    path.write_text(
        path.read_text()
        + 'layer { name: "pool" type: "Pooling" bottom: "data" top: "pool" pooling_param { kernel_size: 2 } }'
    )
    p2t.load(path)().popitem()
    before = held()
    gc.disable()  # what is dropped must close at once, not at the collector's leisure
    try:
        for number in range(1000):
            net = p2t.load(path)
            if number % 10 == 0:
                net()
            if number % 2:
                net.close()
        del net
        assert held() == before
    finally:
        gc.enable()


def held() -> tuple[int, int]:
    """How many files this process has open (and maps), and how many threads."""
    if not os.path.isdir("/proc/self/fd"):
        return 0, threading.active_count()
    maps = Path("/proc/self/maps").read_text()
    return len(os.listdir("/proc/self/fd")) + maps.count("data.mdb"), threading.active_count()


def test_a_solver_that_is_dropped_closes_its_databases(tmp_path: Path) -> None:
    write_lmdb(tmp_path / "db", [datum(image, n % 2) for n, image in enumerate(pictures(6))])
    data_layer(tmp_path, batch=2)
    path = tmp_path / "net.prototxt"
    path.write_text(
        path.read_text()
        + 'layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 2 } }'
        + 'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }'
    )
    solver_path = tmp_path / "solver.prototxt"
    solver_path.write_text(
        f'net: "{path}" base_lr: 0.1 lr_policy: "fixed" max_iter: 4 test_iter: 1 test_interval: 2 momentum: 0.9 '
        "snapshot_after_train: false"
    )

    def solved() -> p2t.Solver:
        solver = p2t.Solver(solver_path, device="cpu", log=lambda message: None)
        solver.solve()
        return solver

    solved().close()  # the first one makes torch import more of itself, which leaves circles behind
    gc.collect()
    before = held()
    gc.disable()
    try:
        solver = solved()
        assert mapped(tmp_path)
        del solver
        assert held() == before and not mapped(tmp_path)
    finally:
        gc.enable()


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
import proto2torch as p2t
from proto2torch import data
from proto2torch.prototxt.read import read_net

def most():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))

before = most()
feed = data.open(read_net(sys.argv[1]).layers[0], "TRAIN")
for _ in range(int(sys.argv[2])):
    feed.next()
feed.close()
print(most() - before)
"""
"""How much more memory a process ever had, all of it: its own, and the pages of the database that it maps.

The latter are the system's, which drops them at need; they count all the same where somebody looks at a process or
limits a container.
"""


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
    assert int(done.stdout) < (256 + 128) << 10  # KiB: what is read before pages are given back, and a record


def test_a_net_read_again_and_again_is_the_same_in_forked_workers(tmp_path: Path) -> None:
    images = pictures(6)
    found = data.LMDB(write_lmdb(tmp_path / "db", [datum(image) for image in images]))
    for _ in range(3):
        got = torch.cat([image for image, _ in DataLoader(found, batch_size=4, num_workers=1)])
        assert np.array_equal(got, images)
