"""`proto2torch convert …`: databases from the files that data sets come in."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from proto2torch.cli.caffe_tool import CaffeTool
from proto2torch.cli.group import LazyGroup
from proto2torch.cli.options import FILE, say

if TYPE_CHECKING:
    from proto2torch.data.convert.imageset import Converted, Imageset

F = TypeVar("F", bound=Callable[..., Any])

BACKENDS = ("lmdb", "leveldb")

convert = LazyGroup(
    "convert",
    table={
        "imageset": ("proto2torch.cli.convert:imageset", "A list of images to a database."),
        "folder": ("proto2torch.cli.convert:folder", "Folders of images, one a class, to a database."),
        "annotated": ("proto2torch.cli.convert:annotated", "Images with boxes (VOC, COCO) to a database for SSD."),
        "mnist": ("proto2torch.cli.convert:mnist", "MNIST's idx files (and any like them) to a database."),
        "cifar10": ("proto2torch.cli.convert:cifar10", "CIFAR-10's binary files to two databases."),
    },
    help="""Make a database from a data set's own files.

    \b
    Example:
      proto2torch convert imageset --resize_height 256 --resize_width 256 images/ train.txt train_lmdb
      proto2torch convert mnist train-images-idx3-ubyte train-labels-idx1-ubyte mnist_train_lmdb
    """,
)


def backend(command: F) -> F:
    """`--backend lmdb|leveldb`."""
    kind = click.Choice(BACKENDS)
    return click.option("--backend", type=kind, default="lmdb", show_default=True, help="The kind of database.")(
        command
    )


def image_options(command: F) -> F:
    """The flags of Caffe's convert_imageset, and `--jobs`, `--skip-bad` and `--seed`."""
    for option in reversed(
        (
            click.option("--gray", is_flag=True, help="One channel in place of three."),
            click.option("--shuffle", is_flag=True, help="Shuffle the images first."),
            click.option("--resize_width", "--resize-width", type=click.IntRange(0), default=0, metavar="N"),
            click.option(
                "--resize_height",
                "--resize-height",
                type=click.IntRange(0),
                default=0,
                metavar="N",
                help="Resize, where both extents are given.",
            ),
            click.option("--check_size", "--check-size", is_flag=True, help="Stop at an image of another size."),
            click.option("--encoded", is_flag=True, help="Keep image files in the records, not raw pixels."),
            click.option(
                "--encode_type", "--encode-type", default="", metavar="TYPE", help="Of the image files: jpg or png."
            ),
            click.option("--jobs", "-j", type=click.IntRange(0), default=0, help="Threads; without it, one a core."),
            click.option("--skip-bad", is_flag=True, help="Leave out images that cannot be read, and say which."),
            click.option("--seed", type=int, help="Of the shuffle: the same seed, the same order."),
        )
    ):
        command = option(command)
    return backend(command)


@click.command(cls=CaffeTool, short_help="A list of images to a database.")
@click.argument("root", type=FILE)
@click.argument("listed", metavar="LIST", type=FILE)
@click.argument("db", type=FILE)
@image_options
def imageset(root: str, listed: str, db: str, **flags: Any) -> None:
    """Write the images of LIST, a line each `path label`, to a new database, DB. ROOT is put before every path.

    The records are those of Caffe's convert_imageset, byte for byte: channels x height x width bytes, blue before red.

    \b
    Example:
      proto2torch convert imageset --shuffle --resize_height 256 --resize_width 256 images/ train.txt train_lmdb
    """
    from proto2torch.data.convert.imageset import convert_imageset

    _report(db, convert_imageset(root, listed, db, _imageset(flags)))


