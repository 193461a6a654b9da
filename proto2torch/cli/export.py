"""`proto2torch export`: a net as readable PyTorch source with its weights beside it, or in another format."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from proto2torch.cli import options
from proto2torch.cli.export_training import export_solver
from proto2torch.cli.group import refuse
from proto2torch.cli.options import emit, say

if TYPE_CHECKING:
    from proto2torch.codegen.source import Source
    from proto2torch.exporting.job import Job
    from proto2torch.ir.graph import Shape
    from proto2torch.net import Net
    from proto2torch.predict.preprocess import Preprocessor

_ENDINGS = {
    ".onnx": "onnx",
    ".pt2": "pt2",
    ".safetensors": "safetensors",
    ".caffemodel": "caffemodel",
    ".h5": "h5",
    ".prototxt": "prototxt",
}
_KINDS = ("python", *_ENDINGS.values())
_WEIGHTS_ALONE = ("safetensors", "caffemodel", "h5")


@click.command(short_help="Readable PyTorch source of a net, its weights, or ONNX and other formats.")
@click.argument("net", type=options.FILE)
@click.option("-o", "--output", metavar="FILE", type=options.FILE, help="Where to write; without it, stdout.")
@options.phase("TEST")
@click.option("--weights", type=options.FILE, help="Weights to export with it: .caffemodel, .h5 or .safetensors.")
@click.option("--state-dict", metavar="FILE", type=options.FILE, help="Where to write the weights for torch.load too.")
@click.option("--format", "kind", type=click.Choice(_KINDS), help="Without it, what FILE's ending says, else python.")
@click.option("--flat", is_flag=True, help="Write every layer out: no classes for what repeats.")
@click.option("--no-check", is_flag=True, help="Do not run what is written against the net: faster.")
@click.option("--shapes", "commented", is_flag=True, help="With --format prototxt: the shapes of tops, as comments.")
@click.option("--with-preprocess", is_flag=True, help="With what is done to an image: a class Prepare, and as JSON.")
@options.shapes
@options.state
@options.plain
@options.memory_format
@options.layers
@options.python_layers
@options.strict
def export(
    net: str,
    output: str | None,
    phase: str,
    weights: str | None,
    state_dict: str | None,
    kind: str | None,
    flat: bool,
    no_check: bool,
    commented: bool,
    with_preprocess: bool,
    shapes: dict[str, Shape],
    level: int | None,
    stage: str,
    allow_python_layers: bool,
    strict: bool,
) -> None:
    """Print NET as the PyTorch module a person would have written; it imports torch and nothing of proto2torch, unless
    it runs Python layers. Of a solver, print the training script: model, data, optimizer and loop in plain PyTorch.

    What is written is run in a process of its own and compared with the net; where it differs, nothing is left.

    --shape says what a data layer gives, so that its database need not be there.

    With --weights and -o model.py the weights go to model.safetensors beside it, and model.py says how to load them.
    What the net's data layer does to an image stands there too, and with --with-preprocess in a class of its own.

    \b
    Example:
      proto2torch export examples/digits/lenet_train_test.prototxt > model.py
      proto2torch export deploy.prototxt --weights net.caffemodel -o model.py
      proto2torch export deploy.prototxt --weights net.caffemodel -o model.onnx
      proto2torch export train_val.prototxt --shape data=50,3,227,227
      proto2torch export train_val.prototxt --weights net.caffemodel -o model.py --with-preprocess
      proto2torch export examples/digits/lenet_solver.prototxt -o train.py
    """
    kind = kind or _ENDINGS.get(Path(output or "").suffix.lower(), "python")
    _check_places(output, state_dict, net, weights)
    if export_solver(
        net,
        output,
        weights=weights,
        kind=kind,
        flat=flat,
        shapes=shapes,
        level=level,
        stages=options.stages(stage),
        strict=strict,
    ):
        return
    from proto2torch.exporting.job import Job

    job = Job(net, phase.upper(), level or 0, options.stages(stage), shapes, allow_python_layers, fold=not flat)
    if commented and kind != "prototxt":
        refuse(f"--shapes is for --format prototxt. Received: --format {kind}")
    if state_dict is not None and (kind != "python" or weights is None):
        refuse("--state-dict writes the weights of --weights beside Python source")
    if with_preprocess and (output is None or kind == "prototxt"):
        refuse("--with-preprocess writes beside what is exported: give -o FILE, and another format than prototxt")
    wanted = with_preprocess or (kind == "python" and weights is not None)
    prepare = _preparation(job, asked=with_preprocess) if wanted else None
    if kind == "prototxt":
        _prototxt(job, output, commented)
    elif kind == "python":
        module = with_preprocess
        _python(job, output, weights, state_dict, prepare, strict=strict, check=not no_check, module=module)
    else:
        _other(job, output, kind, weights, strict=strict, check=not no_check)
    if with_preprocess and output and prepare:
        from proto2torch.predict import source as preparation

        for path in preparation.write(Path(output).with_suffix(""), prepare):
            say(f"{path}: written")


def _preparation(job: Job, *, asked: bool) -> Preprocessor | None:
    """What the net's data layer does to an image."""
    from proto2torch.predict import source as preparation

    found = preparation.of_net(job.definition(), level=job.level, stages=job.stages) if job.phase == "TEST" else None
    if asked and found is None:
        refuse(
            f"{job.path}: in phase {job.phase} no data layer says what is done to an image, or its mean is not there"
        )
    return found


