"""What several commands share: options, the choice of the device, and writing to stdout."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

from proto2torch.errors import DeviceError, WeightsError, Where

if TYPE_CHECKING:
    from proto2torch.net import Net

F = TypeVar("F", bound=Callable[..., Any])

FILE = click.Path(readable=False, path_type=str)
"""A file name, completed by the shell; whether it can be read is said by who reads it."""


def gpu(command: F) -> F:
    """`--gpu 0`."""
    return click.option("--gpu", metavar="ID", help="The CUDA device to run on: 0, 1, … or all.")(command)


def fork(command: F) -> F:
    """`--fork segnet`, which holds for every net that the command reads."""

    def remember(ctx: click.Context, _: click.Parameter, name: str) -> None:
        if name and not ctx.resilient_parsing:
            from proto2torch.layers.variants import check_fork
            from proto2torch.prototxt.dialect import written_for

            check_fork(name)
            ctx.with_resource(written_for(name))

    text = "The fork of Caffe that the net is written for, where its layers do not tell: segnet, pspnet, ssd …"
    return click.option("--fork", metavar="NAME", default="", expose_value=False, callback=remember, help=text)(command)


def state(command: F) -> F:
    """`--level N --stage a,b`, the rest of Caffe's NetState beside the phase; and `--fork`."""
    command = fork(command)
    command = click.option("--stage", metavar="A,B", default="", help="Stages of the net's state, by commas.")(command)
    return click.option("--level", metavar="N", type=int, help="Level of the net's state.")(command)


def memory_format(command: F) -> F:
    """`--memory-format channels_last|contiguous`, which holds for every net that the command reads."""

    def remember(ctx: click.Context, _: click.Parameter, name: str) -> None:
        if not ctx.resilient_parsing:
            from proto2torch.prototxt.style import written_as

            ctx.with_resource(written_as(memory_format="" if name == "auto" else name))

    return click.option(
        "--memory-format",
        type=click.Choice(["auto", "channels_last", "contiguous"]),
        default="auto",
        show_default=True,
        expose_value=False,
        callback=remember,
        help="How planes lie in memory; auto decides by the net's layers, as `show` says.",
    )(command)


def plain(command: F) -> F:
    """`--plain`, which holds for every net that the command reads."""

    def remember(ctx: click.Context, _: click.Parameter, value: bool) -> None:
        if value and not ctx.resilient_parsing:
            from proto2torch.prototxt.style import written_as

            ctx.with_resource(written_as(plain=True))

    text = "Stock torch throughout, where a faster module of ours would stand."
    return click.option("--plain", is_flag=True, expose_value=False, callback=remember, help=text)(command)


def strict(command: F) -> F:
    """`--strict`."""
    return click.option("--strict", is_flag=True, help="Refuse weights that do not fit the net layer by layer.")(
        command
    )


def python_layers(command: F) -> F:
    """`--allow-python-layers`."""
    text = "Run the Python modules that the net's Python layers name: they can do all that you can."
    return click.option("--allow-python-layers", is_flag=True, help=text)(command)


def registry(allow_python_layers: bool) -> Mapping[str, Any]:
    """The layer types that a net may have."""
    if allow_python_layers:
        from proto2torch import python_layers

        return python_layers.registry()
    from proto2torch.layers import REGISTRY

    return REGISTRY


def shapes(command: F) -> F:
    """`--shape data=50,3,227,227`, as a dict of shapes by blob."""

    def parse(_: click.Context, __: click.Parameter, given: tuple[str, ...]) -> dict[str, tuple[int, ...]]:
        return dict(map(_shape, given))

    text = "What an input or a data layer's top is like; a database is not read then."
    return click.option(
        "--shape", "--input", "shapes", metavar="BLOB=N,C,H,W", multiple=True, callback=parse, help=text
    )(command)


def _shape(text: str) -> tuple[str, tuple[int, ...]]:
    blob, equals, dims = text.rpartition("=")
    parts = dims.split(",")
    if not blob or not equals or not all(part.isascii() and part.isdigit() and int(part) for part in parts):
        raise click.BadParameter(f"expected BLOB=N,C,H,W. Received: {text!r}", param_hint="--shape")
    return blob, tuple(int(part) for part in parts)


