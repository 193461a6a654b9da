"""The page: what is in it, and that nothing of a net's is more than data."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest

from proto2torch.cost import rows
from proto2torch.cost.reading import graph
from proto2torch.drawing import build
from proto2torch.drawing.page import page
from proto2torch.prototxt.read import read_net

from .nets import HOSTILE, MNIST, NO_ZOO, ZOO, hostile


class Page(HTMLParser):
    """The elements of a page with their attributes, and the text of each script."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.title = ""
        self._inside = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._inside = tag
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            self.scripts[-1] += data
        if self._inside == "title":
            self.title += data

    @property
    def net(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.scripts[0])
        return found


@pytest.mark.skipif(not ZOO.is_dir(), reason=NO_ZOO)
def test_the_page_of_resnet_152_knows_its_graph() -> None:
    definition = read_net(str(ZOO / "KaimingHe+deep-residual-networks/prototxt/ResNet-152-deploy.prototxt"))
    text = page(build(definition))
    assert len(text.encode()) < 2_000_000
    found, net = Page(text).net, graph(definition)
    layers = [layer for box in found["boxes"] for layer in box["layers"]]
    said = [(x["line"], x["name"], x["type"], x["parameters"], x["multiply_adds"], x["tops"]) for x in layers]
    assert sorted(said) == sorted(
        (row.line, row.name, row.type, row.parameters, row.multiply_adds, [[b, list(s)] for b, s in row.tops])
        for row in rows(net)
    )
    shapes = {value.blob: list(value.shape) for node in net.nodes for value in node.outputs}
    assert all(arrow["shape"] == shapes[arrow["blob"]] for arrow in found["arrows"])
    assert len(layers) == 671
    assert len(found["arrows"]) == 155 + 2 * 50 + 4  # into convolutions; sums; two pools, fc and prob


def test_it_asks_no_host_for_anything() -> None:
    text = page(build(read_net(str(MNIST / "lenet.prototxt"))))
    assert not re.search(r"https?:|//[a-z]+\.|@import|url\((?!#)|sourceMappingURL", text)
    elements = Page(text).elements
    assert not [tag for tag, attributes in elements if {"src", "href", "action", "data"} & set(attributes)]
    policy = next(a["content"] for t, a in elements if t == "meta" and a.get("http-equiv"))
    assert policy == "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


def test_the_layout_librarys_licence_is_kept() -> None:
    text = page(build(read_net(str(MNIST / "lenet.prototxt"))))
    assert "Copyright (c) 2012-2014 Chris Pettitt" in text
    assert "The above copyright notice and this permission notice shall be included" in text


def test_names_are_data_and_nothing_else() -> None:
    text = page(build(read_net(text=hostile())))
    harmless, found = Page(page(build(read_net(str(MNIST / "lenet.prototxt"))))), Page(text)
    assert [tag for tag, _ in found.elements] == [tag for tag, _ in harmless.elements]
    assert found.scripts[1:] == harmless.scripts[1:]
    assert found.title == f"{HOSTILE[0]} · TEST"
    names = [layer["name"] for box in found.net["boxes"] for layer in box["layers"]]
    assert names == ["in", *HOSTILE]
    assert not set("<>&") & set(found.scripts[0])


def test_the_script_makes_markup_of_no_text() -> None:
    """What it puts into the page goes through textContent and attributes of its own."""
    script = Page(page(build(read_net(str(MNIST / "lenet.prototxt"))))).scripts[2]
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function|fetch\(|XMLHttp", script
    )
    assert script.count("textContent") >= 3


@pytest.mark.parametrize("direction", ["TB", "LR"])
def test_the_direction_is_told(direction: str) -> None:
    assert Page(page(build(read_net(str(MNIST / "lenet.prototxt"))), direction)).net["direction"] == direction
