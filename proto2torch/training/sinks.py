"""Where the figures of a training go besides the log: a file of JSON lines, TensorBoard."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, TextIO

from proto2torch import files
from proto2torch.errors import Proto2TorchError, Where, why
from proto2torch.training.callbacks import Callback
from proto2torch.training.events import Displayed, Tested, plain
from proto2torch.training.snapshot import Names

if TYPE_CHECKING:
    from proto2torch.training.solver import Solver


class JsonLog(Callback):
    """One JSON object a line for each event: start, display, test, snapshot, end. What is no number is null."""

    def __init__(self, path: str) -> None:
        """Raises Proto2TorchError where the file cannot be written."""
        self._path = path
        self._file: TextIO | None = None
        try:
            with open(path, "a", encoding="utf-8"):
                pass
        except OSError as error:
            reason = why(error)
            raise Proto2TorchError(f"cannot write it: {reason}", where=Where(file=path)) from error

    def start(self, solver: Solver) -> None:
        d = solver.definition
        self._file = open(self._path, "a", encoding="utf-8")  # noqa: SIM115  open until the training ends
        self._write({"event": "start", "iteration": solver.iter, "max_iter": d.max_iter, "net": solver.net.name})

    def displayed(self, solver: Solver, event: Displayed) -> None:
        self._write(plain(event))

    def tested(self, solver: Solver, event: Tested) -> None:
        self._write(plain(event))

    def snapshotted(self, solver: Solver, names: Names) -> None:
        what = {"event": "snapshot", "iteration": names.iteration}
        self._write({**what, "weights": names.model, "solverstate": names.state})

    def end(self, solver: Solver) -> None:
        self._write({"event": "end", "iteration": solver.iter})
        file, self._file = self._file, None
        if file is not None:
            with files.writing(self._path):
                file.close()

    def _write(self, event: dict[str, Any]) -> None:
        if self._file is not None:
            with files.writing(self._path):
                self._file.write(json.dumps(_finite(event)) + "\n")
                self._file.flush()


def _finite(value: Any) -> Any:
    """The value with null for what JSON has no number for."""
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


class TensorBoard(Callback):
    """Writes each figure as a scalar, `train/loss`, `test0/accuracy`, into a folder that TensorBoard reads."""

    def __init__(self, folder: str) -> None:
        """Raises Proto2TorchError where TensorBoard's package is missing."""
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise Proto2TorchError(
                "--tensorboard needs the package tensorboard: pip install 'proto2torch[tensorboard]'"
            ) from error
        self._writer: Any = SummaryWriter(folder)

    def displayed(self, solver: Solver, event: Displayed) -> None:
        self._add(event)

    def tested(self, solver: Solver, event: Tested) -> None:
        self._add(event)

    def end(self, solver: Solver) -> None:
        self._writer.flush()

    def _add(self, event: Displayed | Tested) -> None:
        for name, value in event.figures():
            self._writer.add_scalar(f"{event.net}/{name}", value, event.iteration)
