"""Command lines as Caffe's gflags reads them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

from proto2torch.errors import Proto2TorchError, Where, did_you_mean, unreadable

_GLOG = {
    *("alsologtostderr", "logtostderr", "colorlogtostderr", "stderrthreshold", "minloglevel", "log_dir", "v"),
    *("log_prefix", "logbuflevel", "logbufsecs", "logtostdout", "max_log_size", "vmodule"),
}
"""glog's flags: read and passed over, since the log goes to stderr anyway."""
_SWITCHES = {"alsologtostderr", "logtostderr", "colorlogtostderr", "log_prefix", "logtostdout"}


@dataclass
class Flags:
    """Caffe's flags with Caffe's defaults."""

    gpu: str = ""
    solver: str = ""
    model: str = ""
    phase: str = ""
    level: int = 0
    stage: str = ""
    snapshot: str = ""
    weights: str = ""
    iterations: int = 50
    sigint_effect: str = "stop"
    sighup_effect: str = "snapshot"


def parse(arguments: Sequence[str]) -> tuple[list[str], Flags]:
    """The words that are no flags, and the flags: `-f v`, `--f v`, `-f=v`, `--f=v`, `-` for `_`, `--flagfile=F`.

    Of a flag that is given twice the last counts; everything behind `--` is a word.

    Raises:
        Proto2TorchError: an unknown flag, a flag without a value, or a value that it does not take.
    """
    words: list[str] = []
    flags = Flags()
    given = iter(arguments)
    for argument in given:
        if argument == "--":
            words.extend(given)
        elif argument == "-" or not argument.startswith("-"):
            words.append(argument)
        else:
            _set(flags, argument, given)
    return words, flags


def _set(flags: Flags, argument: str, rest: Iterator[str]) -> None:
    written, equals, value = argument.removeprefix("-").removeprefix("-").partition("=")
    name = written.replace("-", "_")
    known = [field.name for field in fields(Flags)]
    if name in _SWITCHES or (name.startswith("no") and name[2:] in _SWITCHES):
        return
    if name not in (*known, *_GLOG, "flagfile"):
        raise Proto2TorchError(f"unknown command line flag {written!r}", hint=did_you_mean(name, known))
    if not equals:
        found = next(rest, None)
        if found is None:
            raise Proto2TorchError(f"flag {written!r} is missing its argument")
        value = found
    if name == "flagfile":
        _read(flags, value)
    elif name in known:
        setattr(flags, name, _value(flags, name, value))


def _value(flags: Flags, name: str, value: str) -> str | int:
    if not isinstance(getattr(flags, name), int):
        return value
    try:
        return int(value, 0)
    except ValueError:
        raise Proto2TorchError(f"flag {name!r} takes a whole number. Received: {value!r}") from None


def _read(flags: Flags, paths: str) -> None:
    """The flags of files, one a line; other lines are comments."""
    for path in paths.split(","):
        try:
            with open(path, encoding="utf-8", errors="surrogateescape") as file:
                lines = [line.strip() for line in file]
        except OSError as error:
            unreadable(os.fspath(path), error)
        for line in lines:
            if line.startswith("-"):
                try:
                    _set(flags, line, iter(()))
                except Proto2TorchError as error:
                    raise Proto2TorchError(error.message, where=Where(file=path), hint=error.hint) from error
