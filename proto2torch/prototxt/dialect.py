"""The fork of Caffe that nets are written for, where that is said once for all that are read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_SAID: ContextVar[str] = ContextVar("fork", default="")


def said() -> str:
    """The fork's name; empty where nobody has said it."""
    return _SAID.get()


@contextmanager
def written_for(fork: str) -> Iterator[None]:
    """Nets that are read within are of `fork`, by its name in schemas/caffe.proto; with an empty name, as before."""
    token = _SAID.set(fork or said())
    try:
        yield
    finally:
        _SAID.reset(token)
