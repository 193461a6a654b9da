"""Lists of images to a database, record for record as Caffe's convert_imageset writes it.

The key is `%08d_` of the line, counted from 0 after a shuffle, and the path. A record holds raw pixels, blue before
red, or with `encoded` an image file: the file itself where it is of the wanted type and is not resized.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from proto2torch.data import datum, image_list
from proto2torch.data.decode import COLOUR, GREY, MOST_PIXELS, Undecodable, decode
from proto2torch.data.image_list import Listed
from proto2torch.data.image_paths import IMAGES
from proto2torch.data.new_database import new_database
from proto2torch.data.progress import Progress
from proto2torch.data.records import LMDB
from proto2torch.data.resize import resize
from proto2torch.data.workers import ahead
from proto2torch.errors import DataError, Where, why
from proto2torch.weights.random import Stream

_JPEG = ("jpg", "jpeg")
_QUALITY = 95  # OpenCV's, and so Caffe's


@dataclass(frozen=True)
class Imageset:
    """How images become records: the flags of Caffe's convert_imageset, and `jobs` and `skip_bad` beside them."""

    gray: bool = False
    shuffle: bool = False
    backend: str = LMDB
    resize_width: int = 0
    resize_height: int = 0
    check_size: bool = False
    encoded: bool = False
    encode_type: str = ""
    jobs: int = 0
    """Threads that decode; 0 for one a core."""
    skip_bad: bool = False
    """Leave out images that cannot be read, as Caffe does, rather than stop."""
    seed: int | None = None
    """Of the shuffle; Caffe's own is never the same twice."""


@dataclass
class Converted:
    """What was written, and the images that were left out, each with the reason."""

    count: int = 0
    bad: list[str] = field(default_factory=list)


def convert_imageset(root: str, listed: str | Sequence[Listed], db: str, how: Imageset | None = None) -> Converted:
    """Write the images of a list, their paths put behind `root` as it is, to a new database.

    Raises:
        DataError: the list is wrong, `db` exists, an image cannot be read (without `skip_bad`) or has another size
            (with `check_size`).
        RunError: the database cannot be written.
    """
    how = how or Imageset()
    name = listed if isinstance(listed, str) else None
    lines = image_list.read(listed) if isinstance(listed, str) else list(listed)

    def where(line: Listed) -> Where:
        return Where(file=name, line=line.line if name else None)

    differs = "all images must have one size, {first} bytes as the first. Received: {size} of {path!r}"
    return write_all(lines, partial(_record, root, how=how), where, db, how, listed=name, differs=differs)


class Named(Protocol):
    """An image of a list."""

    @property
    def path(self) -> str:
        """Its file, as the list names it."""


T = TypeVar("T", bound=Named)


@dataclass(frozen=True)
class Record:
    """What is written of an image."""

    contents: bytes
    size: int | tuple[int, ...] | None
    """What `check_size` wants to be the same of all; None where there is nothing to check."""


def write_all(
    images: Sequence[T],
    make: Callable[[T], Record | str],
    where: Callable[[T], Where],
    db: str,
    how: Imageset,
    *,
    listed: str | None,
    differs: str,
) -> Converted:
    """Write the record that `make` gives of each image, or note the reason why there is none, to a new database.

    For errors there are the places of the images and of their list, and what is said of an image that `differs` from
    the `first` one in its `size`.

    Raises:
        DataError, RunError: as `convert_imageset`.
    """
    if how.resize_width * how.resize_height > MOST_PIXELS:
        received = f"{how.resize_width} x {how.resize_height}"
        raise DataError(f"expected to resize to at most {MOST_PIXELS} pixels. Received: {received}")
    if how.shuffle:
        images = [images[place] for place in Stream(how.seed).shuffle(len(images)).tolist()]
    done, first = Converted(), None
    with Progress(len(images)) as progress, new_database(db, how.backend) as database:
        for number, (image, record) in enumerate(ahead(make, images, how.jobs)):
            progress.step()
            if isinstance(record, str):
                _left_out(done, progress, record, how.skip_bad, where(image))
                continue
            first = first or record.size
            if how.check_size and record.size != first:
                message = differs.format(first=first, size=record.size, path=image.path)
                raise DataError(message, where=where(image))
            database.put(b"%08d_" % number + os.fsencode(image.path), record.contents)
            done.count += 1
        if not done.count:
            raise DataError("none of its images could be read", where=Where(file=listed))
    return done


