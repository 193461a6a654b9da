"""What a training leaves beside its snapshots: its nets, its solver, how it was started, and every displayed figure."""

from __future__ import annotations

import csv
import json
import os
import platform
import sys
import time
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, TextIO

import torch

import proto2torch
from proto2torch import files
from proto2torch.prototxt.text import dump
from proto2torch.training.callbacks import Callback
from proto2torch.training.events import Displayed, Event, Tested
from proto2torch.training.net_log import resolved

if TYPE_CHECKING:
    from proto2torch.training.solver import Solver

COLUMNS = ("iteration", "seconds", "net", "figure", "value")
_PACKAGES = ("numpy", "protobuf", "lmdb", "h5py")


class Records(Callback):
    """Writes into the folder `{prefix}_run`, whose names no file of the user's bears: `solver.prototxt`;
    `train.prototxt`, `test0.prototxt` …, the nets as they are trained and tested, filtered and upgraded; `run.json`:
    command, folder, seed, device, versions, when; and while the training runs `log.csv`, a row for each displayed
    figure.

    A resumed training takes the rows up to its iteration over and adds its own.
    """

    def __init__(self, command: Sequence[str] | None = None) -> None:
        self._command = list(sys.argv if command is None else command)
        self._file: TextIO | None = None
        self._rows: Any = None

    def start(self, solver: Solver) -> None:
        folder = f"{solver.prefix}_run"
        files.make_folder(folder)
        texts = {
            f"{folder}/solver.prototxt": dump(solver.definition.document.message),
            f"{folder}/train.prototxt": dump(resolved(solver.net)),
            **{f"{folder}/test{i}.prototxt": dump(resolved(net)) for i, net in enumerate(solver.test_nets)},
            f"{folder}/run.json": json.dumps(self._run(solver), indent=2) + "\n",
        }
        for path, text in texts.items():
            with files.atomic(path) as temporary:
                temporary.write_text(text, encoding="utf-8", errors="surrogateescape")
        self._open(f"{folder}/log.csv", solver.iter)

    def displayed(self, solver: Solver, event: Displayed) -> None:
        self._write(event)

    def tested(self, solver: Solver, event: Tested) -> None:
        self._write(event)

    def end(self, solver: Solver) -> None:
        file, self._file = self._file, None
        if file is not None:
            with files.writing(file.name):
                file.close()

    def _run(self, solver: Solver) -> dict[str, Any]:
        d = solver.definition
        return {
            "run": solver.lineage.run,
            "command": self._command,
            "folder": os.getcwd(),
            "solver": d.path,
            "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "first_iteration": solver.iter,
            "random_seed": d.random_seed,
            "torch_seed": torch.initial_seed(),
            "device": str(solver.device),
            "versions": versions(),
        }

    def _open(self, path: str, iteration: int) -> None:
        """Begin the CSV anew with the rows of iterations before `iteration`."""
        kept = _rows_before(path, iteration)
        with files.atomic(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([COLUMNS, *kept])
        self._file = open(path, "a", newline="", encoding="utf-8")  # noqa: SIM115  open until the training ends
        self._rows = csv.writer(self._file)

    def _write(self, event: Event) -> None:
        if self._file is None:
            return
        with files.writing(self._file.name):
            for name, value in event.figures():
                self._rows.writerow((event.iteration, f"{event.seconds:.3f}", event.net, name, repr(value)))
            self._file.flush()


def versions() -> dict[str, str]:
    """The versions that numbers depend on."""
    found = {"proto2torch": proto2torch.__version__, "python": platform.python_version(), "torch": torch.__version__}
    if torch.version.cuda:
        found["cuda"] = torch.version.cuda
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _rows_before(path: str, iteration: int) -> list[list[str]]:
    """The rows of an earlier part of this training; none for a training from the start."""
    if not iteration or not os.path.isfile(path):
        return []
    with open(path, newline="", encoding="utf-8", errors="replace") as file:
        rows = [row for row in csv.reader(file) if len(row) == len(COLUMNS) and row[0].isdigit()]
    return [row for row in rows if int(row[0]) < iteration]
