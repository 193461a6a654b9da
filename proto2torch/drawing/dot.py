"""A diagram in graphviz's language."""

from __future__ import annotations

from collections.abc import Iterator

from proto2torch.drawing.diagram import Arrow, Box, Diagram, Layer, shown

DIRECTIONS = ("TB", "BT", "LR", "RL")

COLOURS = {
    "data": "#d9d9d9",
    "convolution": "#9ecae1",
    "dense": "#bcbddc",
    "pooling": "#fdd0a2",
    "activation": "#fcc5b3",
    "normalization": "#c7e9c0",
    "dropout": "#f0f0f0",
    "joint": "#fee391",
    "loss": "#e7a1b0",
    "block": "#e0ecf4",
    "other": "#ffffff",
}
"""The colour of each kind of layer, dark text on it."""

_INK, _LINE, _QUIET = "#1a1a1a", "#636363", "#525252"
_FONT = "Helvetica,Arial,sans-serif"


def dot(diagram: Diagram, direction: str = "TB") -> str:
    """The diagram as the text of a .dot file. Names are text of labels and nothing else: nodes are b0, b1 …"""
    return "\n".join(_lines(diagram, direction)) + "\n"


def _lines(diagram: Diagram, direction: str) -> Iterator[str]:
    yield "digraph net {"
    yield f"  graph [rankdir={direction}, ranksep=0.35, nodesep=0.25, label={_quoted(title(diagram))}, labelloc=t,"
    yield f'         fontname="{_FONT}", fontsize=16, fontcolor="{_INK}", compound=true];'
    yield f'  node [shape=plain, fontname="{_FONT}", fontsize=11, fontcolor="{_INK}"];'
    yield f'  edge [fontname="{_FONT}", fontsize=9, fontcolor="{_QUIET}", color="{_LINE}", arrowsize=0.7];'
    yield from _inside(diagram, None, "  ", upward=direction == "BT")
    yield from (f"  {_arrow(arrow, diagram)}" for arrow in diagram.arrows)
    yield "}"


def title(diagram: Diagram) -> str:
    """The net's name, and the phase where there is a choice."""
    return " · ".join([diagram.name or "net", "/".join(diagram.phases)])


def _inside(diagram: Diagram, block: int | None, indent: str, upward: bool) -> Iterator[str]:
    """The boxes of a block, and the blocks in it, as clusters."""
    for index, box in enumerate(diagram.boxes):
        if box.block == block:
            yield f"{indent}b{index} [label={_label(box, diagram, upward)}, tooltip={_quoted(box.layers[0].name)}];"
    for index, inner in enumerate(diagram.blocks):
        if inner.parent == block:
            yield f"{indent}subgraph cluster_{index} {{"
            yield f"{indent}  graph [label={_quoted(f'{inner.title} · {inner.about}')}, labeljust=l, fontsize=11,"
            yield f'{indent}         style="rounded,filled", color="#bdbdbd", fillcolor="#00000008"];'
            yield from _inside(diagram, index, indent + "  ", upward)
            yield f"{indent}}}"


def _label(box: Box, diagram: Diagram, upward: bool) -> str:
    """A table with a row for each layer of the box, the first at the bottom where the net goes upward."""
    layers = box.layers[::-1] if upward else box.layers
    rows = "".join(_row(layer, diagram) for layer in layers)
    return f'<<table border="0" cellborder="1" cellspacing="0" cellpadding="4" color="{_LINE}">{rows}</table>>'


def _row(layer: Layer, diagram: Diagram) -> str:
    about = f"{layer.type}  {layer.summary}".strip()
    if layer.phases != diagram.phases:
        about += f" [{'/'.join(layer.phases)}]"
    text = f'<b>{_escaped(layer.name) or " "}</b><br/><font point-size="9">{_escaped(about)}</font>'
    return f'<tr><td bgcolor="{COLOURS[layer.kind]}">{text}</td></tr>'


def _arrow(arrow: Arrow, diagram: Diagram) -> str:
    style = "" if arrow.phases == diagram.phases else ", style=dashed"
    label = _quoted(f" {shown(arrow.shape)} " if arrow.shape else "")
    return f"b{arrow.source} -> b{arrow.target} [label={label}, tooltip={_quoted(arrow.blob)}{style}];"


def _quoted(text: str) -> str:
    """A string of the language: backslashes would begin its escapes (`\\N` is a node's name)."""
    escaped = _clean(text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _escaped(text: str) -> str:
    """Text within an HTML-like label."""
    for character, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;")):
        text = text.replace(character, entity)
    return _clean(text)


def _clean(text: str) -> str:
    """Text in one line, of characters that XML may have."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
