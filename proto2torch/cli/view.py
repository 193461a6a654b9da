"""`proto2torch view …`: pictures of what is inside a net."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from proto2torch.cli import images, options
from proto2torch.cli.group import LazyGroup
from proto2torch.cli.options import FILE, say

F = TypeVar("F", bound=Callable[..., Any])

view = LazyGroup(
    "view",
    table={
        "filters": ("proto2torch.cli.view:filters", "The filters of layers, side by side."),
        "activations": ("proto2torch.cli.view:activations", "What blobs hold for an image."),
        "features": ("proto2torch.cli.view:features", "Features of many images as points of a plane, by t-SNE."),
    },
    help="""Draw what is inside a net: filters, activations, features.

    \b
    Example:
      proto2torch view filters deploy.prototxt net.caffemodel -o filters.png
      proto2torch view activations deploy.prototxt net.caffemodel cat.jpg -o cat.png
    """,
)


def _output(endings: str) -> Callable[[F], F]:
    """`-o f.png`."""
    return click.option("-o", "--output", metavar="FILE", type=FILE, required=True, help=f"The picture: {endings}")


@click.command(short_help="The filters of layers, side by side.")
@click.argument("net", type=FILE)
@click.argument("weights", type=FILE)
@_output(".png, .jpg …")
@click.option("--layers", "names", metavar="A,B", default="", help="The layers; the first convolution where not given.")
@click.option("--rgb", is_flag=True, help="The net takes red before blue.")
@click.option("--count", type=click.IntRange(min=1), default=48, show_default=True, help="Filters and channels shown.")
@options.state
def filters(
    net: str, weights: str, output: str, names: str, rgb: bool, count: int, level: int | None, stage: str
) -> None:
    """Draw the filters that WEIGHTS has for layers of NET, black the least weight and white the greatest.

    The first convolution's are in colour where it sees three channels. Of other layers a row is a filter and a column
    a channel.

    \b
    Example:
      proto2torch view filters deploy.prototxt net.caffemodel -o filters.png
      proto2torch view filters deploy.prototxt net.caffemodel --layers conv1,conv2 -o both.png
    """
    from proto2torch.prototxt.read import read_net
    from proto2torch.view import sheet
    from proto2torch.view.filters import panels
    from proto2torch.weights import read

    sheet.check(output)
    wanted = [name for name in names.split(",") if name]
    state = options.net_state(level, stage)
    found = panels(read_net(net), read(weights), wanted, rgb=rgb, count=count, **state)
    sheet.save(found, output)
    say(f"{output}: {'; '.join(panel.title for panel in found)}")


@click.command(short_help="What blobs hold for an image.")
@click.argument("net", type=FILE)
@click.argument("weights", type=FILE)
@click.argument("image", type=FILE)
@_output(".png, .jpg …")
@click.option(
    "--blobs", "names", metavar="A,B", default="", help="The blobs; some of the convolutions' where not given."
)
@click.option("--count", type=click.IntRange(min=1), default=64, show_default=True, help="Planes shown of a blob.")
@images.transform
@options.gpu
@options.state
@options.python_layers
@options.strict
def activations(
    net: str,
    weights: str,
    image: str,
    output: str,
    names: str,
    count: int,
    gpu: str | None,
    level: int | None,
    stage: str,
    allow_python_layers: bool,
    strict: bool,
    **transform: Any,
) -> None:
    """Run NET with WEIGHTS on IMAGE and draw the planes of blobs, black the least value of a blob and white the
    greatest; a vector as bars.

    The image is prepared as the net's data layer says, or as the options say; the first panel is what the net gets.

    \b
    Example:
      proto2torch view activations deploy.prototxt net.caffemodel cat.jpg -o cat.png --mean 104,117,123
      proto2torch view activations deploy.prototxt net.caffemodel cat.jpg --blobs conv1,pool5,fc7 -o cat.png
    """
    said = images.given(transform, channel_mean=True)
    device = options.device(gpu)
    from proto2torch.view import sheet
    from proto2torch.view.activations import panels

    sheet.check(output)
    wanted = [name for name in names.split(",") if name]
    state = options.net_state(level, stage, allow_python_layers=allow_python_layers)
    found = images.load(net, weights, said, strict, device=device, **state)
    made = panels(found, image, wanted, count)
    sheet.save(made, output)
    say(f"{output}: {'; '.join(panel.title for panel in made)}")


@click.command(short_help="Features of many images as points of a plane, by t-SNE.")
@click.argument("path", metavar="FEATURES", type=FILE)
@_output(".png, .svg, .pdf")
@click.option("--labels", metavar="F", type=FILE, help="A text file, a label a line, or the name of an array.")
@click.option("--blob", metavar="NAME", help="The array, where the file has several.")
@click.option("--count", type=click.IntRange(min=5), default=5000, show_default=True, help="Rows drawn, at random.")
@click.option("--seed", type=int, default=0, show_default=True, help="What the drawing follows from.")
def features(path: str, output: str, labels: str | None, blob: str | None, count: int, seed: int) -> None:
    """Draw FEATURES, an .npz of `features` or an .npy, as points that lie near where their rows are alike, by t-SNE.

    \b
    Example:
      proto2torch features train_val.prototxt net.caffemodel --blobs fc7,label -o f.npz
      proto2torch view features f.npz --labels label -o tsne.png
      proto2torch view features f.npz --labels test.txt -o tsne.png
    """
    from proto2torch.view.features import check, draw, embed, read, sample

    check(output)
    whole = read(path, blob, labels)
    part = sample(whole, count, seed)
    if len(part.rows) < len(whole.rows):
        say(f"{len(part.rows)} of {len(whole.rows)} rows are drawn; --count draws more")
    draw(embed(part.rows, seed), part, output)
    say(f"{output}: {len(part.rows)} rows of {part.name}")
