"""`proto2torch caffe`: Caffe's own command line: `alias caffe='proto2torch caffe'` keeps old scripts running."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import click

import proto2torch
from proto2torch.cli import options
from proto2torch.cli.gflags import Flags, parse
from proto2torch.cli.group import INTERRUPTED, refuse
from proto2torch.errors import DeviceError

if TYPE_CHECKING:
    from proto2torch.net import Net
    from proto2torch.training.log import Log

EFFECTS = ("stop", "snapshot", "none")


@click.command(
    short_help="Caffe's own command line: caffe train -solver=x, and the others.",
    context_settings={"ignore_unknown_options": True, "help_option_names": ["--help"]},
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="ACTION [FLAG]…")
def caffe(arguments: tuple[str, ...]) -> None:
    """Do as `caffe ACTION` does: train, test, time or device_query, with Caffe's flags in all their spellings.

    The log goes to stderr, each line beginning as Caffe's lines begin.

    \b
    Flags:
      -solver F  -snapshot F  -weights F[,F]  -sigint_effect E  -sighup_effect E    of train
      -model F  -weights F  -iterations 50                                          of test and time
      -phase TRAIN|TEST                                                             of time
      -gpu 0  -level 0  -stage a,b                                                  of all
      -layers F[,F]  -allow_python_layers                                           of all, not Caffe's: as `train`

    \b
    Example:
      alias caffe='proto2torch caffe'
      caffe train -solver=lenet_solver.prototxt -gpu 0
      caffe test --model lenet_train_test.prototxt --weights lenet_iter_500.caffemodel --iterations=6
    """
    if any(argument.lstrip("-") in ("help", "h") for argument in arguments if argument.startswith("-")):
        click.echo(click.get_current_context().get_help())
        return
    if any(argument.lstrip("-") == "version" for argument in arguments if argument.startswith("-")):
        click.echo(f"caffe of proto2torch {proto2torch.__version__}")
        return
    words, flags = parse(arguments)
    if len(words) != 1 or words[0] not in ACTIONS:
        received = " ".join(words) or "none"
        refuse(f"caffe takes one action of {', '.join(ACTIONS)}. Received: {received}")
    from proto2torch.training.log import Log

    if flags.layers:
        options.load_layers(flags.layers.split(","))
    ACTIONS[words[0]](flags, Log(prefix=True))


def _train(flags: Flags, log: Log) -> None:
    if not flags.solver:
        refuse("train needs a solver: -solver F")
    if flags.snapshot and flags.weights:
        refuse("give a snapshot to resume training or weights to finetune, but not both")
    for name in ("sigint_effect", "sighup_effect"):
        if getattr(flags, name) not in EFFECTS:
            refuse(f"-{name} must be one of {', '.join(EFFECTS)}. Received: {getattr(flags, name)!r}")
    device = options.cuda_device(flags.gpu) if flags.gpu else None
    from proto2torch.training import Solver
    from proto2torch.training.train import train

    training = Solver(
        flags.solver,
        device=device,
        weights=flags.weights or None,
        level=flags.level,
        stages=options.stages(flags.stage),
        allow_python_layers=flags.allow_python_layers,
        log=log,
    )
    train(
        training,
        restore=flags.snapshot or None,
        sigint_effect=flags.sigint_effect,
        sighup_effect=flags.sighup_effect,
    )
    if training.interrupted:
        click.get_current_context().exit(INTERRUPTED)


def _test(flags: Flags, log: Log) -> None:
    if not flags.model or not flags.weights:
        refuse("test needs a net and its weights: -model F -weights F")
    net = _net(flags, "TEST", log)
    from proto2torch.solvers.numbers import shown
    from proto2torch.training.log import figures
    from proto2torch.training.test import run

    for line in net.load_weights(flags.weights).lines():
        log(line)
    log(f"Running for {flags.iterations} iterations.")

    def each(batch: int, outputs: dict[str, object]) -> None:
        for figure in figures(outputs, {}):  # type: ignore[arg-type]
            log(f"Batch {batch}, {figure}")

    means = run(net, flags.iterations, each=each)  # type: ignore[arg-type]
    assert means is not None
    log(f"Loss: {shown(means.loss.item())}")
    for figure in figures(means.outputs, means.weights):
        log(str(figure))


def _time(flags: Flags, log: Log) -> None:
    if not flags.model:
        refuse("time needs a net: -model F")
    if flags.phase not in ("", "TRAIN", "TEST"):
        refuse(f"-phase must be TRAIN or TEST. Received: {flags.phase!r}")
    net = _net(flags, flags.phase or "TRAIN", log)
    from proto2torch.measure.timing import lines, measure
    from proto2torch.solvers.numbers import shown

    told: list[str] = []
    times = measure(
        net,
        flags.iterations,
        lambda i, ms: told.append(f"Iteration: {i + 1} forward-backward time: {shown(ms)} ms."),
    )
    begin = [f"Initial loss: {shown(times.loss)}", "*** Benchmark begins ***"]
    for line in (*begin, f"Testing for {flags.iterations} iterations.", *told, *lines(times, flags.iterations)):
        log(line)


def _device_query(flags: Flags, log: Log) -> None:
    import torch

    log(f"Querying GPUs {flags.gpu or 'all'}")
    if not flags.gpu and not torch.cuda.is_available():
        raise DeviceError("torch sees no CUDA device")
    for asked in (flags.gpu or "0").replace("all", "0").split(","):
        options.cuda_device(asked)
    ids = range(torch.cuda.device_count()) if flags.gpu in ("", "all") else [int(i) for i in flags.gpu.split(",")]
    for i in ids:
        properties = torch.cuda.get_device_properties(i)
        log(f"Device id:                     {i}")
        log(f"Major revision number:         {properties.major}")
        log(f"Minor revision number:         {properties.minor}")
        log(f"Name:                          {properties.name}")
        log(f"Total global memory:           {properties.total_memory}")
        log(f"Number of multiprocessors:     {properties.multi_processor_count}")


def _net(flags: Flags, phase: str, log: Log) -> Net:
    """The net of -model, of the phase and of the flags' state, on the flags' device."""
    if flags.iterations < 1:
        refuse(f"-iterations must be at least 1. Received: {flags.iterations}")
    device = options.device(flags.gpu)
    log("Use CPU." if device == "cpu" else f"Use GPU with device ID {device.partition(':')[2]}")
    from proto2torch.net import load_definition
    from proto2torch.prototxt.read import read_net
    from proto2torch.training import net_log

    whole = read_net(flags.model)
    net = load_definition(
        whole,
        phase=phase,
        level=flags.level,
        stages=options.stages(flags.stage),
        device=device,
        allow_python_layers=flags.allow_python_layers,
    )
    for line in net_log.lines(net, whole):
        log(line)
    return net


ACTIONS: dict[str, Callable[[Flags, Log], None]] = {
    "train": _train,
    "test": _test,
    "time": _time,
    "device_query": _device_query,
}
