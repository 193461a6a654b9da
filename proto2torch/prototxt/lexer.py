"""The tokens of protobuf's text format, and the ways over text that is not understood.

Offsets go in and come out: nothing here knows of lines, fields or messages. Every expression is possessive, so that no
text makes it go back and forth.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_BLANK = r"\s*+(?:\#[^\n]*+\s*+)*+"
_NAME = r"[A-Za-z_]\w*+"
_STRING = r"\"(?:[^\"\\\n]|\\[^\n])*+\"?+ | '(?:[^'\\\n]|\\[^\n])*+'?+"
_FLAGS = re.ASCII | re.VERBOSE

PLAIN_NAME, PLAIN_WORD, PLAIN_TEXT, PLAIN_QUOTED, PLAIN_OPEN, PLAIN_CLOSE = range(1, 7)

PLAIN = re.compile(
    rf"""
    {_BLANK}
    (?: ({_NAME}) \s*+
        (?: : \s*+ (?: ([-+.\w]++)
                     | "([^"\\\n]*+)" (?! {_BLANK} ["'])
                     | '([^'\\\n]*+)' (?! {_BLANK} ["']) )
          | :?+ \s*+ ({{) )
      | (}}) )?+
    """,
    _FLAGS,
)
"""One ordinary field, `name: word`, `name: "text"` or `name {`, or a closing brace: what nearly all of a prototxt is.

It matches at every offset, with no group where something else stands; `lastindex` says which group closed the match.
A string that another string may continue is something else.
"""

PLAIN_LIST = re.compile(r"\s*+ [-+.\w]++ (?: \s*+ , \s*+ [-+.\w]++ )*+ \s*+ \]", _FLAGS)
"""The rest of a list of words, after its bracket."""

WORD = re.compile(r"[-+.\w]++", _FLAGS)

_TOKEN = re.compile(
    rf"""
    {_BLANK}
    (?: (?P<name> {_NAME})
      | (?P<number> \.?[0-9] (?: [eE][-+][0-9] | [\w.] )*+ )
      | (?P<string> {_STRING})
      | (?P<symbol> [^\s\#]) )?+
    """,
    _FLAGS | re.DOTALL,
)

_NESTING = re.compile(rf"{_STRING} | \#[^\n]*+ | (?P<open> [{{<\[] ) | (?P<close> [}}>\]] )", _FLAGS)
_RESUME = re.compile(
    rf"""
    (?P<field> {_NAME} (?= \s*+ [:{{<] )) | \w++ | {_STRING} | \#[^\n]*+
    | (?P<line> \n ) | (?P<open> [{{<\[] ) | (?P<close> [}}>\]] )
    """,
    _FLAGS,
)
_INDENTED = re.compile(
    rf"""
    (?P<line> \n[ \t]*+ ) | (?P<open> (?: (?P<name> {_NAME} ) [ \t]*+ :?+ [ \t]*+ )?+ [{{<] ) | (?P<close> [}}>] )
    | \w++ | {_STRING} | \#[^\n]*+
    """,
    _FLAGS,
)


class Token(NamedTuple):
    """A piece of the text: its kind, `name`, `number`, `string`, `symbol` or `end`, and where it stands."""

    kind: str
    start: int
    end: int
    text: str

    @property
    def closed(self) -> bool:
        """Whether a string ends with the quote that it began with."""
        return len(self.text) > 1 and self.text[-1] == self.text[0] and not _dangling(self.text)


def _dangling(text: str) -> bool:
    """Whether the last quote of a string is an escaped one."""
    inside = text[1:-1]
    return (len(inside) - len(inside.rstrip("\\"))) % 2 == 1


def token(text: str, at: int) -> Token:
    """The token at or after `at`, past white space and comments."""
    match = _TOKEN.match(text, at)
    assert match is not None  # every part of the expression is optional
    kind = match.lastgroup
    if kind is None:
        return Token("end", match.end(), match.end(), "")
    start, end = match.span(kind)
    return Token(kind, start, end, text[start:end])


def after_group(text: str, at: int) -> int | None:
    """Where the brace or bracket that opens at `at` is closed; None where the text ends before that."""
    depth = 0
    for match in _NESTING.finditer(text, at):
        if match.lastgroup == "open":
            depth += 1
        elif match.lastgroup == "close":
            depth -= 1
            if depth == 0:
                return match.end()
    return None


def resume(text: str, at: int) -> int:
    """Where to go on after what is not understood: the next line, field or closing brace, past whole groups."""
    depth = 0
    for match in _RESUME.finditer(text, at):
        if match.lastgroup == "open":
            depth += 1
        elif match.lastgroup == "close":
            if depth == 0:
                return match.start()
            depth -= 1
        elif match.lastgroup is not None and depth == 0:
            return match.start()
    return len(text)


def unclosed_by_indentation(text: str, start: int, end: int, indent: int) -> tuple[str, int] | None:
    """The first message between the two offsets whose brace, by the indentation of the lines, closes another.

    Its name and its offset. `indent` is the indentation of the line that `start` is on.
    """
    openers: list[tuple[str, int, int]] = []
    first = True
    for match in _INDENTED.finditer(text, start, end):
        if match["line"] is not None:
            indent, first = match.end() - match.start() - 1, True
            continue
        if match["open"] is not None:
            openers.append((match["name"] or "", match.start(), indent))
        elif match["close"] is not None and openers:
            name, offset, opened_at = openers.pop()
            if first and indent < opened_at:
                return name, offset
        first = False
    return None
