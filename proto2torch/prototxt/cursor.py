"""Where the parser is: in the text, and in the messages that are open there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from proto2torch.prototxt import advice, lexer
from proto2torch.prototxt.complaints import Complaints
from proto2torch.prototxt.document import Mark, Source
from proto2torch.prototxt.lexer import Token
from proto2torch.prototxt.tables import Field, Table, table

_LAYERS = ("LayerParameter", "V1LayerParameter", "V0LayerParameter")


class Lost(Exception):
    """The text makes no sense here; reading goes on further down."""


@dataclass(slots=True)
class Frame:
    """A message whose closing brace has not come yet."""

    name: str
    message: Any
    table: Table
    mark: Mark
    closer: str
    """Its closing brace; "" for the file itself."""
    listed: Field | None = None
    """The field, if the message is an element of a list in brackets."""

    @property
    def opener(self) -> str:
        return "<" if self.closer == ">" else "{"


class Cursor:
    """The place in the text, the open messages, and what has been found wrong so far."""

    def __init__(self, source: Source, message: Any) -> None:
        self.mark = Mark(0)
        self._source = source
        self._text = source.text
        self._at = 0
        self._ended = False
        self._stack = [Frame("", message, table(message.DESCRIPTOR), self.mark, "")]
        self._complaints = Complaints(source)
        self._resumed = -1  # the token where reading went on after an error; what is wrong there is that error's doing

    def _peek(self) -> Token:
        return lexer.token(self._text, self._at)

    def _take(self, symbol: str) -> bool:
        """Past the symbol, if it comes next."""
        token = self._peek()
        if token.kind == "symbol" and token.text == symbol:
            self._at = token.end
            return True
        return False

    def _word(self, name: str) -> str | None:
        """A bare word or number with its sign, the value of `name`; None at the end of the file."""
        sign = "-" if self._take("-") else ""
        token = self._peek()
        if token.kind == "end":
            self._end(token, name)
            return None
        if token.kind not in ("name", "number"):
            self._complain(token.start, *advice.no_value(name, self._text[token.start]))
            raise Lost
        self._at = token.end
        return sign + token.text

    def _strings(self, token: Token) -> list[Token] | None:
        """The strings that stand one after another; None, and a complaint, where one has no end."""
        parts = []
        while token.kind == "string":
            self._at = token.end
            if not token.closed:
                # at the end of the file, that the file is cut short is all there is to say
                if token.end < len(self._text) or len(self._stack) == 1:
                    self._complain(token.start, *advice.unclosed_string(token.text[0]))
                return None
            parts.append(token)
            token = self._peek()
        return parts

    def _skip_group(self, name: str, opener: Token) -> None:
        """Past a whole message or list, unread."""
        end = lexer.after_group(self._text, opener.start)
        self._at = len(self._text) if end is None else end
        if end is None:
            line = self._line(opener.start)
            self._complain(self._last_place(), f"the file ends inside {name} {opener.text} opened at line {line}")
            self._ended = True

    def _end(self, token: Token, expected: str | None = None) -> None:
        """The end of the text, which comes too soon inside a message, or where something is `expected`."""
        self._at, self._ended = token.end, True
        if len(self._stack) > 1:
            frame = self._stack[-1]
            line = self._line(frame.mark.offset)
            message = f"the file ends inside {frame.name} {frame.opener} opened at line {line}"
            self._complain(self._last_place(), message, self._suspect())
        elif expected:
            self._complain(self._last_place(), f"the file ends where a value of {expected!r} is expected")

    def _suspect(self) -> str | None:
        """The hint that names the message which the indentation shows to lack its brace."""
        outermost = self._source.where(self._stack[1].mark.offset)
        start, indent = self._stack[1].mark.offset, (outermost.column or 1) - 1
        suspect = lexer.unclosed_by_indentation(self._text, start, len(self._text), indent)
        if suspect is None:
            return None
        return f"'{suspect[0]} {{' of line {self._line(suspect[1])} seems to be the one that is not closed"

    def _line(self, offset: int) -> int:
        return self._source.where(offset).line or 0

    def _last_place(self) -> int:
        """The offset of the last character that is not white space."""
        return max(0, len(self._text.rstrip()) - 1)

    def _layer(self) -> Any:
        """The message of the layer that is being read, or None."""
        for frame in reversed(self._stack):
            if frame.table.name in _LAYERS:
                return frame.message
        return None

    def _complain(self, offset: int, message: str, hint: str | None = None) -> None:
        self._complaints.add(offset, message, hint, self._layer())

    def _complain_first(self, token: Token, offset: int, message: str, hint: str | None = None) -> None:
        """Note a problem, unless reading has just gone on at this token after another."""
        if token.start != self._resumed:
            self._complain(offset, message, hint)
