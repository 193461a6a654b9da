"""Telling by its first bytes what a file is, so that a wrong one is called by its name."""

from __future__ import annotations

import codecs
from typing import NoReturn

from proto2torch.errors import Proto2TorchError, Where

_HDF5 = b"\x89HDF\r\n\x1a\n"
_LOOK = 4096
_BINARY = (
    (b"PK\x03\x04", "a zip archive, such as PyTorch saves"),
    (b"\x1f\x8b", "compressed with gzip"),
    (b"\x80\x02", "a Python pickle, such as PyTorch saves"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
)


def is_hdf5(data: memoryview) -> bool:
    """Whether HDF5's signature is where it may be: at the start, or at 512, 1024, 2048 … bytes."""
    return any(data[at : at + 8] == _HDF5 for at in (0, 512, 1024, 2048))


def refuse_other(data: memoryview, path: str, expected: str, kind: type[Proto2TorchError]) -> None:
    """Raise `kind` where the file is plainly something else than `expected`, a binary protobuf message."""
    head = bytes(data[:_LOOK])
    if is_hdf5(data):
        _refuse(path, expected, "an HDF5 file", kind)
    for signature, name in _BINARY:
        if head.startswith(signature):
            _refuse(path, expected, name, kind)
    if len(head) > 8 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= len(data) - 8:
        _refuse(path, expected, "a safetensors file", kind)
    if _is_text(head):
        if head.startswith(b"version https://git-lfs"):
            _refuse(path, expected, "a Git LFS pointer, not the file itself", kind, "fetch the file with: git lfs pull")
        page = head.lstrip()[:1] == b"<"
        _refuse(path, expected, "a web page" if page else "text, such as a prototxt", kind)


def _is_text(head: bytes) -> bool:
    """Whether bytes are UTF-8 without control characters; a character cut at the end is no matter."""
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return all(character.isprintable() or character in "\t\n\r\f" for character in text)


def _refuse(path: str, expected: str, found: str, kind: type[Proto2TorchError], hint: str | None = None) -> NoReturn:
    raise kind(f"expected {expected}. Received: {found}", where=Where(file=path), hint=hint)
