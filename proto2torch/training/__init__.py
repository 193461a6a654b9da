"""Training: the loop of a solver, its tests, snapshots, signals and log."""

from __future__ import annotations

from proto2torch.training.solver import Solver

__all__ = ["Solver"]
