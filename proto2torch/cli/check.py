"""`proto2torch check`: everything that is wrong with nets and solvers, before anything is run."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from proto2torch.cli import options
from proto2torch.cli.options import emit

if TYPE_CHECKING:
    from proto2torch.checking import Findings
    from proto2torch.errors import Proto2TorchError

WRONG = 2
_OF_THE_GPU = "The memory to train with, where it is not that of this machine's GPU."


@click.command(short_help="Every problem in nets and solvers at once; nothing is run.")
@click.argument("files", nargs=-1, required=True, metavar="FILE…", type=options.FILE)
@options.layers
@options.fork
@options.python_layers
@click.option("--gpu-memory", metavar="GB", type=click.FloatRange(min=0, min_open=True), help=_OF_THE_GPU)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list, one object a finding.")
def check(files: tuple[str, ...], allow_python_layers: bool, gpu_memory: float | None, as_json: bool) -> None:
    """Print every problem in the nets and solvers FILE…, each with its line and a hint.

    Problems are errors, which fail, and warnings: what runs and trains badly, as a test_iter that does not cover the
    test set, a loss that no weight reaches, a policy without its gamma. With an error the exit status is 2. A batch
    that does not fit into the GPU's memory is a warning too, with the batch_size and iter_size that fit.

    \b
    Example:
      proto2torch check examples/digits/lenet_solver.prototxt
      proto2torch check solver.prototxt --gpu-memory 8
    """
    from proto2torch.checking import check as run

    memory = (int(gpu_memory * 1e9), "the GPU") if gpu_memory else _own_memory()
    found = {path: run(path, allow_python_layers=allow_python_layers, memory=memory) for path in dict.fromkeys(files)}
    emit(_json(found) if as_json else "".join(_text(path, findings) for path, findings in found.items()))
    if any(findings.errors for findings in found.values()):
        click.get_current_context().exit(WRONG)


def _own_memory() -> tuple[int, str] | None:
    """How much memory this machine's first GPU has, where it has one."""
    import torch

    if not torch.cuda.is_available():
        return None
    return torch.cuda.get_device_properties(0).total_memory, "the GPU"


def _text(path: str, findings: Findings) -> str:
    lines = [f"error: {error}" for error in findings.errors]
    lines += [f"warning: {warning}" for warning in findings.warnings]
    counts = f"{_count(findings.errors, 'error')}, {_count(findings.warnings, 'warning')}"
    return "".join(f"{line}\n" for line in (*lines, f"{path}: {counts}"))


def _count(found: list[Proto2TorchError], what: str) -> str:
    return f"{len(found)} {what}{'' if len(found) == 1 else 's'}"


def _json(found: dict[str, Findings]) -> str:
    return json.dumps([o for path, f in found.items() for o in _objects(path, f)], indent=2) + "\n"


def _objects(path: str, findings: Findings) -> list[dict[str, Any]]:
    return [
        {
            "checked": path,
            "kind": kind,
            "file": error.file,
            "line": error.line,
            "column": error.where.column,
            "layer": error.layer,
            "message": error.message,
            "hint": error.hint,
        }
        for kind, errors in (("error", findings.errors), ("warning", findings.warnings))
        for error in errors
    ]
