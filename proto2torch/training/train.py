"""A training from start to end, as `caffe train` runs it: with signals, a log, and snapshots to start from."""

from __future__ import annotations

from proto2torch.errors import Proto2TorchError, RunError
from proto2torch.training import snapshot
from proto2torch.training.signals import Signals
from proto2torch.training.solver import Solver


def train(
    solver: Solver, *, restore: str | None = None, sigint_effect: str = "stop", sighup_effect: str = "snapshot"
) -> None:
    """Solve, from the solverstate `restore` where it is given; signals do as their effects say.

    Effects are "stop", "snapshot" and "none". SIGTERM snapshots and stops, and a second SIGINT or SIGTERM ends at once.
    """
    with Signals(sigint_effect, sighup_effect) as signals:
        solver.signals = signals
        if restore is not None:
            solver.log(f"Resuming from {restore}")
            solver.restore(restore)
        elif earlier := snapshot.listed(solver.prefix):
            there = f"{earlier[-1][1]} is there from an earlier run, which --resume would go on with"
            solver.log(f"warning: {there}: this one starts anew, over the snapshots of that one")
        solver.log("Starting Optimization")
        try:
            solver.solve()
        except Proto2TorchError as error:
            error.exit_status = RunError.exit_status  # the work had begun
            raise
        solver.log("Optimization Done.")
