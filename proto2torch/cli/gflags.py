"""Command lines as Caffe's gflags reads them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

from proto2torch.errors import Proto2TorchError, Where, did_you_mean, unreadable

GLOG = {
    *("alsologtostderr", "logtostderr", "colorlogtostderr", "stderrthreshold", "minloglevel", "log_dir", "v"),
    *("log_prefix", "logbuflevel", "logbufsecs", "logtostdout", "max_log_size", "vmodule"),
}
"""glog's flags: read and passed over, since the log goes to stderr anyway."""
GLOG_SWITCHES = {"alsologtostderr", "logtostderr", "colorlogtostderr", "log_prefix", "logtostdout"}
_OF_GFLAGS = ("flagfile", "fromenv", "tryfromenv", "undefok")
TRUE, FALSE = ("1", "t", "true", "y", "yes"), ("0", "f", "false", "n", "no")


@dataclass
class Flags:
    """Caffe's flags with Caffe's defaults, and behind them ours."""

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
    layers: str = ""
    allow_python_layers: bool = False


def parse(arguments: Sequence[str]) -> tuple[list[str], Flags]:
    """The words that are no flags, and the flags: `-f v`, `--f v`, `-f=v`, `--f=v`, `-` for `_`, and of a switch
    `-f`, `-nof`, `-f=false`; gflags' own `--flagfile=F`, `--fromenv=f`, `--tryfromenv=f`, `--undefok=f`.

    Of a flag that is given twice the last counts; everything behind `--` is a word.

    Raises:
        Proto2TorchError: an unknown flag, a flag without a value, or a value that it does not take.
    """
    reader = _Reader()
    given = iter(arguments)
    for argument in given:
        if argument == "--":
            reader.words.extend(given)
        elif argument == "-" or not argument.startswith("-"):
            reader.words.append(argument)
        else:
            reader.flag(argument, given)
    for written, hint in reader.unknown.items():
        if written not in reader.allowed:
            raise Proto2TorchError(f"unknown command line flag {written!r}", hint=hint)
    return reader.words, reader.flags


class _Reader:
    def __init__(self) -> None:
        self.words: list[str] = []
        self.flags = Flags()
        self.known = {field.name: field.default for field in fields(Flags)}
        self.unknown: dict[str, str | None] = {}
        self.allowed: set[str] = set()
        self.open: list[str] = []  # flag files that are being read

    def flag(self, argument: str, rest: Iterator[str]) -> None:
        """Read one flag, and from `rest` its value, where it needs one and has none behind an equals sign."""
        written, equals, value = argument.removeprefix("-").removeprefix("-").partition("=")
        name = written.replace("-", "_")
        if self._is_switch(name.removeprefix("no")) and (name.startswith("no") or not equals):
            name, value = name.removeprefix("no"), "false" if name.startswith("no") else "true"
        elif name not in (*self.known, *GLOG, *_OF_GFLAGS):
            self.unknown[written] = did_you_mean(name, self.known)
            return
        elif not equals:
            value = self._next(written, rest)
        self._set(name, value)

    def _is_switch(self, name: str) -> bool:
        return name in GLOG_SWITCHES or isinstance(self.known.get(name), bool)

    @staticmethod
    def _next(written: str, rest: Iterator[str]) -> str:
        value = next(rest, None)
        if value is None:
            raise Proto2TorchError(f"flag {written!r} is missing its argument")
        return value

    def _set(self, name: str, value: str) -> None:
        if name == "flagfile":
            self._read(value)
        elif name == "undefok":
            self.allowed.update(value.split(","))
        elif name in ("fromenv", "tryfromenv"):
            self._take(value, must=name == "fromenv")
        elif name in self.known:
            setattr(self.flags, name, self._value(name, value))

    def _value(self, name: str, value: str) -> str | int | bool:
        default = self.known[name]
        if isinstance(default, bool):
            if value.lower() not in (*TRUE, *FALSE):
                raise Proto2TorchError(f"flag {name!r} takes true or false. Received: {value!r}")
            return value.lower() in TRUE
        if not isinstance(default, int):
            return value
        try:
            return int(value, 16 if value.lower().lstrip("-").startswith("0x") else 10)
        except ValueError:
            raise Proto2TorchError(f"flag {name!r} takes a whole number. Received: {value!r}") from None

    def _take(self, names: str, must: bool) -> None:
        """The values of flags that stand in the environment, each as FLAGS_name."""
        for name in names.split(","):
            value = os.environ.get(f"FLAGS_{name}")
            if value is not None:
                self.flag(f"--{name}={value}", iter(()))
            elif must:
                raise Proto2TorchError(f"FLAGS_{name} is not in the environment, from where --fromenv takes it")

    def _read(self, paths: str) -> None:
        """The flags of files, one a line; other lines are comments."""
        for path in paths.split(","):
            if os.path.realpath(path) in self.open:
                raise Proto2TorchError("it names itself with --flagfile", where=Where(file=path))
            try:
                with open(path, encoding="utf-8", errors="surrogateescape") as file:
                    lines = [line.strip() for line in file]
            except OSError as error:
                unreadable(os.fspath(path), error)
            self.open.append(os.path.realpath(path))
            for line in lines:
                if line.startswith("-"):
                    try:
                        self.flag(line, iter(()))
                    except Proto2TorchError as error:
                        raise Proto2TorchError(error.message, where=Where(file=path), hint=error.hint) from error
            self.open.pop()
