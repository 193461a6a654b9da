"""A file to check: a net or a solver, by what it says."""

from __future__ import annotations

from proto2torch.checking import net as nets
from proto2torch.checking import solver as solvers
from proto2torch.checking.findings import Findings
from proto2torch.prototxt.kind import is_solver
from proto2torch.prototxt.read import read_net


def check(path: str, *, allow_python_layers: bool = False, memory: tuple[int, str] | None = None) -> Findings:
    """Everything that is wrong with a net or a solver and the nets it names, and what trains badly.

    A net alone is looked at in both phases. Databases that nets name are opened, nothing else; with
    `allow_python_layers` the modules of Python layers are imported and set up. `memory` is how many bytes there are to
    train on and what has them, (8 * 10**9, "the GPU"): a step that does not fit is a finding. So is a file that cannot
    be read at all.
    """
    findings = Findings()
    with findings.gathering():
        if is_solver(path):
            solvers.check(path, findings, allow_python_layers, memory)
            return findings
        whole = read_net(path)
        for phase in ("TRAIN", "TEST"):
            nets.check(whole, phase, findings, allow_python_layers=allow_python_layers)
    return findings
