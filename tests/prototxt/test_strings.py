from __future__ import annotations

import pytest

from proto2torch.prototxt import lexer, strings


def value(*quoted: str, binary: bool = False) -> str | bytes:
    """What strings side by side stand for."""
    text, parts, at = " ".join(quoted), [], 0
    for _ in quoted:
        parts.append(lexer.token(text, at))
        at = parts[-1].end
    return strings.join(parts, binary)


@pytest.mark.parametrize(
    ("quoted", "text"),
    [
        (r'"plain"', "plain"),
        (r"'it\'s'", "it's"),
        (r'"\a\b\f\n\r\t\v\\\?\'\""', "\a\b\f\n\r\t\v\\?'\""),
        (r'"\0\12\1012"', "\0\nA2"),
        (r'"\x4\x41g\X42"', "\x04AgB"),
        (r'"\303\251"', "\u00e9"),
        (r'"\u00e9\U0001F600"', "\u00e9\U0001f600"),
        (r'"\ud83d\ude00"', "\U0001f600"),
        ('"\u00e9"', "\u00e9"),
        ('""', ""),
    ],
)
def test_escapes(quoted: str, text: str) -> None:
    assert value(quoted) == text
    assert value(quoted, binary=True) == text.encode()


def test_parts_are_joined_even_within_a_character() -> None:
    assert value('"a"', "'b'", '"c"') == "abc"
    assert value(r'"\303"', r'"\251"') == "\u00e9"


def test_bytes_need_not_be_text() -> None:
    assert value(r'"\377"', '"\udce9"', binary=True) == b"\xff\xe9"


@pytest.mark.parametrize(
    ("quoted", "offset", "message"),
    [
        (r'"ab\q"', 3, r"this escape does not exist. Received: \q"),
        (r'"\xg"', 1, r"this escape does not exist. Received: \x"),
        (r'"\u12"', 1, r"this escape does not exist. Received: \u"),
        (r'"é\U00110000"', 2, r"this escape does not exist. Received: \U"),
        (r'"\8"', 1, r"this escape does not exist. Received: \8"),
        (r'"a\377"', 0, "this string is not UTF-8. Received: the byte 0xFF"),
        (r'"\ud83d"', 0, "this string is not UTF-8. Received: the byte 0xED"),
        ('"a\udce9"', 2, "this string is not UTF-8. Received: the byte 0xE9"),
    ],
)
def test_what_stands_for_nothing(quoted: str, offset: int, message: str) -> None:
    with pytest.raises(strings.NotText) as raised:
        value(quoted)
    assert (raised.value.offset, raised.value.message) == (offset, message)
