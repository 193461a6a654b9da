"""Files: written whole or not at all, and found as Caffe finds them."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from proto2torch.errors import Proto2TorchError, RunError, Where, did_you_mean, why

_LONGEST_NAME = 200  # bytes of a name that the temporary name keeps; file systems allow 255


@contextmanager
def atomic(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Write a file whole or not at all: yields a temporary path in the same folder, and renames it at the end.

    The bytes and the rename are on the disk when it returns. Where the block raises, the temporary file goes and what
    was at `path` stays. A symbolic link is written through; a device or a pipe is written directly.

    Raises:
        Proto2TorchError: the folder does not exist, or `path` is a folder.
        RunError: the file cannot be written (no permission, no space left on the device).
    """
    target = Path(os.path.realpath(path))
    if target.is_dir() or not target.parent.is_dir():
        _no_place(path, target)
    temporary: Path | None = None
    try:
        if target.exists() and not target.is_file() and not target.is_dir():
            yield target
            return
        temporary = _create_beside(target)
        yield temporary
        sync(temporary)
        os.replace(temporary, target)
        temporary = None
        sync(target.parent)
    except OSError as error:
        if isinstance(error.filename, str) and error.filename not in (str(temporary), str(target)):
            raise
        _unwritable(path, error)
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


@contextmanager
def writing(path: str | os.PathLike[str]) -> Iterator[None]:
    """Says of an OSError in the block that `path` cannot be written: a RunError."""
    try:
        yield
    except OSError as error:
        _unwritable(path, error)


def resolve(path: str, beside: str | None) -> str:
    """The file that a prototxt means by `path`.

    Caffe takes a relative path from the working directory. Where nothing is there, it is taken from the folder of the
    prototxt `beside`; where nothing is there either, the path comes back as it was.
    """
    if beside is None or os.path.isabs(path) or os.path.exists(path):
        return path
    neighbour = os.path.join(os.path.dirname(beside), path)
    return neighbour if os.path.exists(neighbour) else path


def picture_kind(path: str, known: Sequence[str]) -> str:
    """The kind of picture that the ending of `path` says, of those that are `known`: `png`.

    Raises:
        Proto2TorchError: it is none of them.
    """
    kind = Path(path).suffix.lstrip(".").lower()
    if kind not in known:
        raise Proto2TorchError(
            f"the ending of a picture must be one of {', '.join(known)}. Received: {kind or 'none'}",
            where=Where(file=path),
            hint=did_you_mean(kind, known),
        )
    return kind


def _create_beside(target: Path) -> Path:
    """An empty file in the folder of `target`, with the permissions of the file it replaces or of a new file."""
    name = os.fsencode(target.name)[:_LONGEST_NAME].decode(errors="ignore")
    temporary = target.with_name(f".{name}.{secrets.token_hex(4)}.tmp")
    try:
        handle = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    except OSError as error:
        error.filename = str(target)
        raise
    try:
        if target.exists():
            os.chmod(temporary, stat.S_IMODE(target.stat().st_mode))
    finally:
        os.close(handle)
    return temporary


def sync(path: Path) -> None:
    """Wait until what is in a file or a folder is on the disk, where the system can say so."""
    if path.is_dir() and os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(handle)


def make_folder(path: str) -> None:
    """Make a folder in one that exists; one that is there already stays.

    Raises:
        RunError: it cannot be made.
    """
    try:
        os.makedirs(path, exist_ok=True)
    except OSError as error:
        _unwritable(path, error)


def _no_place(path: str | os.PathLike[str], target: Path) -> NoReturn:
    number = errno.EISDIR if target.is_dir() else errno.ENOENT
    hint = None if target.is_dir() else f"the folder {target.parent} does not exist: create it first"
    message = f"cannot write it: {os.strerror(number).lower()}"
    raise Proto2TorchError(message, where=Where(file=os.fspath(path)), hint=hint)


def _unwritable(path: str | os.PathLike[str], error: OSError) -> NoReturn:
    reason = why(error)
    raise RunError(f"cannot write it: {reason}", where=Where(file=os.fspath(path))) from error
