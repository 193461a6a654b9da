"""`proto2torch classify`: the best classes of images."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from proto2torch.cli import images, options
from proto2torch.cli.options import emit, say

if TYPE_CHECKING:
    from proto2torch.predict.classify import Prediction


@click.command(short_help="The best classes of images.")
@click.argument("net", type=options.FILE)
@click.argument("weights", type=options.FILE)
@click.argument("files", metavar="IMAGE…", nargs=-1, required=True, type=options.FILE)
@click.option("--labels", type=options.FILE, help="Names of the classes, one a line (synset_words.txt).")
@click.option("--top", type=click.IntRange(min=1), default=5, show_default=True, help="How many classes to show.")
@click.option("--oversample", is_flag=True, help="The mean over ten crops: corners, middle, and their mirror images.")
@click.option("--output", "blob", metavar="BLOB", help="The blob of the scores; the net's only output where not given.")
@click.option("--batch-size", type=click.IntRange(min=1), default=32, show_default=True, help="Images a batch.")
@images.running
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list, an object an image.")
def classify(
    net: str,
    weights: str,
    files: tuple[str, ...],
    labels: str | None,
    top: int,
    oversample: bool,
    blob: str | None,
    batch_size: int,
    as_json: bool,
    **running: Any,
) -> None:
    """Print the best classes of each IMAGE: a file, a folder or a list.

    A net with a data layer prepares images as that layer does in TEST. For a deploy net it is Caffe's classification
    example: resized to the mean image's extent, or to what the net takes, its middle cut out, blue before red, less the
    mean of each channel. `proto2torch pixels` says what is done.

    \b
    Example:
      proto2torch classify deploy.prototxt net.caffemodel cat.jpg --labels synset_words.txt --mean mean.binaryproto
      proto2torch classify deploy.prototxt net.caffemodel photos/ --mean 104,117,123 --size 256 --oversample --json
    """
    from proto2torch.data import image_paths
    from proto2torch.predict import classify as classes

    paths = image_paths.find(files)
    names = classes.read_labels(labels) if labels else None
    found = images.loaded(net, weights, running, channel_mean=True)
    with options.progress(len(paths), "classify") as advance:
        results = []
        for result in classes.classify(found, paths, blob=blob, labels=names, oversample=oversample, batch=batch_size):
            results.append(result)
            advance()
    emit(json.dumps([_object(r, top) for r in results], indent=2) + "\n" if as_json else _text(results, top))


def _object(result: Prediction, top: int) -> dict[str, Any]:
    classes = [{"class": c.index, "label": c.label, "score": c.score} for c in result.best(top)]
    return {"image": result.image, "classes": classes}


def _text(results: list[Prediction], top: int) -> str:
    """Caffe's `0.3134 - "n02123045 tabby, tabby cat"`, under a line for the image."""
    lines = []
    for result in results:
        lines.append(f"---------- Prediction for {result.image} ----------")
        lines += [f'{c.score:.4f} - "{c.label if c.label is not None else c.index}"' for c in result.best(top)]
    return "".join(f"{line}\n" for line in lines)


@click.command(short_help="What is done to an image between its file and the net.")
@click.argument("net", type=options.FILE)
@images.transform
@options.state
@options.layers
@options.python_layers
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
def pixels(net: str, level: int | None, stage: str, allow_python_layers: bool, as_json: bool, **transform: Any) -> None:
    """Print what `features --images` and `classify` do to an image before NET takes it, a line a step.

    \b
    Example:
      proto2torch pixels train_val.prototxt
      proto2torch pixels deploy.prototxt --mean 104,117,123 --size 256
    """
    said = images.given(transform, channel_mean=True)
    from proto2torch.predict import images as nets

    state = options.net_state(level, stage, allow_python_layers=allow_python_layers)
    found = nets.load(net, given=said, **state)
    if as_json:
        emit(json.dumps({"input": found.input, **found.prepare.as_dict()}, indent=2) + "\n")
        return
    takes = " x ".join(map(str, found.prepare.shape))
    emit("".join(f"{line}\n" for line in [*found.prepare.lines(), f"give it to {found.input}, {takes}"]))
    if not said.anything and found.prepare.mean is None and found.prepare.scale == 1:
        say("the net says nothing of a mean or a scale; --mean, --scale, --size and --rgb do")
