"""How nets shall be written as PyTorch, where that is said once for all that are read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple


class Style(NamedTuple):
    """What may be chosen about a net's source without a change of what it computes."""

    memory_format: str = ""
    """How planes lie in memory, channels_last or contiguous; empty where the net's layers decide."""
    plain: bool = False
    """Whether it shall be stock torch even where there is something faster of our own."""


_SAID: ContextVar[Style] = ContextVar("style", default=Style())  # noqa: B039 - it is immutable


def said() -> Style:
    """The style of nets that are read now."""
    return _SAID.get()


@contextmanager
def written_as(*, memory_format: str = "", plain: bool = False) -> Iterator[None]:
    """Nets that are read within are of this style; what is left out, as before."""
    before = said()
    token = _SAID.set(Style(memory_format or before.memory_format, plain or before.plain))
    try:
        yield
    finally:
        _SAID.reset(token)
