"""`proto2torch features` and `proto2torch extract-features`: activations of blobs, written to files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from proto2torch.cli import images, options
from proto2torch.cli.group import refuse
from proto2torch.cli.options import say

if TYPE_CHECKING:
    from proto2torch.net import Net
    from proto2torch.predict.images import Given


@click.command(short_help="Activations of any blobs, from the net's data or from images.")
@click.argument("net", type=options.FILE)
@click.argument("weights", type=options.FILE)
@click.option(
    "--blobs", required=True, metavar="A,B", help="The blobs, by commas; in-place ones with their last value."
)
@click.option(
    "-o",
    "--output",
    "outputs",
    required=True,
    multiple=True,
    metavar="FILE",
    type=options.FILE,
    help="Where to: .txt .npy .npz .mat .h5 .lmdb .leveldb; once, or once a blob.",
)
@click.option("--iterations", type=click.IntRange(min=1), help="Batches of the net's own data; 50 where not given.")
@click.option("--images", "files", multiple=True, metavar="PATH", type=options.FILE, help="An image, folder or list.")
@click.option("--batch-size", type=click.IntRange(min=1), default=32, show_default=True, help="Images a batch.")
@images.transform
@options.gpu
@options.state
@options.memory_format
@options.layers
@options.precision
@options.python_layers
@options.strict
def features(
    net: str,
    weights: str,
    blobs: str,
    outputs: tuple[str, ...],
    iterations: int | None,
    files: tuple[str, ...],
    batch_size: int,
    gpu: str | None,
    level: int | None,
    stage: str,
    precision: str,
    allow_python_layers: bool,
    strict: bool,
    **transform: Any,
) -> None:
    """Run NET in phase TEST with WEIGHTS and write the blobs' rows, one an image; nothing behind them is computed.

    Batches come from the net's own data layers or, with --images, from files that are prepared as the net's data layer
    says. Files are written as the batches come: their size does not matter. .npz, .mat and .h5 hold several blobs; of
    the others each holds one, f.txt becoming f-fc7.txt. .lmdb and .leveldb are what extract_features writes.

    \b
    Example:
      proto2torch features train_val.prototxt net.caffemodel --blobs fc7,pool5 -o f.mat --iterations 20
      proto2torch features deploy.prototxt net.caffemodel --blobs fc7 -o f.npy --images photos/ --mean 104,117,123
    """
    if files and iterations is not None:
        refuse("--iterations counts batches of the net's own data. Received: --images too")
    names = [name for name in blobs.split(",") if name]
    said = images.given(transform)
    if not files and said.anything:
        refuse("--shape, --size, --mean, --scale, --raw-scale and --rgb go with --images")
    device = options.device(gpu)
    state = options.net_state(level, stage, allow_python_layers=allow_python_layers, device=device)
    from proto2torch.precision import choose

    choose(precision)
    if files:
        count = _of_images(net, weights, names, outputs, files, batch_size, said, strict, **state)
    else:
        built = options.load_net(net, weights, strict, phase="TEST", **state)
        count = _of_own_data(built, names, outputs, iterations or 50)
    say(f"{', '.join(outputs)}: {count} rows of {', '.join(names)}")


def _of_own_data(net: Net, blobs: list[str], outputs: tuple[str, ...], iterations: int) -> int:
    """The rows written of the net's own batches."""
    from proto2torch.training import feature_files
    from proto2torch.training.features import extract, own

    if not net.feeds:
        refuse("the net has no data layers", "give --images, or a net with data layers")
    rows = 0
    with options.progress(iterations, "features") as advance, feature_files.writing(outputs, blobs, say) as sink:
        for batch in extract(net, blobs, own(iterations)):
            sink.add(batch)
            rows += len(batch[blobs[0]])
            advance()
    return rows


def _of_images(
    net: str,
    weights: str,
    blobs: list[str],
    outputs: tuple[str, ...],
    files: tuple[str, ...],
    batch_size: int,
    said: Given,
    strict: bool,
    **state: Any,
) -> int:
    """The rows written of image files."""
    from proto2torch.data import image_paths
    from proto2torch.training import feature_files
    from proto2torch.training.features import extract
    from proto2torch.training.features import images as batches

    paths = image_paths.find(files)
    found = images.load(net, weights, said, strict, **state)
    count = -(-len(paths) // batch_size)
    with options.progress(count, "features") as advance, feature_files.writing(outputs, blobs, say) as sink:
        for batch in extract(found.net, blobs, batches(paths, found.prepare, batch_size, found.input)):
            sink.add(batch)
            advance()
    return len(paths)


@click.command("extract-features", short_help="extract_features, with Caffe's own arguments.")
@click.argument("weights", type=options.FILE)
@click.argument("net", type=options.FILE)
@click.argument("blobs")
@click.argument("databases")
@click.argument("batches", type=click.IntRange(min=1))
@click.argument("backend", type=click.Choice(["lmdb", "leveldb"]))
@click.argument("mode", type=click.Choice(["CPU", "GPU"], case_sensitive=False), default="CPU")
@click.argument("device_id", default="0")
@options.layers
@options.python_layers
def extract_features(
    weights: str,
    net: str,
    blobs: str,
    databases: str,
    batches: int,
    backend: str,
    mode: str,
    device_id: str,
    allow_python_layers: bool,
) -> None:
    """Caffe's extract_features: BATCHES batches of NET's own data, each of BLOBS to the one of DATABASES in its place.

    BLOBS and DATABASES are given by commas. `features` does the same and more.

    \b
    Example:
      proto2torch extract-features net.caffemodel train_val.prototxt fc7,pool5 fc7_lmdb,pool5_lmdb 10 lmdb GPU 0
    """
    names, paths = blobs.split(","), databases.split(",")
    if len(names) != len(paths):
        refuse(f"expected one database for each of {len(names)} blobs. Received: {len(paths)}")
    device = options.cuda_device(device_id.removeprefix("DEVICE_ID=")) if mode.upper() == "GPU" else "cpu"
    built = options.load_net(net, weights, phase="TEST", device=device, allow_python_layers=allow_python_layers)
    from proto2torch.training import feature_files
    from proto2torch.training.features import extract, own

    rows = dict.fromkeys(names, 0)
    with options.progress(batches, "features") as advance, feature_files.databases(paths, names, backend) as sink:
        for batch in extract(built, names, own(batches)):
            sink.add(batch)
            for name in names:
                rows[name] += len(batch[name])
            advance()
    for name in names:
        say(f"Extracted features of {rows[name]} query images for feature blob {name}")
    say("Successfully extracted the features!")
