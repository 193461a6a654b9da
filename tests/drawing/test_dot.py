"""The text for graphviz."""

from __future__ import annotations

import re
from html import unescape
from html.parser import HTMLParser

from proto2torch.drawing import build
from proto2torch.drawing.dot import dot
from proto2torch.prototxt.read import read_net

from .nets import HOSTILE, MNIST, hostile

STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
TABLE = re.compile(r"<(<table.*?</table>)>")


def skeleton(text: str) -> str:
    """What is left of a .dot file without its strings and tables."""
    return (
        TABLE.sub("TABLE", STRING.sub("STRING", text))
        if not TABLE.search(text)
        else STRING.sub("STRING", TABLE.sub("TABLE", text))
    )


def test_lenet_line_by_line() -> None:
    text = dot(build(read_net(str(MNIST / "lenet.prototxt"))), "LR")
    assert "rankdir=LR" in text
    assert text.count("<table") == 8
    times = "\N{MULTIPLICATION SIGN}"
    assert f'b0 -> b1 [label=" 1{times}1{times}28{times}28 ", tooltip="data"];' in text
    assert f'b6 -> b7 [label=" 1{times}10 ", tooltip="ip2"];' in text
    assert f'<b>conv1</b><br/><font point-size="9">Convolution  20 x 5{times}5</font>' in text


def test_rows_follow_the_direction() -> None:
    diagram = build(read_net(str(MNIST / "lenet.prototxt")))
    for direction, first, second in (("TB", "ip1", "relu1"), ("RL", "ip1", "relu1"), ("BT", "relu1", "ip1")):
        text = dot(diagram, direction)
        assert f"rankdir={direction}" in text
        assert text.index(f"<b>{first}</b>") < text.index(f"<b>{second}</b>")


def test_names_are_text_and_nothing_else() -> None:
    """The file is the same with harmless names but for its strings, and the tables have no element of a net's."""
    text = dot(build(read_net(text=hostile())))
    harmless = hostile()
    for i, name in enumerate(HOSTILE):
        from .nets import quoted

        harmless = harmless.replace(quoted(name), f'"n{i}"')
    assert skeleton(text) == skeleton(dot(build(read_net(text=harmless))))
    elements = Elements()
    for table in TABLE.findall(text):
        elements.feed(table)
    assert elements.names == {"table", "tr", "td", "b", "br", "font"}
    assert "\x00" not in text
    assert "\x07" not in text


def test_names_are_there_as_they_are() -> None:
    text = dot(build(read_net(text=hostile())))
    shown = [unescape(name) for name in re.findall(r"<b>(.*?)</b>", text)]
    assert shown[1 : 1 + len(HOSTILE)] == [
        "".join(c if c.isprintable() else "\ufffd" for c in name) for name in HOSTILE
    ]


class Elements(HTMLParser):
    """Gathers the names of elements."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