@click.command(short_help="Folders of images, one a class, to a database.")
@click.argument("root", type=FILE)
@click.argument("db", type=FILE)
@click.option("--labels", type=FILE, help="Where to write the classes, a line each; without it, DB.labels.txt.")
@image_options
def folder(root: str, db: str, labels: str | None, **flags: Any) -> None:
    """Write the images of ROOT's folders, each a class, to a new database, DB, and the classes to a text file.

    \b
    Example:
      proto2torch convert folder --resize_height 256 --resize_width 256 flowers/train flowers_train_lmdb
    """
    from proto2torch.data.convert.imageset import convert_folder

    labels = labels or f"{db.rstrip('/')}.labels.txt"
    done, classes = convert_folder(root, db, labels, _imageset(flags))
    _report(db, done)
    say(f"{labels}: {len(classes)} classes")


@click.command(short_help="Images with boxes (VOC, COCO) to a database for SSD.")
@click.argument("root", type=FILE)
@click.argument("listed", metavar="LIST", type=FILE)
@click.argument("db", type=FILE)
@click.option(
    "--label_map_file", "--label-map", "labels", type=FILE, help="The label of each class; without it, one is written."
)
@image_options
def annotated(root: str, listed: str, db: str, labels: str | None, **flags: Any) -> None:
    """Write images and the boxes of what they show to a new database, DB, as SSD's convert_annoset does.

    LIST has a line for each image, `image.jpg image.xml`, with PASCAL VOC's XML; or it is COCO's instances_….json.
    ROOT is put before every path. --encoded keeps the image files as they are, which is what AnnotatedData expects.

    \b
    Example:
      proto2torch convert annotated --encoded --label_map_file labelmap_voc.prototxt VOCdevkit/ trainval.txt voc_lmdb
      proto2torch convert annotated --encoded train2017/ annotations/instances_train2017.json coco_lmdb
    """
    from proto2torch.data.annotated.convert import convert_annotated

    done, known, written = convert_annotated(root, listed, db, labels, _imageset(flags))
    _report(db, done)
    if written:
        say(f"{written}: {len(known.labels)} classes and the background")


@click.command(cls=CaffeTool, short_help="MNIST's idx files (and any like them) to a database.")
@click.argument("images", type=FILE)
@click.argument("labels", type=FILE)
@click.argument("db", type=FILE)
@backend
def mnist(images: str, labels: str, db: str, backend: str) -> None:
    """Write the IMAGES and LABELS of idx files, plain or gzipped, to a new database folder, DB.

    The records are those of Caffe's convert_mnist_data: one Datum an image, 1 x rows x columns bytes and the label.

    \b
    Example:
      proto2torch convert mnist train-images-idx3-ubyte train-labels-idx1-ubyte mnist_train_lmdb
    """
    from proto2torch.data.convert.mnist import convert_mnist

    count = convert_mnist(images, labels, db, backend)
    say(f"{db}: {count} images")


@click.command(cls=CaffeTool, short_help="CIFAR-10's binary files to two databases.")
@click.argument("source", metavar="FOLDER", type=FILE)
@click.argument("out", type=FILE)
@click.argument("kind", metavar="[BACKEND]", type=click.Choice(BACKENDS), default="lmdb", required=False)
def cifar10(source: str, out: str, kind: str) -> None:
    """Write CIFAR-10's data_batch_1.bin … and test_batch.bin of FOLDER to OUT/cifar10_train_lmdb and …_test_lmdb.

    The records are those of Caffe's convert_cifar_data: 3 x 32 x 32 bytes, red before blue.

    \b
    Example:
      proto2torch convert cifar10 cifar-10-batches-bin examples/cifar10 leveldb
    """
    from proto2torch.data.convert.cifar10 import convert_cifar10

    for db, count in convert_cifar10(source, out, kind).items():
        say(f"{db}: {count} images")


def _imageset(flags: dict[str, Any]) -> Imageset:
    from proto2torch.data.convert.imageset import Imageset

    return Imageset(**flags)


def _report(db: str, done: Converted) -> None:
    say(f"{db}: {done.count} images" + (f", {len(done.bad)} left out" if done.bad else ""))
