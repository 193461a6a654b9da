"""The command `proto2torch`. Each command is thin: it reads its arguments, makes one call, prints."""

from __future__ import annotations

import click

from proto2torch.cli.group import Main, debug_option

COMMANDS = {
    "train": ("proto2torch.cli.train:train", "Train a net as its solver says, with Caffe's log and snapshots."),
    "test": ("proto2torch.cli.test:test", "Mean of every output of the TEST net over some batches."),
    "features": ("proto2torch.cli.features:features", "Activations of any blobs, from the net's data or from images."),
    "extract-features": ("proto2torch.cli.features:extract_features", "extract_features, with Caffe's own arguments."),
    "classify": ("proto2torch.cli.classify:classify", "The best classes of images."),
    "detect": ("proto2torch.cli.detect:detect", "Objects in images: boxes of SSD, YOLO and Faster R-CNN nets."),
    "segment": ("proto2torch.cli.detect:segment", "The label of each pixel of images."),
    "pixels": ("proto2torch.cli.classify:pixels", "What is done to an image between its file and the net."),
    "deploy": ("proto2torch.cli.deploy:deploy", "The deploy net of a train_val net."),
    "upgrade": ("proto2torch.cli.upgrade:upgrade", "A net or a solver of any of Caffe's formats in the newest."),
    "verify": ("proto2torch.cli.verify:verify", "Compare blobs with stored ones; name the first layer that differs."),
    "time": ("proto2torch.cli.time:time", "Time forward and backward of a net, layer by layer."),
    "show": ("proto2torch.cli.show:show", "Layers, shapes, parameters, multiply-adds and memory of a net."),
    "draw": ("proto2torch.cli.draw:draw", "The graph of a net as .svg, .png or .pdf, or as one .html page."),
    "view": ("proto2torch.cli.view:view", "Pictures of filters, activations and features."),
    "check": ("proto2torch.cli.check:check", "Every problem in nets and solvers at once; nothing is run."),
    "plot": ("proto2torch.cli.plot:plot", "The learning curves of training logs, Caffe's or ours."),
    "export": ("proto2torch.cli.export:export", "Readable PyTorch source of a net, or its weights."),
    "import-weights": (
        "proto2torch.cli.import_weights:import_weights",
        "Weights trained in an exported model.py, back to a .caffemodel.",
    ),
    "convert": ("proto2torch.cli.convert:convert", "Make a database from a data set's own files."),
    "mean": ("proto2torch.cli.mean:mean", "The mean image of a database."),
    "db": ("proto2torch.cli.db:db", "Look at databases, and copy them."),
    "devices": ("proto2torch.cli.devices:devices", "The devices that torch sees."),
    "caffe": ("proto2torch.cli.caffe:caffe", "Caffe's own command line: caffe train -solver=x, and the others."),
}
"""Each command: where it lives, and what the listing says of it."""


def _print_version(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        import proto2torch

        click.echo(f"proto2torch {proto2torch.__version__}")
        ctx.exit()


main = Main(
    "proto2torch",
    table=COMMANDS,
    params=[
        click.Option(
            ["--version"],
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=_print_version,
            help="Print the version.",
        ),
        debug_option(),
    ],
    help="""Run, train and export Caffe networks with PyTorch.

    \b
    Example:
      proto2torch train examples/digits/lenet_solver.prototxt
      proto2torch export examples/digits/lenet_train_test.prototxt > model.py
    """,
    epilog="proto2torch COMMAND --help explains each command with an example.",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
