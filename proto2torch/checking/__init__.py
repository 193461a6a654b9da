"""What is wrong with a net or a solver, all of it at once, and what trains badly without failing. Nothing is run."""

from __future__ import annotations

from proto2torch.checking.files import check
from proto2torch.checking.findings import Findings

__all__ = ["Findings", "check"]
