"""Scripts written for a test, and run where proto2torch cannot be imported."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from proto2torch.prototxt.read import read_solver
from proto2torch.solvers import definition
from proto2torch.train_script import script
from proto2torch.train_script.script import Script

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden" / "data"

_ALONE = """
import importlib.abc, importlib.util, os, sys
class Blocked(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "proto2torch":
            raise ImportError(name)
sys.meta_path.insert(0, Blocked())
import numpy as np
import torch
torch.set_num_threads(1)
def load(folder):
    os.chdir(folder)
    spec = importlib.util.spec_from_file_location("train", "train.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
"""


def alone(code: str, folder: Path) -> str:
    """What `code` prints in a process of its own, in `folder`, where `load(folder)` gives the module of a train.py and
    proto2torch cannot be imported. Warnings are errors."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", _ALONE + textwrap.dedent(code)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def written(path: Path, **how: Any) -> Script:
    """The script of a solver file."""
    return script.write(definition.read(read_solver(str(path))), **{"stem": "train", **how})


def solved(folder: Path, net: str, fields: str, **how: Any) -> Script:
    """The script of a solver with `fields` over a net."""
    (folder / "net.prototxt").write_text(net)
    (folder / "solver.prototxt").write_text(f'net: "net.prototxt" {fields}')
    return written(folder / "solver.prototxt", **how)


def executed(made: Script) -> Mapping[str, Any]:
    """What a script defines."""
    namespace: dict[str, Any] = {"__name__": "train", "__file__": "train.py"}
    exec(compile(made.text, "train.py", "exec"), namespace)
    return namespace
