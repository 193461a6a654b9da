"""The tree of errors and how one reads.

Every error that a user can cause is a `Proto2TorchError`. It opens with what it is about, says what was expected and
what was received, shows the line with a caret where there is one, and offers a hint where one fits:

    layer 'pool1' (Pooling), net.prototxt:41:3: PoolingParameter has no field 'pol'
      41 |   pol: MAX
         |   ^
      did you mean 'pool'?
"""

from __future__ import annotations

import difflib
import os
import sys
import traceback
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NoReturn

_LONGEST_LINE = 120  # a longer line is shown as the part around its caret
_MOST_SHOWN = 50  # problems printed of one file; the rest is counted


@dataclass(frozen=True)
class Where:
    """A place in a user's file, as far as it is known. Lines and columns count from 1."""

    file: str | None = None
    line: int | None = None
    column: int | None = None
    text: str | None = None
    """The line itself, without its end."""
    layer: str | None = None
    type: str | None = None
    """Caffe's type name of the layer."""

    def __str__(self) -> str:
        parts = []
        if self.layer is not None:
            parts.append(f"layer {self.layer!r}" + (f" ({self.type})" if self.type else ""))
        if self.file is not None:
            parts.append(":".join(str(p) for p in (self.file, self.line, self.column) if p is not None))
        return ", ".join(parts)

    def excerpt(self) -> str:
        """The line with a caret under the column; empty where the line is not known."""
        if self.text is None or self.line is None:
            return ""
        text, column = self.text.expandtabs(1), self.column or 1
        if len(text) > _LONGEST_LINE:
            start = max(0, min(column - _LONGEST_LINE // 2, len(text) - _LONGEST_LINE))
            text, column = text[start : start + _LONGEST_LINE], column - start
        text = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
        number = str(self.line)
        return f"  {number} | {text}\n  {' ' * len(number)} | {' ' * (column - 1)}^"


class Proto2TorchError(Exception):
    """The root of every error that a user can cause; `exit_status` is what a command ends with."""

    exit_status = 2

    def __init__(self, message: str, *, where: Where | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.where = where or Where()
        self.hint = hint

    @property
    def file(self) -> str | None:
        return self.where.file

    @property
    def line(self) -> int | None:
        return self.where.line

    @property
    def layer(self) -> str | None:
        return self.where.layer

    def __str__(self) -> str:
        place, excerpt = str(self.where), self.where.excerpt()
        text = f"{place}: {self.message}" if place else self.message
        if excerpt:
            text += f"\n{excerpt}"
        if self.hint:
            text += f"\n  {self.hint}"
        return text


class PrototxtError(Proto2TorchError):
    """A file that is not the message it should be: syntax, field names, values, encoding."""


class NetError(Proto2TorchError):
    """A net that Caffe would not build: an unknown bottom, a shape that cannot be, a field out of range."""


class UnsupportedError(NetError):
    """Something that Caffe or a fork knows and proto2torch refuses rather than approximates."""


class WeightsError(Proto2TorchError):
    """A weight file that cannot be read, or that does not fit the net."""


class DataError(Proto2TorchError):
    """A database, list, image or array that cannot be read, or whose records do not fit."""


class SolverError(Proto2TorchError):
    """A solver definition, or a snapshot, that cannot be run or restored."""


class UsageError(Proto2TorchError):
    """A call of the Python interface with arguments that do not go together."""


class DeviceError(Proto2TorchError):
    """A device that was asked for and is not there."""


class RunError(Proto2TorchError):
    """Work that had begun and failed: a full disk, a diverged loss, a difference above the tolerance."""

    exit_status = 1


class Problems(Proto2TorchError):
    """Several problems of one file, in the order of their lines."""

    def __init__(self, problems: Sequence[Proto2TorchError]) -> None:
        self.problems = tuple(problems)
        first = self.problems[0]
        super().__init__(first.message, where=first.where, hint=first.hint)
        self.exit_status = max(p.exit_status for p in self.problems)

    def __str__(self) -> str:
        shown = [str(p) for p in self.problems[:_MOST_SHOWN]]
        rest = len(self.problems) - len(shown)
        shown.append(f"{len(self.problems)} problems" + (f", the first {_MOST_SHOWN} shown" if rest else ""))
        return "\n".join(shown)


def raise_problems(problems: Sequence[Proto2TorchError]) -> None:
    """Raise what was collected: nothing, the one problem, or all of them as `Problems`."""
    if len(problems) == 1:
        raise problems[0]
    if problems:
        raise Problems(sorted(problems, key=lambda p: (p.file or "", p.line or 0, p.where.column or 0)))


@contextmanager
def blaming(owner: type, where: Where) -> Iterator[None]:
    """Take what a class of the user's raises for an error of the layer at `where`; ours raise what they mean.

    Raises:
        NetError: it says at which line of the user's file it was.
    """
    try:
        yield
    except Proto2TorchError:
        raise
    except Exception as error:
        if owner.__module__.split(".")[0] == __name__.split(".")[0]:
            raise
        file = file_of(owner)
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
        at = f", {shown_path(file)}:{lines[-1]}," if file and lines else ""
        text = " ".join(f"{type(error).__name__}: {error}".split())
        raise NetError(f"its class {owner.__qualname__}{at} raised {text}", where=where) from error


def file_of(owner: type) -> str | None:
    """The file that a class stands in, where it has one."""
    return getattr(sys.modules.get(owner.__module__), "__file__", None)


def shown_path(path: str) -> str:
    """A path as a person would write it: below the working directory a relative one."""
    relative = os.path.relpath(path) if os.path.isabs(path) else path
    return path if relative.startswith(os.pardir) else relative


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """The hint that names the known word closest to `word`, or None where none is close."""
    known = list(known)
    by_lower = {k.lower(): k for k in known}
    close = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=0.6)
    return f"did you mean {by_lower[close[0]]!r}?" if close else None


def why(error: Exception) -> str:
    """The reason that the system gives, in small letters, or what else the error says."""
    return (getattr(error, "strerror", None) or str(error)).lower()


def unreadable(path: str, error: OSError, kind: type[Proto2TorchError] = Proto2TorchError) -> NoReturn:
    """Raise `kind` for a file that the operating system does not give."""
    reason = why(error)
    raise kind(f"cannot read it: {reason}", where=Where(file=path)) from error
