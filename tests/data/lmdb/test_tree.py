from __future__ import annotations

import struct
from pathlib import Path

import lmdb
import numpy as np
import pytest

from proto2torch.data.lmdb import file as lmdb_file
from proto2torch.data.lmdb.tree import Damaged, Root, Tree

from ..records import write_lmdb


def opened(folder: Path) -> tuple[bytearray, Root]:
    """A database's bytes, and where its tree begins."""
    contents = bytearray((folder / "data.mdb").read_bytes())
    meta = lmdb_file.newest(memoryview(contents))
    assert meta is not None
    return contents, meta.tree


def drawn(count: int) -> dict[bytes, bytes]:
    """Keys of 1 to 400 bytes, in no order; values that lie with them and values with pages of their own."""
    draw = np.random.default_rng(0)
    lengths = draw.choice([0, 1, 50, 1500, 2100, 9000], count, p=[0.1, 0.3, 0.5, 0.04, 0.03, 0.03])
    return {draw.bytes(int(draw.integers(1, 400))): draw.bytes(int(length)) for length in lengths}


def test_a_deep_tree_is_what_lmdb_itself_reads(tmp_path: Path) -> None:
    values = drawn(4000)
    with lmdb.open(str(tmp_path), map_size=1 << 28) as environment:
        with environment.begin(write=True) as transaction:
            for key, value in values.items():
                transaction.put(key, value)
        with environment.begin(write=True) as transaction:  # pages that are free again
            for key in list(values)[::7]:
                transaction.delete(key)
                del values[key]
        with environment.begin() as transaction:
            expected = [(bytes(key), bytes(value)) for key, value in transaction.cursor()]
    contents, root = opened(tmp_path)
    assert root.depth >= 3 and root.entries == len(values)
    tree = Tree(memoryview(contents), root)
    assert [(bytes(key), bytes(value)) for key, value in tree.entries()] == expected == sorted(values.items())
    assert [bytes(key) for key in tree] == [key for key, _ in expected]
    assert [bytes(key) for key, _ in tree.entries(3011)] == [key for key, _ in expected[3011:]]
    assert all(tree.find(key) == value for key, value in expected)
    assert [tree.find(key) for key in (b"", b"\0", b"\xff" * 400, expected[9][0] + b"\0")] == [None] * 4


def page_of(contents: bytes, kind: int) -> int:
    """The first page that has these flags: 1 a branch, 2 a leaf, 4 a long value."""
    return next(
        n for n in range(2, len(contents) // 4096) if struct.unpack_from("<H", contents, n * 4096 + 10)[0] == kind
    )


DAMAGE = [
    (2, 0, "<Q", 9999, "is not the leaf that it should be"),
    (2, 10, "<H", 1, "is not the leaf that it should be"),
    (2, 12, "<H", 15, "has impossible bounds, 15 and"),
    (2, 12, "<H", 16, "has impossible bounds, 16 and"),
    (2, 12, "<H", 65534, "has impossible bounds, 65534 and"),
    (2, 14, "<H", 5000, "has impossible bounds"),
    (2, 16, "<H", 4095, "has a node beyond its bounds"),
    (2, 16, "<H", 0, "has a node beyond its bounds"),
    (1, 0, "<Q", 0, "is not the branch that it should be"),
    (4, 10, "<H", 2, "is not the beginning of the value that it should be"),
    (4, 12, "<I", 1 << 30, "is not the beginning of the value that it should be"),
    (4, 12, "<I", 0, "has a value of 9000 bytes, which its 0 pages do not hold"),
]


@pytest.mark.parametrize(("kind", "at", "format", "value", "message"), DAMAGE)
def test_a_damaged_page(tmp_path: Path, kind: int, at: int, format: str, value: int, message: str) -> None:
    write_lmdb(tmp_path / "db", [bytes(9000) if n == 0 else bytes(30) for n in range(300)])
    contents, root = opened(tmp_path / "db")
    struct.pack_into(format, contents, page_of(contents, kind) * 4096 + at, value)
    with pytest.raises(Damaged, match=message):
        list(Tree(memoryview(contents), root).entries())


def test_a_node_that_leads_beyond_the_file(tmp_path: Path) -> None:
    write_lmdb(tmp_path / "db", [bytes(9000)])
    contents, root = opened(tmp_path / "db")
    leaf = page_of(contents, 2) * 4096
    node = leaf + struct.unpack_from("<H", contents, leaf + 16)[0]
    struct.pack_into("<Q", contents, node + 8 + 8, 1 << 40)  # after the head and a key of 8 bytes
    with pytest.raises(Damaged, match=f"there is no page {1 << 40}: the last one is {root.last_page}"):
        list(Tree(memoryview(contents), root).entries())


@pytest.mark.parametrize("depth", [0, 33])
def test_a_depth_that_no_tree_has(depth: int) -> None:
    with pytest.raises(Damaged, match=f"a tree has 1 to 32 levels. Received: {depth}"):
        Tree(memoryview(bytes(8192)), Root(2, depth, 1, 4096, 1))


def test_branches_in_a_circle_end(tmp_path: Path) -> None:
    write_lmdb(tmp_path / "db", [bytes(30) for _ in range(300)])
    contents, root = opened(tmp_path / "db")
    branch = root.page * 4096
    for place in struct.unpack_from("<2H", contents, branch + 16):
        struct.pack_into("<HHH", contents, branch + place, root.page, 0, 0)
    for depth in (root.depth, 32):
        with pytest.raises(Damaged, match="is not the leaf that it should be"):
            list(Tree(memoryview(contents), root._replace(depth=depth)).entries())
