"""`proto2torch train`: a solver file, carried out."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from proto2torch.cli import options
from proto2torch.cli.group import INTERRUPTED, refuse

if TYPE_CHECKING:
    from proto2torch.training.callbacks import Callback

EFFECTS = click.Choice(["stop", "snapshot", "none"])


@click.command(short_help="Train a net as its solver says, with Caffe's log and snapshots.")
@click.argument("solver", type=options.FILE)
@options.gpu
@click.option("--weights", metavar="F[,F]", type=options.FILE, help="Weights to start from, in place of the solver's.")
@click.option(
    "--replace", multiple=True, metavar="OLD=NEW:N", help="Train a layer anew: its new name, and how many outputs."
)
@click.option("--snapshot", metavar="F", type=options.FILE, help="Go on from this .solverstate.")
@click.option("--resume", is_flag=True, help="Go on from the newest complete snapshot, or start anew if there is none.")
@click.option("--set", "settings", metavar="FIELD=VALUE", multiple=True, help="Replace a field of the solver.")
@click.option("--max-iter", metavar="N", type=click.IntRange(min=0), help="Short for --set max_iter=N.")
@options.state
@options.memory_format
@options.layers
@click.option("--sigint-effect", type=EFFECTS, default="stop", show_default=True, help="What Ctrl-C does.")
@click.option("--sighup-effect", type=EFFECTS, default="snapshot", show_default=True, help="What a hangup does.")
@options.precision
@options.strict
@options.python_layers
@click.option("--dry-run", is_flag=True, help="Try everything once: step, test, snapshot, restore; write nothing.")
@click.option(
    "--keep", metavar="N", type=click.IntRange(min=1), help="Keep the newest N snapshots; earlier runs' go first."
)
@click.option("--best", metavar="OUTPUT", help="Keep the best by a test output as PREFIX_best: accuracy, loss, x:min.")
@click.option("--patience", metavar="N", type=click.IntRange(min=1), help="Stop after N tests without a better one.")
@click.option("--watch/--no-watch", default=True, help="Whether a loss that is not finite ends the training. [yes]")
@click.option("--on-full-disk", type=click.Choice(["stop", "go-on"]), default="stop", show_default=True)
@click.option("--glog", is_flag=True, help="Begin each line of the log as Caffe's lines begin.")
@click.option("--json-log", metavar="FILE", type=options.FILE, help="Append each event to FILE, a JSON object a line.")
@click.option("--tensorboard", metavar="DIR", type=options.FILE, help="Write the figures for TensorBoard.")
@click.option("--compile", "compiled", is_flag=True, help="Compile the train net; the log says whether it was faster.")
@click.option(
    "--cuda-graph/--no-cuda-graph",
    default=None,
    help="Record an iteration once on the GPU, and play it back. [tried on CUDA, and kept where it is faster]",
)
@click.option("--profile", metavar="N", type=click.IntRange(min=1), help="Write where the time of N iterations goes.")
@click.option("--records/--no-records", default=True, help="Whether to write the folder PREFIX_run. [yes]")
def train(
    solver: str,
    gpu: str | None,
    weights: str | None,
    replace: tuple[str, ...],
    snapshot: str | None,
    resume: bool,
    settings: tuple[str, ...],
    max_iter: int | None,
    level: int | None,
    stage: str,
    sigint_effect: str,
    sighup_effect: str,
    precision: str,
    strict: bool,
    allow_python_layers: bool,
    dry_run: bool,
    watch: bool,
    on_full_disk: str,
    cuda_graph: bool | None,
    glog: bool,
    **told: Any,
) -> None:
    """Train as SOLVER says, with Caffe's numbers, log lines and snapshots; the log goes to stderr.

    Without --gpu the solver's solver_mode decides, and the CPU serves where there is no CUDA device. Ctrl-C snapshots
    and stops after the iteration in progress; a second one stops at once. Beside the snapshots lies the folder
    PREFIX_run: the nets and the solver as they were trained, run.json with command, seed and versions, log.csv with
    every figure of the log.

    \b
    Example:
      proto2torch train examples/digits/lenet_solver.prototxt
      proto2torch train solver.prototxt --gpu 0 --set base_lr=0.001 --max-iter 1000
      proto2torch train solver.prototxt --weights imagenet.caffemodel --replace fc8=fc8_flowers:102
      proto2torch train solver.prototxt --resume
      proto2torch train solver.prototxt --dry-run
      proto2torch train solver.prototxt --keep 3 --best accuracy --patience 10
    """
    if sum(map(bool, (weights, snapshot, resume))) > 1:
        refuse("give one of --weights, --snapshot and --resume: where to start from")
    overrides = _overrides(settings, max_iter)
    device = options.cuda_device(gpu) if gpu else None
    from proto2torch.precision import choose

    choose(precision)
    from proto2torch.training import Solver
    from proto2torch.training.lineage import newest
    from proto2torch.training.log import Log

    training = Solver(
        solver,
        device=device,
        weights=weights,
        overrides=overrides,
        level=level,
        stages=options.stages(stage),
        allow_python_layers=allow_python_layers,
        replace=_replaced(replace),
        strict=strict,
        log=Log(prefix=glog),
        callbacks=() if dry_run else _callbacks(**told),
        watch=watch,
        on_full_disk=on_full_disk,
        cuda_graph=_recorded(cuda_graph, **told),
    )
    if (told["best"] or told["patience"]) and not training.test_nets:
        refuse("--best and --patience go by a test net's outputs. Received: a solver without test nets")
    if dry_run:
        from proto2torch.training.dry_run import rehearse

        rehearse(training)
        return
    restore = newest(training.prefix, options.say) if resume else snapshot
    if resume and restore is None:
        options.say(f"there is no snapshot {training.prefix}_iter_N.solverstate yet: starting anew")
    from proto2torch.training.train import train as run

    run(training, restore=restore, sigint_effect=sigint_effect, sighup_effect=sighup_effect)
    if training.interrupted:
        click.get_current_context().exit(INTERRUPTED)


def _recorded(asked: bool | None, *, compiled: bool, profile: int | None, **_: Any) -> bool | None:
    """Whether to record; what is compiled, or profiled layer by layer, is so only where that is asked for."""
    return False if asked is None and (compiled or profile) else asked


def _callbacks(
    keep: int | None,
    best: str | None,
    patience: int | None,
    json_log: str | None,
    tensorboard: str | None,
    records: bool,
    profile: int | None,
    compiled: bool,
) -> list[Callback]:
    """What the options ask to be told of the training."""
    from proto2torch.training import progress, retention, sinks
    from proto2torch.training.compiling import Compile
    from proto2torch.training.profile import Profile
    from proto2torch.training.records import Records

    try:
        return [
            *([Records()] if records else []),
            *([Profile(profile)] if profile else []),
            *([Compile()] if compiled else []),
            *([sinks.JsonLog(json_log)] if json_log else []),
            *([sinks.TensorBoard(tensorboard)] if tensorboard else []),
            *([retention.Keep(keep)] if keep else []),
            *([retention.Best(best)] if best else []),
            *([retention.Patience(patience, best)] if patience else []),
            *([progress.Progress(sys.stderr)] if sys.stderr.isatty() else []),
        ]
    except ValueError as error:
        refuse(f"--best: {error}")


def _replaced(given: tuple[str, ...]) -> dict[str, str]:
    """`--replace fc8=fc8_flowers:102` as what becomes of each layer."""
    from proto2torch.prototxt.replace import parse

    for text in given:
        try:
            parse(text)
        except ValueError as error:
            refuse(f"--replace: {error}")
    return dict(text.split("=", 1) for text in given)


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
