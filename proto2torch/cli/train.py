"""`proto2torch train`: a solver file, carried out."""

from __future__ import annotations

from typing import Any

import click

from proto2torch.cli import options
from proto2torch.cli.group import INTERRUPTED, refuse

EFFECTS = click.Choice(["stop", "snapshot", "none"])


@click.command(short_help="Train a net as its solver says, with Caffe's log and snapshots.")
@click.argument("solver", type=options.FILE)
@options.gpu
@click.option("--weights", metavar="F[,F]", type=options.FILE, help="Weights to start from, in place of the solver's.")
@click.option("--snapshot", metavar="F", type=options.FILE, help="Go on from this .solverstate.")
@click.option("--resume", is_flag=True, help="Go on from the newest complete snapshot, or start anew if there is none.")
@click.option("--set", "settings", metavar="FIELD=VALUE", multiple=True, help="Replace a field of the solver.")
@click.option("--max-iter", metavar="N", type=click.IntRange(min=0), help="Short for --set max_iter=N.")
@options.state
@click.option("--sigint-effect", type=EFFECTS, default="stop", show_default=True, help="What Ctrl-C does.")
@click.option("--sighup-effect", type=EFFECTS, default="snapshot", show_default=True, help="What a hangup does.")
@options.precision
def train(
    solver: str,
    gpu: str | None,
    weights: str | None,
    snapshot: str | None,
    resume: bool,
    settings: tuple[str, ...],
    max_iter: int | None,
    level: int | None,
    stage: str,
    sigint_effect: str,
    sighup_effect: str,
    precision: str,
) -> None:
    """Train as SOLVER says, with Caffe's numbers, log lines and snapshots; the log goes to stderr.

    Without --gpu the solver's solver_mode decides, and the CPU serves where there is no CUDA device. Ctrl-C snapshots
    and stops after the iteration in progress; a second one stops at once.

    \b
    Example:
      proto2torch train examples/digits/lenet_solver.prototxt
      proto2torch train solver.prototxt --gpu 0 --set base_lr=0.001 --max-iter 1000
      proto2torch train solver.prototxt --resume
    """
    if sum(map(bool, (weights, snapshot, resume))) > 1:
        refuse("give one of --weights, --snapshot and --resume: where to start from")
    overrides = _overrides(settings, max_iter)
    device = options.cuda_device(gpu) if gpu else None
    options.set_precision(precision)
    from proto2torch.training import Solver
    from proto2torch.training.snapshot import newest
    from proto2torch.training.train import train as run

    training = Solver(
        solver, device=device, weights=weights, overrides=overrides, level=level, stages=options.stages(stage)
    )
    restore = newest(training.prefix, options.say) if resume else snapshot
    if resume and restore is None:
        options.say(f"there is no snapshot {training.prefix}_iter_N.solverstate yet: starting anew")
    run(training, restore=restore, sigint_effect=sigint_effect, sighup_effect=sighup_effect)
    if training.iter < training.definition.max_iter:
        click.get_current_context().exit(INTERRUPTED)


def _overrides(settings: tuple[str, ...], max_iter: int | None) -> dict[str, Any]:
    """`--set field=value` and `--max-iter` as fields of the solver; the last of two for one field holds."""
    overrides: dict[str, Any] = {}
    for setting in settings:
        field, equals, value = setting.partition("=")
        if not equals or not field.strip():
            refuse(f"--set takes FIELD=VALUE. Received: {setting!r}")
        overrides[field.strip()] = value
    if max_iter is not None:
        overrides["max_iter"] = max_iter
    return overrides
