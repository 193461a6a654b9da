"""A net as a picture: a diagram of boxes and arrows, written for graphviz or as one page for a browser.

diagram = build(read_net("net.prototxt"))
draw(diagram, "net.svg")
"""

from __future__ import annotations

from proto2torch.drawing.build import build
from proto2torch.drawing.diagram import Diagram
from proto2torch.drawing.draw import FORMATS, draw

__all__ = ["FORMATS", "Diagram", "build", "draw"]
