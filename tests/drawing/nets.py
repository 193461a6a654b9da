"""Nets that the tests of drawing share."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MNIST = ROOT / "examples" / "mnist"
ZOO = ROOT.parent / "shared" / "zoo"
NO_ZOO = "../shared/zoo, with the published prototxts, is absent"

INPUT = 'layer { name: "in" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 8 dim: 8 } } }\n'

HOSTILE = (
    "</script><script>alert(1)</script>",
    '"]; evil [label="x"];',
    "<img src=x onerror=alert(1)>",
    "&lt;&amp;\\N\\l\\",
    "{{ 7 * 7 }}{% raw %}",
    "naïve 层 \N{ROCKET} \N{RIGHT-TO-LEFT OVERRIDE}abc",
    "-->]]><!--",
    "line\nbreak\ttab\x00\x07",
    "'; DROP TABLE layers; --",
    "\N{LINE SEPARATOR}\N{PARAGRAPH SEPARATOR}",
    "__proto__",
    "x" * 3000,
)


def quoted(name: str) -> str:
    """A string of the text format, byte by byte."""
    return '"' + "".join(f"\\{byte:03o}" for byte in name.encode()) + '"'


def hostile() -> str:
    """A chain of ReLUs whose names, and the net's, are as bad as can be."""
    lines = [f"name: {quoted(HOSTILE[0])}\n", INPUT]
    bottom = "data"
    for name in HOSTILE:
        lines.append(f'layer {{ name: {quoted(name)} type: "ReLU" bottom: {quoted(bottom)} top: {quoted(name)} }}\n')
        bottom = name
    return "".join(lines)
