"""Learning curves as a picture: loss, test accuracy where there is one, and learning rate, one below the other."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence

from proto2torch import files
from proto2torch.curves.log_file import Curves, Points
from proto2torch.errors import Proto2TorchError

Line = tuple[str, Points, str]
"""Label, points, line style."""

_MAY_SPAN = ("loss", "learning rate")
_SPAN = 30  # the greatest over the least value from which on an axis is logarithmic


def draw(logs: Sequence[Curves], path: str) -> None:
    """Draw the curves of several logs into one picture, PNG, SVG or PDF by the ending of `path`.

    Raises:
        Proto2TorchError: matplotlib is not installed, or has no such format.
        RunError: the file cannot be written.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise Proto2TorchError("plot needs the package matplotlib: pip install 'proto2torch[plot]'") from error
    panels = [(title, lines) for title, lines in _panels(logs) if lines]
    figure = Figure(figsize=(9, 0.6 + 2.9 * len(panels)), layout="constrained")
    kind = files.picture_kind(path, sorted(figure.canvas.get_supported_filetypes()))
    colours = {curves.name: f"C{i}" for i, curves in enumerate(logs)}
    axes = figure.subplots(len(panels), squeeze=False, sharex=True)[:, 0]
    for axis, (title, lines) in zip(axes, panels, strict=True):
        for name, (label, points, style) in lines:
            colour = colours[name] if len(logs) > 1 else None
            axis.plot(*zip(*points, strict=True), style, label=label, color=colour, linewidth=1.2, markersize=3)
        if title in _MAY_SPAN and _spans([points for _, (_, points, _) in lines]):
            axis.set_yscale("log")
        axis.set_ylabel(title)
        axis.grid(alpha=0.3)
        axis.legend(fontsize="small")
    axes[-1].set_xlabel("iteration")
    with files.atomic(path) as temporary:
        figure.savefig(temporary, format=kind, dpi=120)


def _spans(lines: Sequence[Points]) -> bool:
    """Whether values span so much that small ones would lie on the axis."""
    values = [value for points in lines for _, value in points if math.isfinite(value)]
    return bool(values) and min(values) > 0 and max(values) / min(values) > _SPAN


def _panels(logs: Sequence[Curves]) -> Iterator[tuple[str, list[tuple[str, Line]]]]:
    """Title and lines of each panel; a line belongs to the log of its name."""
    titles = _titles(logs)
    yield "loss", [(c.name, line) for c, title in zip(logs, titles, strict=True) for line in _losses(c, title)]
    for name in dict.fromkeys(name for c in logs for _, name in c.test if not _is_loss(name)):
        found = [
            (c.name, (f"{title}test #{net}", points, "o-"))
            for c, title in zip(logs, titles, strict=True)
            for (net, output), points in c.test.items()
            if output == name
        ]
        yield name, found
    rates = [(c.name, (f"{title}lr", c.rate, "-")) for c, title in zip(logs, titles, strict=True) if c.rate]
    yield "learning rate", rates


def _losses(curves: Curves, title: str) -> Iterator[Line]:
    if curves.loss:
        yield f"{title}train (smoothed)", curves.loss, "-"
    for (net, output), points in curves.test.items():
        if _is_loss(output):
            yield f"{title}test #{net} {output}", points, "o--"


def _titles(logs: Sequence[Curves]) -> list[str]:
    """What each log is called before its lines: nothing where there is one, else its file's name, or its path."""
    names = [os.path.basename(curves.name) for curves in logs]
    if len(logs) == 1:
        return [""]
    return [f"{name if names.count(name) == 1 else c.name}: " for name, c in zip(names, logs, strict=True)]


def _is_loss(name: str) -> bool:
    return "loss" in name.lower()
