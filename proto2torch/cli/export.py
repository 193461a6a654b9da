"""`proto2torch export`: a net as readable PyTorch source, or its weights for that source."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from proto2torch.cli import options
from proto2torch.cli.export_training import export_solver
from proto2torch.cli.group import refuse
from proto2torch.cli.options import emit, say

if TYPE_CHECKING:
    from proto2torch.codegen.source import Source
    from proto2torch.ir.graph import Shape
    from proto2torch.ir.lower import DataShapes
    from proto2torch.prototxt.document import LayerDefinition


@click.command(short_help="Readable PyTorch source of a net, or its weights.")
@click.argument("net", type=options.FILE)
@click.option("-o", "--output", metavar="FILE", type=options.FILE, help="Where to write; without it, stdout.")
@click.option("--phase", type=click.Choice(["TRAIN", "TEST"], case_sensitive=False), default="TEST", show_default=True)
@click.option("--weights", type=options.FILE, help="Weights to export with it: .caffemodel or .caffemodel.h5.")
@click.option("--format", "kind", type=click.Choice(["python", "safetensors"]), default="python", show_default=True)
@click.option("--flat", is_flag=True, help="Write every layer out: no classes for what repeats.")
@options.shapes
@options.state
@options.layers
@options.python_layers
@options.strict
def export(
    net: str,
    output: str | None,
    phase: str,
    weights: str | None,
    kind: str,
    flat: bool,
    shapes: dict[str, Shape],
    level: int | None,
    stage: str,
    allow_python_layers: bool,
    strict: bool,
) -> None:
    """Print NET as the PyTorch module a person would have written; it imports torch and nothing of proto2torch, unless
    it runs Python layers. Of a solver, print the training script: model, data, optimizer and loop in plain PyTorch.

    --shape says what a data layer gives, so that its database need not be there.

    With --weights and -o model.py the weights go to model.safetensors beside it. --format safetensors writes them
    alone. Either way they load with load_state_dict(safetensors.torch.load_file(…)).

    \b
    Example:
      proto2torch export examples/digits/lenet_train_test.prototxt > model.py
      proto2torch export deploy.prototxt --weights net.caffemodel -o model.py
      proto2torch export train_val.prototxt --shape data=50,3,227,227
      proto2torch export examples/digits/lenet_solver.prototxt -o train.py
    """
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
    state: dict[str, Any] = {"phase": phase.upper(), "level": level or 0, "stages": options.stages(stage)}
    state["allow_python_layers"] = allow_python_layers
    if kind == "safetensors":
        if weights is None:
            refuse("--format safetensors exports weights. Received: no --weights")
        _write_weights(net, weights, output, strict, _source(net, flat, shapes, state), shapes, state)
        return
    if weights is not None and output is None:
        refuse("the weights go beside the source, and stdout has no place beside it", "give -o FILE as well")
    source = _source(net, flat, shapes, state)
    if output is None:
        emit(source.text)
        return
    if weights is not None:
        _write_weights(net, weights, str(Path(output).with_suffix(".safetensors")), strict, source, shapes, state)
    from proto2torch.files import atomic

    with atomic(output) as temporary:
        temporary.write_text(source.text, encoding="utf-8")
    say(f"{output}: written")


def _source(path: str, flat: bool, shapes: dict[str, Shape], state: dict[str, Any]) -> Source:
    from proto2torch.codegen.export import export as export_source
    from proto2torch.prototxt.read import read_net

    selected = {key: value for key, value in state.items() if key != "allow_python_layers"}
    registry = options.registry(state["allow_python_layers"])
    source = export_source(
        read_net(path), _data_shapes(registry), fold=not flat, registry=registry, shapes=shapes, **selected
    )
    for note in source.notes:
        say(note)
    return source


def _data_shapes(registry: Mapping[str, Any]) -> DataShapes:
    """What gives the shapes of a data layer's tops, of which only its database, or the user's class, knows all."""

    def shapes(layer: LayerDefinition, phase: str) -> Sequence[Shape]:
        from proto2torch import data

        feed = registry["Python"].feed(layer, phase) if layer.type == "Python" else data.open(layer, phase)
        try:
            found: Sequence[Shape] = feed.shapes
            return found
        finally:
            feed.close()

    return shapes


def _write_weights(
    net: str,
    weights: str,
    output: str | None,
    strict: bool,
    source: Source,
    shapes: dict[str, Shape],
    state: dict[str, Any],
) -> None:
    """The state_dict of the module that `source` defines to `output`, or to stdout."""
    if output is None and sys.stdout.isatty():
        refuse("weights are binary, and stdout is a terminal", "give -o FILE")
    from proto2torch.weights import tensors

    found = options.load_net(net, weights, strict, feeds=_feeds(net, shapes, state), **state).state(source)
    if output is not None:
        tensors.write(output, found)
        say(f"{output}: written")
        return
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.safetensors")
        tensors.write(path, found)
        emit(Path(path).read_bytes())


def _feeds(path: str, shapes: dict[str, Shape], state: dict[str, Any]) -> dict[str, Any]:
    """What stands for the layers whose shapes are given."""
    from proto2torch.data.unread import Unread
    from proto2torch.ir import given
    from proto2torch.prototxt import filters
    from proto2torch.prototxt.read import read_net

    selected = filters.select(read_net(path), state["phase"], state["level"], state["stages"])
    tops = {layer.name: (layer, given.tops(layer, shapes)) for layer in selected.layers}
    return {name: Unread(known, layer.where()) for name, (layer, known) in tops.items() if known is not None}
