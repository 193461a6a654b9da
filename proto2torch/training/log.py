"""The lines of Caffe's training log, to stderr: tools that read Caffe's logs read these."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol, TextIO

import torch
from torch import Tensor

from proto2torch.solvers.numbers import float32, shown


class Status(Protocol):
    """Lines that stay below the log, on a terminal."""

    def clear(self) -> None:
        """Take them away."""

    def draw(self) -> None:
        """Write them."""


class Log:
    """Writes one message a line. With `prefix`, each begins as glog's lines do:

    I0210 13:39:22.381027 25210 proto2torch] Iteration 0, lr = 0.01

    Caffe's log parsers count those four columns. `status`, where it is set, stays below the lines.
    """

    def __init__(self, stream: TextIO | None = None, prefix: bool = False) -> None:
        self._stream = stream
        self._prefix = prefix
        self.status: Status | None = None

    @property
    def stream(self) -> TextIO:
        """Where the lines go."""
        return self._stream or sys.stderr

    def __call__(self, message: str) -> None:
        if self.status is not None:
            self.status.clear()
        self.stream.write((_glog() if self._prefix else "") + message + "\n")
        self.stream.flush()
        if self.status is not None:
            self.status.draw()


def _glog() -> str:
    now = time.time()
    stamp = time.strftime("%m%d %H:%M:%S", time.localtime(now))
    return f"I{stamp}.{int(now % 1 * 1e6):06d} {os.getpid()} proto2torch] "


@dataclass(frozen=True)
class Figure:
    """One element of a net's output, on the host."""

    name: str
    value: float
    weight: float
    """What it weighs in the objective; 0 where it is no loss."""

    def __str__(self) -> str:
        text = f"{self.name} = {shown(self.value)}"
        if self.weight:
            text += f" (* {shown(self.weight)} = {shown(float32(self.weight * self.value))} loss)"
        return text


def figures(outputs: Mapping[str, Tensor], weights: Mapping[str, float]) -> list[Figure]:
    """Every element of every output, in order, fetched from the device at once."""
    flat = [value.detach().reshape(-1).float() for value in outputs.values()]
    values = iter(torch.cat(flat).tolist() if flat else ())
    return [
        Figure(name, next(values), weights.get(name, 0.0))
        for name, tensor in outputs.items()
        for _ in range(tensor.numel())
    ]


def output_lines(net: str, outputs: Iterable[Figure]) -> Iterator[str]:
    """`    Train net output #0: loss = 1.5 (* 1 = 1.5 loss)`: the number counts elements, not blobs."""
    return (f"    {net} net output #{i}: {figure}" for i, figure in enumerate(outputs))
