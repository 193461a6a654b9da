"""`proto2torch verify`: a net's blobs against stored activations."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from proto2torch.cli import options
from proto2torch.cli.options import emit, say

if TYPE_CHECKING:
    from proto2torch.measure.compare import Verification


@click.command(short_help="Compare every blob with stored activations; name the first layer that differs.")
@click.argument("net", type=options.FILE)
@click.argument("weights", type=options.FILE)
@click.option(
    "--against", required=True, metavar="FILE", type=options.FILE, help="Arrays by blob name: .npz, .h5; inputs too."
)
@click.option("--tolerance", type=float, default=1e-4, show_default=True, help="Of |ours - stored| / |stored|.")
@options.phase("TEST")
@click.option("--all", "show_all", is_flag=True, help="Print every blob.")
@options.gpu
@options.state
@options.layers
@options.precision
@options.python_layers
@options.strict
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
def verify(
    net: str,
    weights: str,
    against: str,
    tolerance: float,
    phase: str,
    show_all: bool,
    gpu: str | None,
    level: int | None,
    stage: str,
    precision: str,
    allow_python_layers: bool,
    strict: bool,
    as_json: bool,
) -> None:
    """Run NET with WEIGHTS on the inputs of a file and compare each of its blobs with the file's.

    The first layer that differs is named, by how much, at which index, and its line of the prototxt; the exit status is
    then 1. The file holds arrays under the names of blobs, such as pycaffe gives: np.savez(f, **{name: blob.data …}).

    \b
    Example:
      proto2torch verify deploy.prototxt net.caffemodel --against blobs.npz
    """
    device = options.device(gpu)
    from proto2torch.measure.compare import verify as compare
    from proto2torch.precision import choose

    choose(precision)
    state = options.net_state(level, stage, allow_python_layers=allow_python_layers)
    built = options.load_net(net, weights, strict, phase=phase.upper(), device=device, **state)
    found = compare(built, against=against, tolerance=tolerance)
    if found.unknown:
        say(f"{against}: no blobs of the net: {', '.join(found.unknown)}")
    emit(_json(found) if as_json else _text(found, show_all))
    if not found.agrees:
        click.get_current_context().exit(1)


def _text(found: Verification, show_all: bool) -> str:
    lines = []
    if show_all:
        width = max(len(c.blob) for c in found.compared)
        lines += [f"{c.blob:<{width}}  relative {c.relative:<10.3g} largest {c.largest:.3g}" for c in found.compared]
    if found.difference is None:
        worst = max(found.compared, key=lambda c: c.relative)
        lines.append(
            f"all {len(found.compared)} blobs agree; the largest difference: {worst.relative:.2g}, {worst.blob}"
        )
    else:
        lines.append(str(found.difference))
    return "".join(f"{line}\n" for line in lines)


def _json(found: Verification) -> str:
    difference: dict[str, Any] | None = None
    if found.difference is not None:
        where = found.difference.where
        difference = asdict(found.difference) | {"where": {"file": where.file, "line": where.line}}
    blobs = [asdict(c) for c in found.compared]
    return json.dumps({"agrees": found.agrees, "difference": difference, "blobs": blobs}, indent=2) + "\n"
