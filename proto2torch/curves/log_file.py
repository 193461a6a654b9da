"""A training log, Caffe's or ours, with or without the prefix of glog, as series of figures."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field

from proto2torch.errors import Proto2TorchError, Where, unreadable

Points = list[tuple[int, float]]

_NUMBER = r"([-+]?(?:\d+\.?\d*(?:[eE][-+]?\d+)?|nan|inf))"
_PREFIX = re.compile(r"^[IWEF](?:\d{4}|\d{8}) \d\d:\d\d:\d\d\.\d+ +\d+ [^\]]*\] ")
_LOSS = re.compile(rf"^Iteration (\d+)(?: \([^)]*\))?, loss = {_NUMBER}")
_RATE = re.compile(rf"^Iteration (\d+), lr = {_NUMBER}")
_TESTING = re.compile(r"^Iteration (\d+), Testing net \(#(\d+)\)")
_OUTPUT = re.compile(rf"^    (Train|Test) net output #\d+: (.+?) = {_NUMBER}(?: \(\* .* loss\))?$")


@dataclass
class Curves:
    """What one log shows: (iteration, value), in order."""

    name: str
    loss: Points = field(default_factory=list)
    """The smoothed loss of the train net."""
    rate: Points = field(default_factory=list)
    train: dict[str, Points] = field(default_factory=lambda: defaultdict(list))
    """The outputs of the train net by name; of several elements of one output the last."""
    test: dict[tuple[int, str], Points] = field(default_factory=lambda: defaultdict(list))
    """The outputs of each test net, by its number and the output's name."""


def read(path: str) -> Curves:
    """The figures of a log file.

    Raises:
        Proto2TorchError: it cannot be read, or has no figure.
    """
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            curves = parse(file.read(), path)
    except OSError as error:
        unreadable(path, error)
    if not (curves.loss or curves.test or curves.train):
        raise Proto2TorchError(
            "no figures of a training are in it",
            where=Where(file=path),
            hint="expected the log of caffe train or proto2torch train: lines such as 'Iteration 100 (…), loss = 0.5'",
        )
    return curves


def parse(text: str, name: str) -> Curves:
    """The figures in the text of a log. A resumed training that shows an iteration again replaces its figures."""
    curves = Curves(name)
    iteration, net = 0, 0
    for whole in text.splitlines():
        line = _PREFIX.sub("", whole)
        if match := _LOSS.match(line):
            iteration = int(match[1])
            _put(curves.loss, iteration, match[2])
        elif match := _RATE.match(line):
            _put(curves.rate, int(match[1]), match[2])
        elif match := _TESTING.match(line):
            iteration, net = int(match[1]), int(match[2])
        elif match := _OUTPUT.match(line):
            points = curves.train[match[2]] if match[1] == "Train" else curves.test[net, match[2]]
            _put(points, iteration, match[3])
    return curves


def _put(points: Points, iteration: int, value: str) -> None:
    while points and points[-1][0] >= iteration:
        points.pop()
    points.append((iteration, float(value)))
