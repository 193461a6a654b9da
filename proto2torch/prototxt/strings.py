"""The quoted strings of the text format, turned into text or bytes.

A file is decoded so that bytes that are not UTF-8 survive as lone surrogates (the "surrogateescape" of Python): in a
comment, where old files have Latin-1, they do no harm; in a string they are an error here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from proto2torch.prototxt.lexer import Token

_ESCAPE = re.compile(
    rb"""\\(?: (?P<octal> [0-7]{1,3}) | [xX](?P<hex> [0-9a-fA-F]{1,2}) | (?P<letter> [abfnrtv\\?'"])
           | u(?P<short> [0-9a-fA-F]{4}) | U(?P<long> [0-9a-fA-F]{8}) )""",
    re.VERBOSE,
)
_LETTERS = dict(zip(b"abfnrtv\\?'\"", b"\a\b\f\n\r\t\v\\?'\"", strict=True))
_UNDECODABLE = re.compile("[\udc80-\udcff]")


class NotText(ValueError):
    """A string that stands for nothing; `offset` is where in the file."""

    def __init__(self, offset: int, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.offset, self.message, self.hint = offset, message, hint


def join(parts: Sequence[Token], binary: bool) -> str | bytes:
    """The value of strings that stand one after another, with their quotes; NotText where it is none."""
    raw = b"".join(_unescape(part) for part in parts)
    if binary:
        return raw
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as wrong:
        message = f"this string is not UTF-8. Received: the byte 0x{raw[wrong.start]:02X}"
        for part in parts:
            if match := _UNDECODABLE.search(part.text):
                raise NotText(part.start + match.start(), message, "save the file as UTF-8") from None
        raise NotText(parts[0].start, message) from None  # the byte came of an escape


def _unescape(part: Token) -> bytes:
    """The bytes that one quoted string stands for."""
    raw = part.text[1:-1].encode("utf-8", "surrogateescape")
    pieces: list[bytes] = []
    at = 0
    while (slash := raw.find(b"\\", at)) >= 0:
        match = _ESCAPE.match(raw, slash)
        value = _escaped(match, raw) if match else None
        if value is None:
            before = raw[:slash].decode("utf-8", "surrogateescape")
            escape = raw[slash : slash + 2].decode("utf-8", "replace")
            message = f"this escape does not exist. Received: {escape}"
            raise NotText(part.start + 1 + len(before), message, r"a backslash itself is written \\")
        pieces += raw[at:slash], value[0]
        at = value[1]
    return b"".join(pieces) + raw[at:]


def _escaped(match: re.Match[bytes], raw: bytes) -> tuple[bytes, int] | None:
    """The bytes of one escape and where it ends; None for a character beyond Unicode.

    Two escapes for the halves of a UTF-16 pair are one character.
    """
    if letter := match["letter"]:
        return bytes([_LETTERS[letter[0]]]), match.end()
    if digits := match["octal"] or match["hex"]:
        return bytes([int(digits, 8 if match["octal"] else 16) & 0xFF]), match.end()
    code, end = int(match["short"] or match["long"], 16), match.end()
    following = _ESCAPE.match(raw, end) if 0xD800 <= code < 0xDC00 else None
    if following and following["short"] and 0xDC00 <= (low := int(following["short"], 16)) < 0xE000:
        code, end = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00), following.end()
    return (chr(code).encode("utf-8", "surrogatepass"), end) if code <= 0x10FFFF else None