def _check_places(output: str | None, state_dict: str | None, *inputs: str | None) -> None:
    """Refuse to write over what is read, or twice into one file."""
    written = [path for path in (output, state_dict) if path is not None]
    for path in written:
        if any(given is not None and os.path.realpath(path) == os.path.realpath(given) for given in inputs):
            refuse(f"{path} is what is read: give another name")
    if len({os.path.realpath(path) for path in written}) < len(written):
        refuse(f"-o and --state-dict name one file. Received: {output}")


def _python(
    job: Job,
    output: str | None,
    weights: str | None,
    state_dict: str | None,
    prepare: Preprocessor | None,
    *,
    strict: bool,
    check: bool,
    module: bool,
) -> None:
    """Source, the weights beside it first, so that where the source is, they are; with what `prepare` does to an image
    noted in it, or written out as a `module` too."""
    beside = str(Path(output).with_suffix(".safetensors")) if output and weights else None
    if weights is not None and not (beside or state_dict):
        refuse("the weights go beside the source, and stdout has no place beside it", "give -o FILE as well")
    if beside is not None:
        _check_places(beside, state_dict, output, job.path, weights)
    with _place(output) as write:
        source = job.source()
        _say_all(source.notes)
        difference = ""
        if check or weights:
            net = _loaded(job, weights, strict, draw=True)
            if check:
                from proto2torch.exporting import self_check

                difference = self_check.shown(self_check.check(net, source))
                source = source.noted(f"Run beside the net it was made of: largest difference {difference}.")
            if weights:
                source = _with_weights(net, source, beside, state_dict)
            net.close()
        write(_prepared(source, prepare, module))
    if output is not None:
        say(f"{output}: written" + (f"; largest difference from the net: {difference}" if difference else ""))


def _prepared(source: Source, prepare: Preprocessor | None, module: bool) -> str:
    """The source's text, with what is done to an image."""
    if prepare is None:
        return source.text
    from proto2torch.predict import source as preparation

    text = source.noted(preparation.note(prepare)).text
    return preparation.with_module(text, prepare) if module else text


def _with_weights(net: Net, source: Source, safetensors: str | None, state_dict: str | None) -> Source:
    """Write the weights, and let the source say how to load them."""
    from proto2torch.exporting import beside
    from proto2torch.weights import tensors

    state = net.state(source)
    if safetensors is not None:
        tensors.write(safetensors, state)
        say(f"{safetensors}: written")
    if state_dict is not None:
        beside.write_state_dict(state_dict, state)
        say(f"{state_dict}: written")
    return source.noted(beside.loading(source, safetensors, state_dict))


def _other(job: Job, output: str | None, kind: str, weights: str | None, *, strict: bool, check: bool) -> None:
    """A format that torch writes, or weights alone."""
    if output is None and sys.stdout.isatty():
        refuse(f"--format {kind} is binary, and stdout is a terminal", "give -o FILE")
    if weights is None and kind in _WEIGHTS_ALONE:
        refuse(f"--format {kind} exports weights. Received: no --weights")
    from proto2torch.exporting import write

    source = job.source()
    _say_all(source.notes)
    net = _loaded(job, weights, strict, draw=False)
    if weights is None:
        say("no --weights: the file holds what the net's fillers draw")
    if output is None:
        emit(write.written(kind, net, source, check))
        return
    notes = write.FORMATS[kind](net, source, output, check)
    say("; ".join([f"{output}: written", *notes]))
    net.close()


def _prototxt(job: Job, output: str | None, commented: bool) -> None:
    from proto2torch.codegen.formats import prototxt

    definition = job.definition()
    _say_all(definition.notes)
    shapes = None
    if commented:
        from proto2torch.cost import reading

        graph = reading.graph(
            definition,
            job.phase,
            level=job.level,
            stages=job.stages,
            shapes=job.shapes,
            registry=options.registry(job.allow_python_layers),
        )
        _say_all(graph.notes[len(definition.notes) :])
        shapes = prototxt.shapes_of(definition, graph)
    with _place(output) as write:
        write(prototxt.write(definition, shapes))
    if output is not None:
        say(f"{output}: written")


def _loaded(job: Job, weights: str | None, strict: bool, *, draw: bool) -> Net:
    """The net with its weights; without a file, with those of its fillers or, to compare by, with drawn ones."""
    net = job.net()
    if weights is not None:
        options.load_weights(net, weights, strict)
    elif draw:
        from proto2torch.exporting.inputs import draw_weights

        draw_weights(net.learned)
    return net


@contextmanager
def _place(output: str | None) -> Iterator[Callable[[str], object]]:
    """What writes text to stdout or to a file, whole or not at all; what is no place for a file is refused at once."""
    if output is None:
        yield emit
        return
    from proto2torch.files import atomic

    with atomic(output) as temporary:
        yield lambda text: temporary.write_text(text, encoding="utf-8")


def _say_all(notes: tuple[str, ...]) -> None:
    for note in notes:
        say(note)
