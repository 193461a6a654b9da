"""What the parser does where something stands that should not: says so, and finds where to go on."""

from __future__ import annotations

from proto2torch.prototxt import advice, lexer
from proto2torch.prototxt.cursor import Cursor, Lost
from proto2torch.prototxt.lexer import Token
from proto2torch.prototxt.tables import Field, Kind


class Troubles(Cursor):
    """A cursor that knows the ways out of what is wrong."""

    _other_kind = False
    """Whether it was said that this file is a solver and not a net, or the reverse."""

    def _recover(self) -> None:
        """Go on at the next line, field or brace."""
        self._at = lexer.resume(self._text, self._at)
        self._take("]")
        self._resumed = self._peek().start

    def _unknown(self, name: Token) -> None:
        """A field that the message does not have; its name has been read."""
        token = self._peek()
        if token.kind == "end" and len(self._stack) > 1:
            self._end(token)
        elif self._outer_begins(name):
            self._at = name.start
        elif token.text in (":", "{", "<", "["):
            if not self._is_other_kind(name):
                self._complain(name.start, *self._unknown_advice(name))
            self._skip_value(name.text)
        else:
            self._complain_first(name, name.start, *self._unknown_advice(name))
            self._at = token.end if token.text == "=" else name.end
            raise Lost

    def _unknown_advice(self, name: Token) -> advice.Advice:
        layer = self._layer()
        layer_type = layer.type if layer is not None and isinstance(layer.type, str) else None
        path = [(frame.name, frame.table) for frame in self._stack]
        return advice.unknown_field(name.text, path, layer_type)

    def _is_other_kind(self, name: Token) -> bool:
        """Whether the file begins as a solver where a net belongs, or the reverse; that is said once."""
        root = self._stack[0]
        hint = advice.other_kind_of_file(name.text, root.table) if len(self._stack) == 1 else None
        if hint and not self._other_kind and not root.mark.fields:
            self._complain(name.start, f"{root.table.name} has no field {name.text!r}", hint)
            self._other_kind = True
        return hint is not None and self._other_kind

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
            self._complain(offset, *advice.unclosed(blamed, name.text, here.line or 0))
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
            self._strings(token)
        else:
            self._word(name)

    def _unexpected(self, token: Token) -> None:
        """Something that no field begins with."""
        pair = self._text[token.start : token.start + 2]
        if pair in ("//", "/*"):
            self._complain(token.start, f"prototxt comments begin with '#', not with '{pair}'")
            end = self._text.find("*/" if pair == "/*" else "\n", token.end)
            self._at = len(self._text) if end < 0 else end + 2 * (pair == "/*")
        elif token.text == "[":
            self._complain(token.start, "extensions, [name] in brackets, are no part of Caffe's messages")
            self._skip_group("", token)
            self._skip_value("")
        else:
            after_comma = self._text[self._at - 1 : self._at] == ","
            self._complain_first(token, token.start, *advice.unexpected(token.text, token.kind, after_comma))
            self._at = token.end
            raise Lost

    def _no_colon(self, field: Field, name: Token, token: Token) -> None:
        """A known field without its colon, or brace; goes on only if the value is there all the same."""
        wanted = "'{'" if field.kind is Kind.MESSAGE else "':'"
        message = f"expected {wanted} after {name.text!r}. Received: {advice.shown(token.text)}"
        self._complain_first(name, token.start, message)
        if token.text == "=":
            self._at = token.end
        elif token.kind == "symbol" or self._text.count("\n", name.end, token.start):
            raise Lost

    def _wrong_word(self, field: Field, word: str, token: Token) -> None:
        """A bare word that the field does not take; what follows on its line is taken for a part of it."""
        self._complain(token.start, *advice.wrong_word(field, word, self._stack[-1].table))
        following = self._peek()
        if self._text.count("\n", self._at, following.start):
            return
        if following.kind == "string" and not following.closed:
            self._at = following.start + 1  # the quote that ends what had none at its beginning
        else:
            self._resumed = following.start

    def _stray_brace(self, brace: Token) -> None:
        """A closing brace outside of every message."""
        self._at = brace.end
        closed = [(marks[-1].offset, name) for name, marks in self.mark.fields.items() if marks[-1].fields]
        hint = None
        if closed:
            offset, name = max(closed)
            hint = f"'{name} {{' of line {self._line(offset)} was closed before"
        self._complain_first(brace, brace.start, f"this '{brace.text}' closes nothing", hint)
