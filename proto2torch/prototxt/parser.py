"""The parser of the text format: fills a message and the tree of marks beside it, and goes on after an error.

Two readers take turns. `_plain_fields` takes the ordinary fields, one regular expression match each, and stops before
whatever is not ordinary: a list, a string of several parts, an error. `_field` reads that one field token by token,
says what is wrong with it and leaves the text where reading can go on.
"""

from __future__ import annotations

from typing import Any

from proto2torch.errors import PrototxtError
from proto2torch.prototxt import advice, strings
from proto2torch.prototxt.complaints import Enough
from proto2torch.prototxt.cursor import Frame, Lost
from proto2torch.prototxt.document import Mark
from proto2torch.prototxt.lexer import PLAIN, PLAIN_CLOSE, PLAIN_LIST, PLAIN_OPEN, PLAIN_WORD, WORD, Token
from proto2torch.prototxt.tables import Field, Kind
from proto2torch.prototxt.troubles import Troubles

_DEEPEST = 100


class Parser(Troubles):
    """One text on its way into one message; `mark` is the root of the marks."""

    def parse(self) -> list[PrototxtError]:
        """Read the whole text and give its problems."""
        try:
            while not self._ended:
                self._plain_fields()
                try:
                    self._field()
                except Lost:
                    self._recover()
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

    def _enter(self, field: Field, offset: int, closer: str, listed: bool = False) -> Frame:
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
        frame = Frame(field.name, message, field.table, mark, closer, field if listed else None)
        self._stack.append(frame)
        return frame

    def _leave(self) -> Frame:
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
        elif token.kind == "symbol" and token.text in ",;" and self._may_separate():
            self._at = token.end
        else:
            self._unexpected(token)

    def _may_separate(self) -> bool:
        """Whether a comma or semicolon may stand here: after a field, and only one."""
        return self._at > 0 and self._text[self._at - 1] not in "{<[,;"

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

    def _check_once(self, field: Field, name: Token) -> None:
        earlier = self._stack[-1].mark.fields.get(field.name)
        if earlier and not field.repeated:
            self._complain(name.start, f"{field.name!r} is given twice, first at line {self._line(earlier[0].offset)}")

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
        if self._take("]") or self._plain_list(field):
            return
        if field.kind is Kind.MESSAGE:
            self._message(field, self._peek().start, listed=True)
            return
        while True:
            offset = self._peek().start
            self._set(field, offset, self._value(field))
            if self._list_ends(field):
                return

    def _plain_list(self, field: Field) -> bool:
        """Take the rest of a list of words, if it is one and right."""
        match = PLAIN_LIST.match(self._text, self._at)
        if match is None:
            return False
        words = list(WORD.finditer(self._text, self._at, match.end()))
        try:
            values = [field.convert(word[0]) for word in words]
        except ValueError:
            return False
        frame = self._stack[-1]
        getattr(frame.message, field.name).extend(values)
        frame.mark.fields.setdefault(field.name, []).extend(Mark(word.start()) for word in words)
        self._at = match.end()
        return True

    def _list_ends(self, field: Field) -> bool:
        """Past the comma after an element, or past the end of the list."""
        if self._take("]"):
            return True
        if self._take(","):
            return False
        token = self._peek()
        if token.kind == "end":
            self._end(token, field.name)
            return True
        message = f"expected ',' or ']' in a list. Received: {advice.shown(token.text)}"
        self._complain_first(token, token.start, message)
        raise Lost

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
        if len(self._stack) == 1:
            self._stray_brace(brace)
            return
        self._at = brace.end
        frame = self._stack[-1]
        if brace.text != frame.closer:
            line = self._line(frame.mark.offset)
            self._complain(brace.start, f"'{frame.name} {frame.opener}' of line {line} is closed by '{brace.text}'")
        self._leave()
        if frame.listed and not self._list_ends(frame.listed):
            self._message(frame.listed, self._peek().start, listed=True)

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
            self._wrong_word(field, word, token)
            return None

    def _string(self, field: Field, token: Token) -> Any:
        """The value of strings that stand one after another; None, and a complaint, where it is not the field's."""
        parts = self._strings(token)
        if parts is None:
            return None
        if field.kind not in (Kind.TEXT, Kind.BYTES):
            text = "".join(part.text[1:-1] for part in parts)
            self._complain(token.start, *advice.wrong_string(field, text, self._stack[-1].table))
            return None
        try:
            return strings.join(parts, field.kind is Kind.BYTES)
        except strings.NotText as wrong:
            self._complain(wrong.offset, wrong.message, wrong.hint)
            return None
