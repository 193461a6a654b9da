"""Prototxt: text in, a message and the place of each of its fields out; and back to text.

    document = read("solver.prototxt", "SolverParameter")
    document.message.base_lr, document.where("base_lr").line

All that is wrong with a text is said at once: `PrototxtError` for one problem, `Problems` for several.
"""

from __future__ import annotations

import re
from typing import Any

from proto2torch.errors import PrototxtError, Where, raise_problems, unreadable
from proto2torch.prototxt import schema
from proto2torch.prototxt.document import Document, Source
from proto2torch.prototxt.parser import Parser

_BYTE_ORDER_MARK = "\ufeff"
_LOOKED_AT = 1 << 16  # bytes of a file that show whether it is text
_CONTROLS = re.compile(rb"[\x00-\x08\x0e-\x1f\x7f]")
_COMMENT = re.compile(rb"#[^\n]*")


def parse(text: str, message: str, path: str | None = None) -> Document:
    """The message, named such as "NetParameter", that `text` is; `path` is the file that errors name.

    Raises PrototxtError or Problems for whatever protobuf's own parser refuses, and for a text without any field.
    """
    source = Source(text.removeprefix(_BYTE_ORDER_MARK), path)
    value = schema.new(message)
    parser = Parser(source, value)
    raise_problems(parser.parse())
    if not parser.mark.fields:
        what = "there are only comments in it" if source.text.strip() else "it is empty"
        raise PrototxtError(f"{what}: expected the fields of a {message}", where=Where(file=path))
    return Document(value, parser.mark, source)


def read(path: str, message: str) -> Document:
    """The message that the file at `path` is, as `parse` has it; PrototxtError for a file that is not text."""
    return decode(load(path), message, path)


def load(path: str) -> bytes:
    """The bytes of a file; PrototxtError where the operating system does not give them."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        unreadable(path, error, PrototxtError)


def decode(raw: bytes, message: str, path: str | None = None) -> Document:
    """The message that the bytes of a text file are, as `parse` has it; PrototxtError if they are not text."""
    _refuse_other_files(raw[:_LOOKED_AT], path)
    return parse(raw.decode("utf-8", "surrogateescape"), message, path)


def dump(message: Any) -> str:
    """The message as text, each float32 in the fewest digits that give it back."""
    from google.protobuf import text_format

    return str(text_format.MessageToString(message, as_utf8=True))


def _refuse_other_files(head: bytes, path: str | None) -> None:
    """Raise PrototxtError if a file begins like something other than a prototxt."""
    where = Where(file=path)
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise PrototxtError("it is UTF-16 text", where=where, hint="save the file as UTF-8")
    text = _COMMENT.sub(b"", head)
    controls = len(_CONTROLS.findall(text))
    if b"\0" in text or controls * 50 > len(text):
        hint = "weights, .caffemodel, are given beside a net and not in its place"
        raise PrototxtError("it looks like a binary file, not like a prototxt", where=where, hint=hint)
    if text.lstrip()[:1] == b"<" and b"html" in text[:1024].lower():
        hint = "it may be the page that shows the file; fetch the raw file instead"
        raise PrototxtError("it is a web page, not a prototxt", where=where, hint=hint)
