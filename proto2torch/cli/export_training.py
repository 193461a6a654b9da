"""`proto2torch export SOLVER`: a training script, and beside it what it begins with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from proto2torch.cli.group import refuse
from proto2torch.cli.options import emit, say

if TYPE_CHECKING:
    from proto2torch.ir.graph import Shape
    from proto2torch.train_script.script import Script


def export_solver(
    path: str,
    output: str | None,
    *,
    weights: str | None,
    kind: str,
    flat: bool,
    shapes: Mapping[str, Shape],
    level: int | None,
    stages: Sequence[str],
    strict: bool,
) -> bool:
    """Export `path` where it is a solver; False where it is none.

    The script goes to `output` or to stdout. Beside it go the mean image that its data is lessened by, and the weights
    that it begins with, those of `weights` or of the solver's own `weights`.
    """
    from proto2torch.prototxt.kind import is_solver

    if not is_solver(path):
        return False
    if kind != "python":
        refuse(f"a solver is exported as a training script, in Python. Received: --format {kind}")
    from proto2torch.prototxt.read import read_solver
    from proto2torch.solvers import definition as definitions
    from proto2torch.train_script import script
    from proto2torch.train_script import weights as beginnings
    from proto2torch.training import nets

    d = definitions.read(read_solver(path))
    files = nets.weight_files(weights, d)
    if files and output is None:
        refuse("the weights go beside the script, and stdout has no place beside it", "give -o FILE as well")
    net: dict[str, Any] = {"level": level, "stages": stages, "shapes": shapes}
    made = script.write(d, stem=Path(output).stem if output else None, weights=bool(files), fold=not flat, **net)
    for note in made.notes:
        say(note)
    state = None
    if files:
        state, lines = beginnings.state(d, made.train.source, files, strict=strict, **net)
        for line in lines:
            say(line)
    _write(made, output, state)
    return True


def _write(made: Script, output: str | None, state: Mapping[str, Any] | None) -> None:
    """The files, the script last, so that where it is the others are."""
    if output is None:
        if made.arrays:
            refuse("the mean image goes beside the script, and stdout has no place beside it", "give -o FILE as well")
        emit(made.text)
        return
    import numpy as np

    from proto2torch.files import atomic
    from proto2torch.weights import tensors

    for name, array in made.arrays.items():
        beside = str(Path(output).with_name(name))
        with atomic(beside) as temporary, open(temporary, "wb") as file:
            np.save(file, array)
        say(f"{beside}: written")
    if state is not None:
        beside = str(Path(output).with_suffix(".safetensors"))
        tensors.write(beside, state)
        say(f"{beside}: written")
    with atomic(output) as temporary:
        temporary.write_text(made.text, encoding="utf-8")
    say(f"{output}: written")
