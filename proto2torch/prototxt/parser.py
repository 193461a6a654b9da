"""The parser of the text format: fills a message and the tree of marks beside it, and goes on after an error.

Two readers take turns. `_plain_fields` takes the ordinary fields, one regular expression match each, and stops before
whatever is not ordinary: a list, a string of several parts, an error. `_field` reads that one field token by token,
says what is wrong with it and leaves the text where reading can go on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from proto2torch.errors import PrototxtError
from proto2torch.prototxt import advice, lexer
from proto2torch.prototxt.complaints import Complaints, Enough
from proto2torch.prototxt.document import Mark, Source
from proto2torch.prototxt.lexer import PLAIN, PLAIN_CLOSE, PLAIN_OPEN, PLAIN_WORD, Token
from proto2torch.prototxt.strings import NotText, join
from proto2torch.prototxt.tables import Field, Kind, Table, table

_DEEPEST = 100
_LAYERS = ("LayerParameter", "V1LayerParameter", "V0LayerParameter")


@dataclass(slots=True)
class _Frame:
    """A message whose closing brace has not come yet."""

    name: str
    message: Any
    table: Table
    mark: Mark
    closer: str
    """Its closing brace; "" for the file itself."""
    listed: Field | None = None
    """The field, if the message is an element of a list in brackets."""


class _Lost(Exception):
    """The text makes no sense here; reading goes on further down."""


class Parser:
    """One text on its way into one message."""

    def __init__(self, source: Source, message: Any) -> None:
        self._text = source.text
        self._source = source
        self._complaints = Complaints(source)
        self.mark = Mark(0)
        self._stack = [_Frame("", message, table(message.DESCRIPTOR), self.mark, "")]
        self._at = 0
        self._ended = False
        self._resumed = -1  # where reading went on after an error; what is wrong there is that error's doing
        self._other_kind = False  # whether it was said that this is a solver and not a net, or the reverse

    def parse(self) -> list[PrototxtError]:
        """Read the whole text and give its problems."""
        try:
            while not self._ended:
                self._plain_fields()
                try:
                    self._field()
                except _Lost:
                    self._at = lexer.resume(self._text, self._at)
                    self._take("]")
                    self._resumed = self._peek().start
        except Enough:
            pass
        return self._complaints.errors()

    def _plain_fields(self) -> None:
        """Take fields as long as they are ordinary and right. This loop is what parsing costs."""
        stack, text_kind, message_kind = self._stack, Kind.TEXT, Kind.MESSAGE
        frame = stack[-1]
        message, fields, marks = frame.message, frame.table.fields, frame.mark.fields
        for match in PLAIN.finditer(self._text, self._at):
            shape = match.lastindex
            if shape is None:
                break
            if shape == PLAIN_CLOSE:
                if frame.closer != "}" or frame.listed is not None:
                    break
                frame = self._leave()
                message, fields, marks = frame.message, frame.table.fields, frame.mark.fields
                continue
            name = match[1]
            field = fields.get(name)
            if field is None:
                break
            earlier = marks.get(name)
            if earlier is not None and not field.repeated:
                break
            if shape == PLAIN_OPEN:
                if field.kind is not message_kind or len(stack) > _DEEPEST:
                    break
                frame = self._enter(field, match.start(1), "}")
                message, fields, marks = frame.message, frame.table.fields, frame.mark.fields
                continue
            if shape == PLAIN_WORD:
                try:
                    value = field.convert(match[2])
                except ValueError:
                    break
            else:
                value = match[shape]
                if field.kind is not text_kind or not value.isascii():
                    break
            if field.repeated:
                getattr(message, name).append(value)
            else:
                setattr(message, name, value)
            if earlier is None:
                marks[name] = [Mark(match.start(1))]
            else:
                earlier.append(Mark(match.start(1)))
        self._at = match.start()

    def _enter(self, field: Field, offset: int, closer: str, listed: bool = False) -> _Frame:
        """Begin the message of a field."""
        outer = self._stack[-1]
        message = getattr(outer.message, field.name)
        earlier = outer.mark.fields.setdefault(field.name, [])
        if field.repeated:
            message = message.add()
        elif earlier:
            message = type(message)()  # given twice: read for its own problems only
        else:
            message.SetInParent()
        mark = Mark(offset)
        earlier.append(mark)
        frame = _Frame(field.name, message, field.table, mark, closer, field if listed else None)
        self._stack.append(frame)
        return frame

    def _leave(self) -> _Frame:
        """End the innermost message and give the one around it."""
        frame = self._stack[-1]
        for name in frame.table.required:
            if name not in frame.mark.fields:
                self._complain(frame.mark.offset, f"{frame.table.name} needs a value of {name!r}")
        self._stack.pop()
        return self._stack[-1]

    # what follows reads one field, or one brace, with care

    def _field(self) -> None:
        token = self._peek()
        if token.kind == "name":
            self._named(token)
        elif token.kind == "end":
            self._end(token)
        elif token.kind == "symbol" and token.text in "}>":
            self._close(token)
        elif token.kind == "symbol" and token.text in ",;" and self._at and self._text[self._at - 1] not in "{<[,;":
            self._at = token.end
        else:
            self._unexpected(token)

    def _named(self, name: Token) -> None:
        """A field, from its name on."""
        field = self._stack[-1].table.fields.get(name.text)
        self._at = name.end
        if field is None:
            self._unknown(name)
            return
        colon = self._take(":")
        token = self._peek()
        if token.kind == "end":
            self._end(token, name.text)
            return
        opens = field.kind is Kind.MESSAGE and token.text in ("{", "<", "[")
        if not colon and not opens:
            self._no_colon(field, name, token)
        self._check_once(field, name)
        if token.text == "[":
            self._list(field, token)
        elif field.kind is Kind.MESSAGE:
            self._message(field, name.start)
        else:
            self._set(field, name.start, self._value(field))

    def _no_colon(self, field: Field, name: Token, token: Token) -> None:
        """Say that a colon, or a brace, is missing; go on only if the value is there all the same."""
        wanted = "'{'" if field.kind is Kind.MESSAGE else "':'"
        message = f"expected {wanted} after {name.text!r}. Received: {advice.shown(token.text)}"
        self._complain_first(name, token.start, message)
        if token.text == "=":
            self._at = token.end
        elif token.kind == "symbol" or self._text.count("\n", name.end, token.start):
            raise _Lost

    def _check_once(self, field: Field, name: Token) -> None:
        earlier = self._stack[-1].mark.fields.get(field.name)
        if earlier and not field.repeated:
            line = self._source.where(earlier[0].offset).line
            self._complain(name.start, f"{field.name!r} is given twice, first at line {line}")

    def _set(self, field: Field, offset: int, value: Any) -> None:
        """Store a value; None stands for one that was wrong."""
        frame = self._stack[-1]
        marks = frame.mark.fields.setdefault(field.name, [])
        if value is not None and field.repeated:
            getattr(frame.message, field.name).append(value)
        elif value is not None and not marks:
            setattr(frame.message, field.name, value)
        marks.append(Mark(offset))

    def _list(self, field: Field, bracket: Token) -> None:
        """`[value, value]`, from the bracket on."""
        if not field.repeated:
            self._complain(bracket.start, f"{field.name!r} takes one value, not a list")
            self._skip_group(field.name, bracket)
            return
        self._at = bracket.end
        if self._take("]"):
            return
        if field.kind is Kind.MESSAGE:
            self._message(field, self._peek().start, listed=True)
            return
        while True:
            offset = self._peek().start
            self._set(field, offset, self._value(field))
            if self._list_ends():
                return

    def _list_ends(self) -> bool:
        """Past the comma after an element, or past the end of the list."""
        if self._take("]"):
            return True
        if not self._take(","):
            token = self._peek()
            if token.kind == "end":
                self._end(token, "]")
                return True
            self._complain(token.start, f"expected ',' or ']' in a list. Received: {advice.shown(token.text)}")
            raise _Lost
        return False

    def _message(self, field: Field, offset: int, listed: bool = False) -> None:
        """A message, from its brace on."""
        token = self._peek()
        if token.text not in ("{", "<"):
            self._value(field)
        elif len(self._stack) > _DEEPEST:
            self._complain(offset, f"messages are nested deeper than {_DEEPEST}")
            self._skip_group(field.name, token)
        else:
            self._at = token.end
            self._enter(field, offset, "}" if token.text == "{" else ">", listed)

    def _close(self, brace: Token) -> None:
        """A closing brace, and in a list of messages what follows it."""
        frame = self._stack[-1]
        self._at = brace.end
        if len(self._stack) == 1:
            self._complain_first(brace, brace.start, f"this '{brace.text}' closes nothing", self._last_closed())
            return
        if brace.text != frame.closer:
            line = self._source.where(frame.mark.offset).line
            opener = "{" if frame.closer == "}" else "<"
            self._complain(brace.start, f"'{frame.name} {opener}' of line {line} is closed by '{brace.text}'")
        self._leave()
        if frame.listed and not self._list_ends():
            self._message(frame.listed, self._peek().start, listed=True)

    def _last_closed(self) -> str | None:
        """The hint that names the message which ended last before a brace too many."""
        closed = [(marks[-1].offset, name) for name, marks in self.mark.fields.items() if marks[-1].fields]
        if not closed:
            return None
        offset, name = max(closed)
        return f"'{name} {{' of line {self._source.where(offset).line} was closed before"

    def _value(self, field: Field) -> Any:
        """The value of a scalar field; None, and a complaint, where it is not one."""
        token = self._peek()
        if token.kind == "string":
            return self._string(field, token)
        if token.text in ("{", "<"):
            self._complain(token.start, *advice.wrong_message(field))
            self._skip_group(field.name, token)
            return None
        word = self._word(field.name)
        if word is None:
            return None
        try:
            return field.convert(word)
        except ValueError:
            self._complain(token.start, *advice.wrong_word(field, word, self._stack[-1].table))
            self._expect_nothing_on_this_line()
            return None

    def _word(self, name: str) -> str | None:
        """A bare word or number, with its sign; None at the end of the file."""
        sign = "-" if self._take("-") else ""
        token = self._peek()
        if token.kind == "end":
            self._end(token, name)
            return None
        if token.kind not in ("name", "number"):
            self._complain(token.start, *advice.no_value(name, self._text[token.start : token.start + 1]))
            raise _Lost
        self._at = token.end
        return sign + token.text

    def _string(self, field: Field, token: Token) -> Any:
        """The value of a string's parts."""
        parts = self._string_parts(token)
        if parts is None:
            return None
        if field.kind not in (Kind.TEXT, Kind.BYTES):
            text = "".join(part.text[1:-1] for part in parts)
            self._complain(token.start, *advice.wrong_string(field, text, self._stack[-1].table))
            return None
        try:
            return join(parts, field.kind is Kind.BYTES)
        except NotText as wrong:
            self._complain(wrong.offset, wrong.message, wrong.hint)
            return None

    def _string_parts(self, token: Token) -> list[Token] | None:
        """The strings that stand one after another; None, and a complaint, where one has no end."""
        parts = []
        while token.kind == "string":
            self._at = token.end
            if not token.closed:
                if token.end == len(self._text) and len(self._stack) > 1:
                    return None  # cut short, and said so when the end is reached
                self._complain(token.start, "this string is not closed", f"it ends on its line, with a {token.text[0]}")
                return None
            parts.append(token)
            token = self._peek()
        return parts

    # what follows deals with what should not be there

    def _unknown(self, name: Token) -> None:
        """A field that the message does not have."""
        token = self._peek()
        if token.kind == "end" and len(self._stack) > 1:
            self._end(token)
            return
        if self._outer_begins(name):
            self._at = name.start
            return
        if token.text not in (":", "{", "<", "["):
            self._complain_unknown(name)
            self._at = name.end + (token.text == "=" and token.end - name.end)
            raise _Lost
        self._complain_unknown(name)
        self._skip_value(name.text)

    def _complain_unknown(self, name: Token) -> None:
        root = self._stack[0]
        if len(self._stack) == 1:
            hint = advice.other_kind_of_file(name.text, root.table)
            if hint and self._other_kind:
                return
            if hint and not root.mark.fields:
                self._other_kind = True
                self._complain(name.start, f"{root.table.name} has no field {name.text!r}", hint)
                return
        layer = self._layer()
        kind = layer.type if layer is not None and isinstance(layer.type, str) else None
        path = [(frame.name, frame.table) for frame in self._stack]
        self._complain_first(name, name.start, *advice.unknown_field(name.text, path, kind))

    def _outer_begins(self, name: Token) -> bool:
        """Whether a field of an outer message, by its indentation, stands here for want of a brace before it.

        Then that is said and the messages between are left.
        """
        for depth in range(len(self._stack) - 1, 0, -1):
            if name.text not in self._stack[depth - 1].table.fields:
                continue
            inner, here = self._stack[depth], self._source.where(name.start)
            opened = self._source.where(inner.mark.offset)
            if opened.line == here.line or (here.column or 0) > (opened.column or 0):
                continue
            indent = (opened.column or 1) - 1
            suspect = lexer.unclosed_by_indentation(self._text, inner.mark.offset, name.start, indent)
            blamed, offset = suspect or (inner.name, inner.mark.offset)
            self._complain(offset, *advice.unclosed(blamed, name.text, here.line))
            del self._stack[depth:]
            return True
        return False

    def _skip_value(self, name: str) -> None:
        """Past the value of a field that is not known."""
        self._take(":")
        token = self._peek()
        if token.text in ("{", "<", "["):
            self._skip_group(name, token)
        elif token.kind == "string":
            self._string_parts(token)
        else:
            self._word(name)

    def _skip_group(self, name: str, opener: Token) -> None:
        """Past a whole message or list."""
        end = lexer.after_group(self._text, opener.start)
        self._at = len(self._text) if end is None else end
        if end is None:
            line = self._source.where(opener.start).line
            self._complain(self._last_place(), f"the file ends inside {name} {opener.text} opened at line {line}")
            self._ended = True

    def _unexpected(self, token: Token) -> None:
        """Something that no field begins with."""
        pair = self._text[token.start : token.start + 2]
        if pair in ("//", "/*"):
            self._complain(token.start, *advice.unexpected(pair, "comment"))
            end = self._text.find("*/" if pair == "/*" else "\n", token.end)
            self._at = len(self._text) if end < 0 else end + 2 * (pair == "/*")
            return
        if token.text == "[":
            self._complain(token.start, "extensions, [name] in brackets, are no part of Caffe's messages")
            self._skip_group("", token)
            self._skip_value("")
            return
        self._complain_first(token, token.start, *advice.unexpected(token.text, token.kind))
        self._at = token.end
        raise _Lost

    def _end(self, token: Token, expected: str | None = None) -> None:
        """The end of the text, which may come too soon."""
        self._at, self._ended = token.end, True
        if len(self._stack) > 1:
            frame, outermost = self._stack[-1], self._stack[1]
            line, column = self._line(frame), self._source.where(outermost.mark.offset).column or 1
            opener = "{" if frame.closer == "}" else "<"
            suspect = lexer.unclosed_by_indentation(self._text, outermost.mark.offset, token.end, column - 1)
            hint = None
            if suspect:
                where = self._source.where(suspect[1])
                hint = f"'{suspect[0]} {{' of line {where.line} seems to be the one that is not closed"
            self._complain(self._last_place(), f"the file ends inside {frame.name} {opener} opened at line {line}", hint)
        elif expected:
            self._complain(self._last_place(), f"the file ends where a value of {expected!r} is expected")

    # what all of this stands on

    def _peek(self) -> Token:
        return lexer.token(self._text, self._at)

    def _take(self, symbol: str) -> bool:
        """Past the symbol, if it comes next."""
        token = self._peek()
        if token.kind == "symbol" and token.text == symbol:
            self._at = token.end
            return True
        return False

    def _line(self, frame: _Frame) -> int | None:
        return self._source.where(frame.mark.offset).line

    def _last_place(self) -> int:
        """The offset of the last character that is not white space."""
        return max(0, len(self._text.rstrip()) - 1)

    def _layer(self) -> Any:
        """The message of the layer that is being read, or None."""
        for frame in reversed(self._stack):
            if frame.table.name in _LAYERS:
                return frame.message
        return None

    def _expect_nothing_on_this_line(self) -> None:
        """What follows a wrong value on its line is taken for a part of it."""
        start = self._peek().start
        if not self._text.count("\n", self._at, start):
            self._resumed = start

    def _complain_first(self, token: Token, offset: int, message: str, hint: str | None = None) -> None:
        """Note a problem, unless reading has just gone on at this token after another."""
        if token.start != self._resumed:
            self._complain(offset, message, hint)

    def _complain(self, offset: int, message: str, hint: str | None = None) -> None:
        self._complaints.add(offset, message, hint, self._layer())