def _record(root: str, line: Listed, how: Imageset) -> Record | str:
    read = read_image(root + line.path, how)
    if isinstance(read, str):
        return read
    if read.encoded is None:
        return Record(datum.write(read.image, line.label, says_raw=True), read.image.size)
    return Record(datum.write_encoded(read.encoded, line.label), None)


@dataclass(frozen=True)
class Read:
    """An image (C, H, W) as a record is to hold it, and its file where the record holds that."""

    image: NDArray[np.uint8]
    encoded: bytes | None = None


def read_image(path: str, how: Imageset) -> Read | str:
    """The image at `path`, resized and encoded as `how` says; or why there is none."""
    try:
        with open(path, "rb") as file:
            contents = file.read()
        image = decode(contents, GREY if how.gray else COLOUR)
    except OSError as error:
        return f"cannot read the image {path!r}: {why(error)}"
    except Undecodable as error:
        return f"cannot decode the image {path!r}: {error}"
    resized = how.resize_width > 0 and how.resize_height > 0
    if resized:
        image = resize(image, how.resize_height, how.resize_width)
    if not (how.encoded or how.encode_type):
        return Read(image)
    extension = os.path.splitext(path)[1][1:].lower()
    kind = (how.encode_type or extension).lower()
    if not resized and _same(kind, extension):
        return Read(image, contents)
    encoded = _encode(image, kind)
    if encoded is None:
        return f"cannot encode the image {path!r} as {kind!r}: jpg and png can be written"
    return Read(image, encoded)


def _encode(image: NDArray[np.uint8], kind: str) -> bytes | None:
    """An image file; None where the kind cannot be written."""
    from PIL import Image

    picture = Image.fromarray(np.ascontiguousarray(image[::-1].transpose(1, 2, 0)) if len(image) == 3 else image[0])
    file = io.BytesIO()
    if kind in _JPEG:
        picture.save(file, "JPEG", quality=_QUALITY, subsampling="4:2:0")
    elif kind == "png":
        picture.save(file, "PNG", compress_level=1)
    else:
        return None
    return file.getvalue()


def _same(kind: str, extension: str) -> bool:
    return kind == extension or (kind in _JPEG and extension in _JPEG)


def _left_out(done: Converted, progress: Progress, reason: str, skip: bool, where: Where) -> None:
    """Note an image that cannot be used; without `skip` it is a DataError."""
    if not skip:
        raise DataError(reason, where=where, hint="--skip-bad leaves such images out")
    done.bad.append(reason)
    progress.note(f"left out: {reason}")


def convert_folder(root: str, db: str, labels: str, how: Imageset | None = None) -> tuple[Converted, list[str]]:
    """Write the images of class folders, `root/<class>/<image>`, to a new database, and the classes to a file `labels`.

    The classes are the folders in the order of their names, labelled from 0; files that are no images by their
    ending are left out.

    Raises:
        DataError, RunError: as `convert_imageset`.
    """
    from proto2torch.files import atomic

    classes = _folders(root)
    lines = [
        Listed(f"{name}/{file}", label, 0)
        for label, name in enumerate(classes)
        for file in sorted(os.listdir(os.path.join(root, name)))
        if os.path.splitext(file)[1].lower() in IMAGES
    ]
    if not lines:
        raise DataError("there are no images in its folders", where=Where(file=root))
    with atomic(labels) as temporary:  # around all of it: both are written or neither
        done = convert_imageset(os.path.join(root, ""), lines, db, replace(how or Imageset()))
        temporary.write_text("".join(f"{name}\n" for name in classes), encoding="utf-8", errors="surrogateescape")
    return done, classes


def _folders(root: str) -> list[str]:
    try:
        names = sorted(name for name in os.listdir(root) if os.path.isdir(os.path.join(root, name)))
    except OSError as error:
        reason = why(error)
        raise DataError(f"cannot read the folder: {reason}", where=Where(file=root)) from error
    if not names:
        raise DataError("there are no folders in it, one a class", where=Where(file=root))
    return names
