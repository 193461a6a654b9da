"""Prototxt: a net in the newest format, fields in the schema's order, with the shapes of tops where asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from proto2torch.ir.graph import Net, Shape
from proto2torch.prototxt import text, upgrade
from proto2torch.prototxt.document import NetDefinition

Shapes = Mapping[int, Sequence[tuple[str, Shape]]]
"""By the place of a layer in its definition: each top with its shape."""


def write(definition: NetDefinition, shapes: Shapes | None = None) -> str:
    """The text of a net that has been read, the layers of every phase in it, a comment of shapes above each known."""
    whole = upgrade.message(definition)
    layers = list(whole.layer)
    del whole.layer[:]
    if not whole.name:
        whole.ClearField("name")
    parts = [text.dump(whole)] if whole.ByteSize() else []
    for place, layer in enumerate(layers):
        alone = type(whole)()
        alone.layer.append(layer)
        parts.append(_comment((shapes or {}).get(place, ())) + text.dump(alone))
    return "".join(parts)


def shapes_of(definition: NetDefinition, graph: Net) -> Shapes:
    """The shapes that a graph of the definition has found, for its layers that are in the graph."""
    places = {id(layer.message): place for place, layer in enumerate(definition.layers)}
    found: dict[int, list[tuple[str, Shape]]] = {}
    for node in graph.nodes:
        place = places.get(id(node.definition.message))
        if place is not None and node.outputs:
            found[place] = [(value.blob, value.shape) for value in node.outputs]
    return found


def _comment(tops: Sequence[tuple[str, Shape]]) -> str:
    if not tops:
        return ""
    shown = ", ".join(f"{_plain(name)} {shape}" for name, shape in tops)
    return f"# {shown}\n"


def _plain(name: str) -> str:
    """A name within a comment, which a line break would end."""
    return "".join(c if c.isprintable() else "?" for c in name)
