"""The words for what is wrong in a prototxt, and what may have been meant."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from proto2torch.errors import did_you_mean
from proto2torch.prototxt.tables import Field, Kind, Table

_LONGEST_WORD = 64  # what is longer has no near neighbour among names
_MOST_CHOICES = 8
_MOST_HOMES = 4
_KINDS_OF_FILE = {"NetParameter": ("a net", "SolverParameter"), "SolverParameter": ("a solver", "NetParameter")}

Advice = tuple[str, str | None]
"""A message and a hint."""


def shown(text: str) -> str:
    """A piece of the user's text as a message quotes it: short, and with what cannot be seen spelled out."""
    text = text if len(text) <= _LONGEST_WORD else text[: _LONGEST_WORD - 3] + "..."
    return "".join(c if c.isprintable() else f"U+{ord(c):04X}" for c in text)


def unknown_field(name: str, path: Sequence[tuple[str, Table]], layer_type: str | None) -> Advice:
    """A field that the innermost message of `path` lacks; the path names each message and gives its table."""
    table = path[-1][1]
    hint = _home(name, path, layer_type) or _closest(name, tuple(table.fields))
    return f"{table.name} has no field {shown(name)!r}", hint


def other_kind_of_file(name: str, table: Table) -> str | None:
    """The hint for a solver's field in a net, or a net's in a solver."""
    if table.name not in _KINDS_OF_FILE:
        return None
    this, other_name = _KINDS_OF_FILE[table.name]
    other = table.sibling(other_name)
    if other is None or name not in other.fields:
        return None
    return f"{name!r} is a field of {other_name}: this file is {_KINDS_OF_FILE[other_name][0]}, not {this}"


def wrong_word(field: Field, word: str, table: Table) -> Advice:
    """A bare word, or a number, that the field of `table` does not take."""
    if field.kind is not Kind.WORD:
        return _takes(field, word), _unquoted(field, word, table)
    if field.choices:
        return f"{table.name}.{field.name} has no value {shown(word)!r}", _choice(field, word)
    return _takes(field, word), _integral(field, word)


def wrong_string(field: Field, text: str, table: Table) -> Advice:
    """A quoted string where a bare word belongs."""
    message = _takes(field, f'"{shown(text)}"')
    if table.name == "V1LayerParameter" and field.name == "type":
        return message, "layers { } is the older format, with types like CONVOLUTION; quoted types go in layer { }"
    try:
        field.convert(text)
    except ValueError:
        return message, _choice(field, text) if field.choices else None
    return message, f"without the quotes: {field.name}: {text}"


def wrong_message(field: Field) -> Advice:
    """A message where a value belongs."""
    return _takes(field, "{"), None


def unexpected(text: str, kind: str, after_comma: bool) -> Advice:
    """A token where the name of a field, or the end of its message, belongs."""
    received = "a string" if kind == "string" else shown(text)
    hint = "a fraction is written with a point" if kind == "number" and after_comma else _typeset(text)
    return f"expected the name of a field. Received: {received}", hint


def unclosed_string(quote: str) -> Advice:
    """A string without its second quote."""
    return "this string is not closed", f"a string ends on the line where it begins, with a {quote}"


def no_value(name: str, text: str) -> Advice:
    """A token where the value of the field `name` belongs."""
    return f"expected a value of {name!r}. Received: {shown(text)}", _typeset(text)


def unclosed(name: str, next_name: str, line: int) -> Advice:
    """A message that still is open where, at `line`, the field of an outer one begins."""
    return f"'{name} {{' is not closed", f"a '}}' is missing before line {line}, where {next_name!r} begins"


def _takes(field: Field, received: str) -> str:
    return f"{field.name!r} takes {field.takes}. Received: {shown(received)}"


def _unquoted(field: Field, word: str, table: Table) -> str | None:
    """The hint for a bare word where a string, or a message, belongs."""
    if field.kind is Kind.MESSAGE:
        return None
    older = table.sibling("V1LayerParameter")
    if table.name == "LayerParameter" and field.name == "type" and older and word in older.fields["type"].choices:
        return f'{word} is a type of the older layers {{ }}; those of layer {{ }} are quoted, like "Convolution"'
    return f'strings are quoted: {field.name}: "{shown(word)}"'


def _choice(field: Field, word: str) -> str:
    """The hint for a value that an enum does not have."""
    near, first = _closest(word, field.choices), field.choices[:_MOST_CHOICES]
    rest = len(field.choices) - len(first)
    every = ", ".join(first) + (f" and {rest} more" if rest else "")
    return f"{near} The values are {every}" if near else f"the values are {every}"


def _integral(field: Field, word: str) -> str | None:
    """The hint for a number with a point where an integer belongs."""
    whole, point, fraction = word.partition(".")
    if not point or fraction.strip("0fF"):
        return None
    try:
        field.convert(whole)
    except ValueError:
        return None
    return f"an integer has no point: {field.name}: {whole}"


def _typeset(text: str) -> str | None:
    """The hint for characters that a word processor or a web page puts in."""
    if text and text in "\u201c\u201d\u201e\u2018\u2019\u00ab\u00bb":
        return "quotes are \" or ', typed plain"
    return "this character is not plain text" if text and not text.isascii() else None


def _home(name: str, path: Sequence[tuple[str, Table]], layer_type: str | None) -> str | None:
    """The hint that names the messages nearby that have the field."""
    for depth in range(len(path) - 1, -1, -1):
        message, table = path[depth]
        if name in table.fields:
            return f"{name!r} belongs in {message} {{ }}" if depth else f"{name!r} belongs outside of every {{ }}"
        homes = [f.name for f in table.messages if name in f.table.fields]
        own = [h for h in homes if layer_type and h.replace("_", "").startswith(layer_type.lower())]
        if homes:
            return f"{name!r} belongs in {_any_of([f'{h} {{ }}' for h in own[:1] or homes[:_MOST_HOMES]])}"
    return None


def _any_of(words: Sequence[str]) -> str:
    return " or ".join(filter(None, (", ".join(words[:-1]), words[-1])))


@lru_cache(4096)
def _closest(word: str, known: tuple[str, ...]) -> str | None:
    return did_you_mean(word, known) if len(word) <= _LONGEST_WORD else None
