"""`proto2torch convert …`: databases from the files that data sets come in."""

from __future__ import annotations

import click

from proto2torch.cli.group import LazyGroup
from proto2torch.cli.options import FILE, say

convert = LazyGroup(
    "convert",
    table={
        "mnist": ("proto2torch.cli.convert:mnist", "MNIST's idx files (and any like them) to a database."),
    },
    help="""Make a database from a data set's own files.

    \b
    Example:
      proto2torch convert mnist train-images-idx3-ubyte train-labels-idx1-ubyte mnist_train_lmdb
    """,
)


@click.command(short_help="MNIST's idx files (and any like them) to a database.")
@click.argument("images", type=FILE)
@click.argument("labels", type=FILE)
@click.argument("db", type=FILE)
def mnist(images: str, labels: str, db: str) -> None:
    """Write the IMAGES and LABELS of idx files, plain or gzipped, to a new LMDB folder, DB.

    The records are those of Caffe's convert_mnist_data: one Datum an image, 1 x rows x columns bytes and the label.

    \b
    Example:
      proto2torch convert mnist train-images-idx3-ubyte train-labels-idx1-ubyte mnist_train_lmdb
    """
    from proto2torch.data.convert_mnist import convert_mnist

    count = convert_mnist(images, labels, db)
    say(f"{db}: {count} images")