def layers(command: F) -> F:
    """`--layers my_layers.py`, which registers them before the command begins."""

    def load(ctx: click.Context, _: click.Parameter, files: tuple[str, ...]) -> None:
        if files and not ctx.resilient_parsing:
            load_layers(files)

    return click.option(
        "--layers",
        metavar="FILE",
        type=FILE,
        multiple=True,
        is_eager=True,
        expose_value=False,
        callback=load,
        help="A Python file with layers of your own. It is run, and can do all that you can.",
    )(command)


def load_layers(files: Sequence[str]) -> None:
    """Run files with layers of the user's own."""
    from proto2torch import own_layers

    for file in files:
        own_layers.load(file)


def precision(command: F) -> F:
    """`--precision fp32|tf32|bf16|fp16`."""
    return click.option(
        "--precision",
        type=click.Choice(["fp32", "tf32", "bf16", "fp16"]),
        default="fp32",
        show_default=True,
        help="Arithmetic of products: float32 as Caffe, TF32 on CUDA, or 16 bits; weights stay float32.",
    )(command)


def phase(default: str) -> Callable[[F], F]:
    """`--phase TRAIN|TEST`."""
    kinds = click.Choice(["TRAIN", "TEST"], case_sensitive=False)
    return click.option("--phase", type=kinds, default=default, show_default=True)


def stages(text: str) -> tuple[str, ...]:
    """`a,b` as the stages of a net's state."""
    return tuple(stage for stage in text.split(",") if stage)


def net_state(level: int | None, stage: str, **rest: Any) -> dict[str, Any]:
    """What the options of `state` say, and `rest`, as the arguments of what reads a net."""
    return {"level": level or 0, "stages": stages(stage), **rest}


def device(gpu: str | None) -> str:
    """The torch device that `--gpu` says, the CPU without it."""
    return cuda_device(gpu) if gpu else "cpu"


def cuda_device(asked: str) -> str:
    """The torch device of `--gpu`; a DeviceError where it is not there, a usage error where it is no device."""
    if asked != "all" and not all(part.isascii() and part.isdigit() for part in asked.split(",")):
        raise click.BadParameter(f"expected a device's number, or all. Received: {asked!r}", param_hint="--gpu")
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if not count:
        raise DeviceError(
            f"torch sees no CUDA device. Received: --gpu {asked}", hint="leave --gpu out to run on the CPU"
        )
    ids = list(range(count)) if asked == "all" else [int(part) for part in asked.split(",")]
    missing = [i for i in ids if i >= count]
    if missing:
        raise DeviceError(f"the CUDA devices are 0 to {count - 1}. Received: --gpu {asked}")
    if len(ids) > 1:
        raise DeviceError(
            f"several devices at once are not supported. Received: --gpu {asked}", hint="give one, --gpu 0"
        )
    return f"cuda:{ids[0]}"


def load_net(path: str, weights: str, strict: bool = False, **state: Any) -> Net:
    """The net with its weights; says on stderr which layers the weight file has or lacks beyond it, or refuses them.

    Raises:
        WeightsError: no layer of the net has its weights in the file.
    """
    from proto2torch.net import load

    net = load(path, **state)
    load_weights(net, weights, strict)
    return net


def load_weights(net: Net, path: str, strict: bool = False) -> None:
    """Load weights into a net, as `load_net` does."""
    report = net.load_weights(path, strict)
    if report.untouched and not report.matched:
        table = "\n".join(report.lines()[len(report.ignored) + 1 :])
        raise WeightsError(f"it has weights for no layer of the net\n{table}", where=Where(file=path))
    for line in report.lines():
        say(line)


@contextmanager
def progress(length: int, label: str) -> Iterator[Callable[[], None]]:
    """A progress bar on stderr where that is a terminal; what it yields is called after each step."""
    if not sys.stderr.isatty():
        yield lambda: None
        return
    with click.progressbar(length=length, label=label, file=sys.stderr) as bar:
        yield lambda: bar.update(1)


def say(message: str) -> None:
    """A message to the person at the terminal: on stderr."""
    click.echo(message, err=True)


def emit(data: str | bytes) -> None:
    """Data to stdout: text as UTF-8, whatever the terminal's encoding, for another program reads it."""
    sys.stdout.flush()
    sys.stdout.buffer.write(data.encode() if isinstance(data, str) else data)
    sys.stdout.buffer.flush()
