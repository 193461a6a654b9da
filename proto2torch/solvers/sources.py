"""Which nets a solver trains and tests: the rules for `net`, `train_net`, `test_net`, their inline forms and states."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from proto2torch.prototxt.document import Document

Report = Callable[[str, str], None]
"""Called with a field's name and what is wrong with it."""

TRAIN_FIELDS = ("net", "net_param", "train_net", "train_net_param")


@dataclass(frozen=True)
class NetSource:
    """Where one net comes from."""

    field: str
    """The solver's field that names it: `net`, `train_net_param`, `test_net[1]` …"""
    path: str | None
    """The file, as the solver writes it; None where the net stands in the solver itself."""
    state: Any = None
    """`train_state`, or the `test_state` of this net: a NetState message, or None."""
    iterations: int = 0
    """Batches of one test (`test_iter`); 0 for the train net."""

    @property
    def described(self) -> str:
        """As Caffe's log says it: `net file: lenet.prototxt`, `net_param.`"""
        name = self.field.partition("[")[0]
        return f"{name}." if self.path is None else f"{name} file: {self.path}"


def train(document: Document, report: Report) -> NetSource | None:
    """The train net: exactly one of the four fields gives it. None where that is not so, which is reported."""
    message = document.message
    given = [name for name in TRAIN_FIELDS if message.HasField(name)]
    if len(given) != 1:
        field = given[1] if given else "net"
        received = " and ".join(given) if given else "none of them"
        report(field, f"a solver needs exactly one of {', '.join(TRAIN_FIELDS)}. Received: {received}")
        return None
    state = message.train_state if message.HasField("train_state") else None
    return NetSource(given[0], _path(message, given[0]), state)


def tests(document: Document, report: Report) -> tuple[NetSource, ...]:
    """The test nets in Caffe's order: test_net_param, test_net, then the generic net for each `test_iter` left."""
    message = document.message
    fields = [f"test_net_param[{i}]" for i in range(len(message.test_net_param))]
    fields += [f"test_net[{i}]" for i in range(len(message.test_net))]
    generic = [name for name in ("net_param", "net") if message.HasField(name)]
    counts = list(message.test_iter)
    if generic and len(counts) >= len(fields):
        fields += [generic[0]] * (len(counts) - len(fields))
    if len(counts) != len(fields):
        report("test_iter", f"expected one test_iter for each test net. Received: {len(counts)} for {len(fields)}")
        return ()
    states = list(message.test_state)
    if states and len(states) != len(fields):
        received = f"{len(states)} for {len(fields)}"
        report("test_state", f"expected no test_state or one for each test net. Received: {received}")
        return ()
    _check_counts(message, counts, report)
    return tuple(
        NetSource(field, _path(message, field), states[i] if states else None, counts[i])
        for i, field in enumerate(fields)
    )


def _check_counts(message: Any, counts: list[int], report: Report) -> None:
    for i, count in enumerate(counts):
        if count < 0:
            report(f"test_iter[{i}]", f"test_iter must be at least 0. Received: {count}")
    if counts and message.test_interval <= 0:
        report(
            "test_interval",
            f"test_interval must be positive where there are test nets. Received: {message.test_interval}",
        )


def _path(message: Any, field: str) -> str | None:
    """The file that a field names; None for an inline net."""
    name, _, index = field.partition("[")
    if name.endswith("_param"):
        return None
    value = getattr(message, name)
    return str(value[int(index[:-1])] if index else value)
