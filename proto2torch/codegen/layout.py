"""Breaks long lines as ruff format does, so that what is exported is laid out already."""

from __future__ import annotations

import re
from itertools import pairwise

WIDTH = 88
_OPEN, _CLOSE = "([{", ")]}"
_QUOTIENT = re.compile(r"(\w+) = (\S.*\)) (/ [\w.]+\[\w+\])")
"""An assignment of a quotient by something indexed: it breaks at the operator, for an index does not."""


def statement(text: str, indent: int) -> list[str]:
    """A statement as lines: whole where it fits, else its last bracket opened, its arguments on one line or each."""
    pad = " " * indent
    if indent + len(text) <= WIDTH:
        return [pad + text]
    pair = _last_bracket(text)
    if pair is None or indent + pair[0] + 1 > WIDTH:
        return _in_parentheses(text, indent)
    quotient = _QUOTIENT.fullmatch(text)
    if quotient and indent + 4 + len(quotient[2]) <= WIDTH:
        target, *parts = quotient.groups()
        return [f"{pad}{target} = (", *(f"{pad}    {part}" for part in parts), f"{pad})"]
    start, end = pair
    head, body, tail = text[: start + 1], text[start + 1 : end], text[end:]
    if not body:
        return [pad + text]
    inner = " " * (indent + 4)
    parts = split_arguments(body)
    if not _is_display(head) and indent + 4 + len(body) <= WIDTH and "\n" not in body and not body.endswith(","):
        return [pad + head, inner + body, pad + tail]
    lines = [pad + head]
    for part in parts:
        lines += statement(part + ",", indent + 4)
    return [*lines, pad + tail]


def _is_display(head: str) -> bool:
    """Whether the bracket at the end of `head` opens a list, a dict or a tuple, whose parts a formatter never keeps on
    a line of their own; not arguments, an index or an expression in brackets."""
    if head[-1] == "(":
        return head.endswith(" in (")
    return not re.search(r"[\w)\]]$", head[:-1])


def _in_parentheses(text: str, indent: int) -> list[str]:
    """A statement whose first line would be too long for all that: its value in parentheses, each term of a sum on a
    line of its own where they do not fit on one; of several targets, those."""
    pad, begin = " " * indent, _assigned(text) or ("return " if text.startswith("return ") else "")
    if not begin:
        return [pad + text]
    value, inner = text[len(begin) :], indent + 4
    targets = begin.removesuffix(" = ").split(", ")
    if len(targets) > 1:
        return [f"{pad}(", *(f"{pad}    {target}," for target in targets), *statement(f") = {value}", indent)]
    terms = [value] if inner + len(value) <= WIDTH else _terms(value)
    return [f"{pad}{begin}(", *(line for term in terms for line in statement(term, inner)), f"{pad})"]


def _assigned(text: str) -> str:
    """`x = ` of an assignment, and nothing of another statement."""
    target, equals, _ = text.partition(" = ")
    return target + equals if equals and not any(bracket in target for bracket in _OPEN) else ""


def _terms(text: str) -> list[str]:
    """A sum, or a chain of products, as its terms, an operator at the head of each but the first."""
    ends = _pairs(text)
    for operators in ((" + ", " - "), (" * ", " / ")):
        places = [at for at, _ in _code(text) if text[at : at + 3] in operators]
        places = [at for at in places if not any(start < at < end for start, end in ends)]
        if places:
            cuts = [0, *(at + 1 for at in places), len(text)]
            return [text[start:end].strip() for start, end in pairwise(cuts)]
    return [text]


def _last_bracket(text: str) -> tuple[int, int] | None:
    """The outermost bracket pair that closes last."""
    last = None
    for start, end in _pairs(text):
        last = (start, end)
    return last


def _pairs(text: str) -> list[tuple[int, int]]:
    pairs, depth, start = [], 0, 0
    for at, char in _code(text):
        if char in _OPEN:
            if depth == 0:
                start = at
            depth += 1
        elif char in _CLOSE:
            depth -= 1
            if depth == 0:
                pairs.append((start, at))
    return pairs


def split_arguments(body: str) -> list[str]:
    """Arguments at the commas that stand outside every bracket and string."""
    parts, depth, start = [], 0, 0
    for at, char in _code(body):
        if char in _OPEN:
            depth += 1
        elif char in _CLOSE:
            depth -= 1
        elif char == "," and depth == 0:
            parts.append(body[start:at].strip())
            start = at + 1
    last = body[start:].strip()
    return [*parts, last] if last else parts


def _code(text: str) -> list[tuple[int, str]]:
    """The characters outside of strings."""
    out, quote, skip = [], "", False
    for at, char in enumerate(text):
        if skip:
            skip = False
        elif quote:
            if char == "\\":
                skip = True
            elif char == quote:
                quote = ""
        elif char in "\"'":
            quote = char
        else:
            out.append((at, char))
    return out
