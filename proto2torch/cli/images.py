"""What the commands that read images share: the options that say how, and the net with its weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from proto2torch.cli import options

if TYPE_CHECKING:
    from proto2torch.predict.images import Given, ImageNet

F = TypeVar("F", bound=Callable[..., Any])


class Numbers(click.ParamType):  # type: ignore[type-arg]
    """Whole numbers by commas or x, as many as one of `counts`: `256x256`, `3,227,227`."""

    name = "numbers"

    def __init__(self, *counts: int) -> None:
        self.counts = counts

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        parts = str(value).replace("x", ",").split(",")
        wanted = " or ".join(map(str, self.counts))
        if len(parts) not in self.counts or not all(p.isascii() and p.isdigit() and int(p) for p in parts):
            self.fail(f"expected {wanted} whole numbers. Received: {value!r}", param, ctx)
        return tuple(map(int, parts))


def transform(command: F) -> F:
    """The options of what is done to an image; each replaces a part of the net's own transform."""
    for option in (
        click.option("--rgb", is_flag=True, help="The net takes red before blue."),
        click.option("--raw-scale", type=float, metavar="X", help="Images in [0, 1] times X, as Caffe's Transformer."),
        click.option("--scale", type=float, metavar="X", help="Multiply by X after the mean."),
        click.option("--mean", metavar="F", type=options.FILE, help="Mean: .binaryproto, .npy, or numbers by commas."),
        click.option("--size", type=Numbers(1, 2), metavar="HxW", help="Resize images to this before the crop."),
        click.option("--shape", type=Numbers(3), metavar="C,H,W", help="What the net takes, where only its data says."),
    ):
        command = option(command)
    return command


def running(command: F) -> F:
    """`transform`, and where and how the net runs; `loaded` takes what they say."""
    for option in (
        options.strict,
        options.python_layers,
        options.precision,
        options.layers,
        options.state,
        options.gpu,
        transform,
    ):
        command = option(command)
    return command


def given(options_: dict[str, Any], channel_mean: bool = False) -> Given:
    """The options of `transform` out of a command's arguments."""
    from proto2torch.predict import preprocess
    from proto2torch.predict.images import Given

    size, mean = options_.pop("size"), options_.pop("mean")
    if mean is not None:
        mean = preprocess.load_mean(mean)
    found = mean
    if mean is not None and channel_mean:
        found = preprocess.channel_mean(mean)
        if size is None and mean.ndim >= 3 and min(mean.shape[-2:]) > 1:
            size = (int(mean.shape[-2]), int(mean.shape[-1]))
    return Given(
        shape=options_.pop("shape"),
        size=None if size is None else (size[0], size[-1]),
        mean=found,
        scale=options_.pop("scale"),
        raw_scale=options_.pop("raw_scale"),
        rgb=options_.pop("rgb"),
    )


def load(net: str, weights: str, said: Given, strict: bool = False, **state: Any) -> ImageNet:
    """The net for images, with its weights; says what was not loaded."""
    from proto2torch.predict import images

    found = images.load(net, given=said, **state)
    options.load_weights(found.net, weights, strict)
    return found


def loaded(net: str, weights: str, options_: dict[str, Any], channel_mean: bool = False) -> ImageNet:
    """The net for images as the options of `running` say, out of a command's arguments."""
    said = given(options_, channel_mean)
    device = options.device(options_["gpu"])
    from proto2torch.precision import choose

    choose(options_["precision"])
    state = options.net_state(
        options_["level"], options_["stage"], allow_python_layers=options_["allow_python_layers"], device=device
    )
    return load(net, weights, said, options_["strict"], **state)
