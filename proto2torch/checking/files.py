"""A file to check: a net or a solver, by what it says."""

from __future__ import annotations

import re
from pathlib import Path

from proto2torch.checking import net as nets
from proto2torch.checking import solver as solvers
from proto2torch.checking.findings import Findings
from proto2torch.errors import unreadable
from proto2torch.prototxt.read import read_net

_COMMENT = re.compile(rb"#[^\n]*")
_OF_A_SOLVER = re.compile(
    rb"\b(base_lr|lr_policy|max_iter|solver_mode|solver_type|snapshot_prefix|test_iter|train_net|net)\s*:"
)
_OF_A_NET = re.compile(rb"\b(layers?|input|input_dim|input_shape)\s*[:{]")


def check(path: str, *, allow_python_layers: bool = False) -> Findings:
    """Everything that is wrong with a net or a solver and the nets it names, and what trains badly.

    A net alone is looked at in both phases. Databases that nets name are opened, nothing else; with
    `allow_python_layers` the modules of Python layers are imported and set up. A file that cannot be read at all is a
    finding too.
    """
    findings = Findings()
    with findings.gathering():
        if is_solver(path):
            solvers.check(path, findings, allow_python_layers)
            return findings
        whole = read_net(path)
        for phase in ("TRAIN", "TEST"):
            nets.check(whole, phase, findings, allow_python_layers=allow_python_layers)
    return findings


def is_solver(path: str) -> bool:
    """Whether a file is a solver: it has a solver's fields and, outside of inline nets, no layers before them."""
    try:
        content = _COMMENT.sub(b"", Path(path).read_bytes())
    except OSError as error:
        unreadable(path, error)
    solver, net = _OF_A_SOLVER.search(content), _OF_A_NET.search(content)
    inline = re.search(rb"\b(net_param|train_net_param|test_net_param)\s*:?\s*\{", content)
    return bool(inline) or (solver is not None and (net is None or solver.start() < net.start()))
