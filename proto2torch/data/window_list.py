"""The list of a WindowData layer: images, each with windows that show something or nothing.

For each image `# index`, its path, channels, height, width and the number of windows; then a line for each window:
label, overlap with what it shows, and its corners x1 y1 x2 y2, which belong to it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from proto2torch.errors import DataError, Where, why

T = TypeVar("T")


class Window(NamedTuple):
    """A part of an image."""

    image: int
    label: int
    overlap: float
    x1: int
    y1: int
    x2: int
    y2: int
    line: int


@dataclass
class WindowList:
    """The paths of the images, and all windows in order."""

    paths: list[str]
    windows: list[Window]


class _Word(NamedTuple):
    text: bytes
    line: int


def read(path: str, where: Where) -> WindowList:
    """Read a list.

    Raises:
        DataError: it cannot be read, or a line is not what it should be.
    """
    try:
        with open(path, "rb") as file:
            lines = file.read().split(b"\n")
    except OSError as error:
        reason = why(error)
        raise DataError(f"cannot read the list {path!r}: {reason}", where=where) from error
    words = _Words(path, (_Word(text, number) for number, line in enumerate(lines, 1) for text in line.split()))
    found = WindowList([], [])
    while (mark := words.next()) is not None:
        if mark.text != b"#":
            raise words.error("expected '#' and the number of an image", mark)
        words.expect(len(found.paths), "the number of the image")
        found.paths.append(os.fsdecode(words.must("the path of the image").text))
        words.expect(3, "the number of channels")
        words.number(int, "the height")
        words.number(int, "the width")
        for _ in range(words.number(int, "the number of windows")):
            found.windows.append(_window(words, len(found.paths) - 1))
    return found


def _window(words: _Words, image: int) -> Window:
    label, overlap = words.number(int, "a window's label"), words.number(float, "a window's overlap")
    x1, y1, x2, y2 = [words.number(int, f"a window's {name}") for name in ("x1", "y1", "x2", "y2")]
    return Window(image, label, overlap, x1, y1, x2, y2, words.line)


class _Words:
    """The words of a list, with the line of each."""

    def __init__(self, path: str, words: Iterator[_Word]) -> None:
        self._path, self._words = path, words
        self.line = 1

    def next(self) -> _Word | None:
        word = next(self._words, None)
        if word is not None:
            self.line = word.line
        return word

    def must(self, what: str) -> _Word:
        word = self.next()
        if word is None:
            raise self.error(f"expected {what}", _Word(b"the end of the file", self.line))
        return word

    def number(self, kind: Callable[[bytes], T], what: str) -> T:
        word = self.must(what)
        try:
            value = kind(word.text)
        except ValueError as error:
            raise self.error(f"expected {what}", word) from error
        if isinstance(value, int) and not -(1 << 31) <= value < 1 << 31:
            raise self.error(f"expected {what}, a whole number of 32 bits", word)
        return value

    def expect(self, value: int, what: str) -> None:
        word = self.must(what)
        if word.text != str(value).encode():
            raise self.error(f"expected {what}, {value}", word)

    def error(self, message: str, word: _Word) -> DataError:
        received = word.text.decode(errors="backslashreplace")
        return DataError(f"{message}. Received: {received!r}", where=Where(file=self._path, line=word.line))
