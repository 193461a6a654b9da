"""The tree of an LMDB, walked over the mapped file with every page checked before it is used.

LMDB's own library trusts its pages: a damaged one makes it read beyond the map, and the process dies. Here a page that
is not what its place in the tree says is an error. Checked are the pages that are walked, so a database opens at once
however large it is; the bytes of the values have no checksum in the format and cannot be checked.

A page begins with its number (8 bytes), 2 unused ones, its flags (2) and the bounds of its free space (2 and 2), for
the pages of a long value their count (4) instead; then the places of its nodes, 2 bytes each, in the order of the keys.
A node: two numbers of 16 bits, flags, the length of the key, the key. In a branch the first three are the number of the
page below; in a leaf the first two are the length of the value, which follows, or whose first page's number does.
"""

from __future__ import annotations

import struct
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

_PAGE = struct.Struct("<QHHHH")
_NODE = struct.Struct("<HHHH")
_NUMBER = struct.Struct("<Q")
_BRANCH, _LEAF, _LONG = 1, 2, 4
_KINDS = 0x6F  # the flags that say what a page is; the others are of the writer's bookkeeping
_ELSEWHERE = 1  # the flag of a node whose value has pages of its own
_DEEPEST = 32  # levels that LMDB's cursors have room for

Entry = tuple[memoryview, memoryview]


class Damaged(ValueError):
    """A page that is not what it should be; the message says which."""


class Root(NamedTuple):
    """What the meta page says of the tree."""

    page: int
    depth: int
    entries: int
    page_size: int
    last_page: int


class Page(NamedTuple):
    """A branch or a leaf: where it lies, its number, and where in it the nodes lie."""

    start: int
    number: int
    nodes: tuple[int, ...]


class Tree:
    """The entries of a database over the bytes of its file. What it gives are views, valid as long as they are held."""

    def __init__(self, data: memoryview, root: Root) -> None:
        if not 0 < root.depth <= _DEEPEST:
            raise Damaged(f"a tree has 1 to {_DEEPEST} levels. Received: {root.depth}")
        self._data, self._root = data, root

    def entries(self, first: int = 0) -> Iterator[Entry]:
        """Keys and values in order, from number `first` on."""
        for page in self._leaves(self._root.page, self._root.depth):
            count = len(page.nodes)
            if first >= count:
                first -= count
                continue
            for place in range(first, count):
                yield self._entry(page, place)
            first = 0

    def __iter__(self) -> Iterator[memoryview]:
        """All keys in order."""
        for page in self._leaves(self._root.page, self._root.depth):
            for place in range(len(page.nodes)):
                yield self._key(page, place)

    def find(self, key: bytes) -> memoryview | None:
        """The value of a key, None where there is none."""
        number = self._root.page
        for _ in range(self._root.depth - 1):
            page = self._page(number, _BRANCH)
            # The first node of a branch has no key of its own: it leads to whatever comes before the second.
            later = bisect_right(range(1, len(page.nodes)), key, key=partial(self._copied, page))
            number = self._below(page, later)
        leaf = self._page(number, _LEAF)
        place = bisect_left(range(len(leaf.nodes)), key, key=partial(self._copied, leaf))
        if place == len(leaf.nodes):
            return None
        found, value = self._entry(leaf, place)
        return value if found == key else None

    def _leaves(self, number: int, depth: int) -> Iterator[Page]:
        """The leaves below a page that has `depth` levels, itself one of them."""
        if depth == 1:
            yield self._page(number, _LEAF)
            return
        page = self._page(number, _BRANCH)
        for place in range(len(page.nodes)):
            yield from self._leaves(self._below(page, place), depth - 1)

    def _page(self, number: int, kind: int) -> Page:
        """A page that must be of this kind."""
        start, size = self._start(number), self._root.page_size
        written, _, flags, lower, upper = _PAGE.unpack_from(self._data, start)
        if written != number or flags & _KINDS != kind:
            raise Damaged(f"page {number} is not the {'leaf' if kind == _LEAF else 'branch'} that it should be")
        count = (lower - _PAGE.size) // 2
        if lower < _PAGE.size or lower % 2 or not lower <= upper <= size or count <= 0:
            raise Damaged(f"page {number} has impossible bounds, {lower} and {upper}")
        nodes = struct.unpack_from(f"<{count}H", self._data, start + _PAGE.size)
        if min(nodes) < upper or max(nodes) > size - _NODE.size:
            raise Damaged(f"page {number} has a node beyond its bounds")
        return Page(start, number, nodes)

    def _key(self, page: Page, place: int) -> memoryview:
        at = page.start + page.nodes[place]
        length = _NODE.unpack_from(self._data, at)[3]
        return self._bytes(page, at + _NODE.size, length)

    def _copied(self, page: Page, place: int) -> bytes:
        return bytes(self._key(page, place))

    def _entry(self, page: Page, place: int) -> Entry:
        at = page.start + page.nodes[place]
        low, high, flags, length = _NODE.unpack_from(self._data, at)
        at += _NODE.size
        key, size = self._bytes(page, at, length), low | high << 16
        at += length
        if flags & _ELSEWHERE:
            return key, self._long(_NUMBER.unpack(self._bytes(page, at, _NUMBER.size))[0], size)
        return key, self._bytes(page, at, size)

    def _below(self, page: Page, place: int) -> int:
        """The number of the page that a node of a branch leads to."""
        low, high, top, _ = _NODE.unpack_from(self._data, page.start + page.nodes[place])
        return int(low | high << 16 | top << 32)

    def _bytes(self, page: Page, at: int, length: int) -> memoryview:
        """Some bytes of a page."""
        if at + length > page.start + self._root.page_size:
            raise Damaged(f"page {page.number} has a node that goes beyond its end")
        return self._data[at : at + length]

    def _long(self, number: int, size: int) -> memoryview:
        """The value that begins on a page of its own."""
        start = self._start(number)
        written, _, flags, low, high = _PAGE.unpack_from(self._data, start)
        pages = low | high << 16
        if written != number or flags & _KINDS != _LONG or number + pages > self._root.last_page + 1:
            raise Damaged(f"page {number} is not the beginning of the value that it should be")
        if _PAGE.size + size > pages * self._root.page_size:
            raise Damaged(f"page {number} has a value of {size} bytes, which its {pages} pages do not hold")
        return self._data[start + _PAGE.size : start + _PAGE.size + size]

    def _start(self, number: int) -> int:
        """Where a page begins."""
        if not 2 <= number <= self._root.last_page:
            raise Damaged(f"there is no page {number}: the last one is {self._root.last_page}")
        return number * self._root.page_size
