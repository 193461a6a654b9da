"""Nets and solvers from files: text or binary, of any of Caffe's formats, upgraded to the newest."""

from __future__ import annotations

from dataclasses import replace

from proto2torch.errors import PrototxtError
from proto2torch.prototxt import binary, upgrade
from proto2torch.prototxt import text as prototxt
from proto2torch.prototxt.document import Document, NetDefinition

_UTF16 = (b"\xff\xfe", b"\xfe\xff")


def read_net(path: str | None = None, *, text: str | None = None, weights: bool = False) -> NetDefinition:
    """The net of a file, or of `text`, in the newest format.

    Whether the file is text or a binary NetParameter, its content decides. The blobs of a text are kept: they are
    initial values. Those of a binary file, a .caffemodel say, are left out, with a note, unless `weights` is true.

    Raises:
        PrototxtError: the file cannot be read, or is no net. NetError: it is one that Caffe refuses.
        TypeError: neither a path nor a text is given.
    """
    if text is not None:
        return upgrade.net(prototxt.parse(text, "NetParameter", path))
    if path is None:
        raise TypeError("read_net takes a path or text=. Received: neither")
    data = prototxt.load(path)
    document = _binary(data, path) if binary.is_binary(data) else None
    if document is None:
        return upgrade.net(prototxt.decode(data, "NetParameter", path))
    del data
    small = document if weights else binary.without_weights(document)
    net = upgrade.net(binary.understood(small))
    if small is document:
        return net
    return replace(net, notes=(f"{path}: the weights in this binary net are left out", *net.notes))


def read_solver(path: str) -> Document:
    """The solver of a prototxt file, with `type` for the older `solver_type` and with its `snapshot_prefix`.

    Raises:
        PrototxtError: the file cannot be read, or is no solver. SolverError: `type` and `solver_type` are both given.
    """
    return upgrade.solver(prototxt.read(path, "SolverParameter"))


def _binary(data: bytes, path: str) -> Document | None:
    """The binary net; None for a text with stray control characters, whose own error says more."""
    try:
        return binary.parsed(data, path)
    except PrototxtError:
        if data.startswith(_UTF16) or (b"\0" not in data and _is_utf8(data)):
            return None
        raise


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
