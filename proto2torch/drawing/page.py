"""A diagram as one page that a browser opens by itself: it carries its layout library and asks no host for anything."""

from __future__ import annotations

import json
from dataclasses import asdict
from importlib.resources import files
from typing import Any

from proto2torch.drawing.diagram import Diagram, shown
from proto2torch.drawing.dot import COLOURS, title

_SCRIPTS = ("layout.js", "paint.js", "page.js")  # one script: each uses what is above it, and is called from below
_ASSETS = files("proto2torch.drawing") / "assets"


def page(diagram: Diagram, direction: str = "TB") -> str:
    """The page's text. What the net says is in it as data alone, never as markup or script."""
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    template = Environment(autoescape=True, undefined=StrictUndefined).from_string(_asset("page.html.j2"))
    return template.render(
        title=title(diagram),
        style=Markup(_asset("page.css")),
        licence=Markup(_asset("dagre.LICENSE").replace("*/", "")),
        dagre=Markup(_asset("dagre.min.js")),
        script=Markup("\n".join(map(_asset, _SCRIPTS))),
        data=Markup(_script_safe(as_object(diagram, direction))),
    )


def as_object(diagram: Diagram, direction: str = "TB") -> dict[str, Any]:
    """What the page knows of the net."""
    found = asdict(diagram)
    for arrow in found["arrows"]:
        arrow["label"] = shown(arrow["shape"])
    return {**found, "direction": direction, "colours": COLOURS}


def _asset(name: str) -> str:
    return (_ASSETS / name).read_text(encoding="utf-8")


def _script_safe(value: Any) -> str:
    """JSON that ends no script element and begins no comment in one."""
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text
