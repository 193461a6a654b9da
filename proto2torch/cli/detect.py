"""`proto2torch detect` and `segment`: objects in images, and labels of pixels."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import click

from proto2torch.cli import images
from proto2torch.cli.options import FILE, emit


def _names(path: str | None) -> Mapping[int, str] | None:
    """Names by label, of a LabelMap or of a list with a name a line, the first line's for label 0."""
    if path is None:
        return None
    if path.endswith((".prototxt", ".pbtxt")):
        from proto2torch.data.annotated import label_map

        return label_map.read(path).shown
    from proto2torch.predict.classify import read_labels

    return dict(enumerate(read_labels(path)))


_labels = click.option("--labels", type=FILE, help="A LabelMap (.prototxt), or the names of the labels, one a line.")


@click.command(short_help="Objects in images: boxes of SSD, YOLO and Faster R-CNN nets.")
@click.argument("net", type=FILE)
@click.argument("weights", type=FILE)
@click.argument("files", metavar="IMAGE…", nargs=-1, required=True, type=FILE)
@_labels
@click.option("--threshold", type=click.FloatRange(0, 1), default=0.5, show_default=True, help="The least score shown.")
@click.option(
    "--overlap", type=click.FloatRange(0, 1), default=0.3, show_default=True, help="Of R-CNN nets: see above."
)
@click.option("-o", "--output", metavar="FILE", type=FILE, help="The image with the boxes; for several, a folder.")
@images.running
def detect(
    net: str,
    weights: str,
    files: tuple[str, ...],
    labels: str | None,
    threshold: float,
    overlap: float,
    output: str | None,
    **running: Any,
) -> None:
    """Print a JSON line for each object found in each IMAGE (a file, a folder or a list), the best first.

    A box is xmin, ymin, xmax, ymax in pixels. NET ends in a DetectionOutput or a YOLO's output layer; or it is a Faster
    R-CNN with rois, cls_prob and bbox_pred, whose boxes of one class that overlap by more than --overlap are thinned
    out. `proto2torch pixels` says what is done to an image before the net.

    \b
    Example:
      proto2torch detect deploy.prototxt ssd.caffemodel street.jpg --labels labelmap_voc.prototxt -o found.png
      proto2torch detect deploy.prototxt ssd.caffemodel photos/ --mean 127.5 --scale 0.007843 > found.jsonl
    """
    from proto2torch.data import image_paths
    from proto2torch.predict import detect as work

    paths, names = image_paths.find(files), _names(labels)
    places = _places(output, paths)
    found = images.loaded(net, weights, running)
    for one in work.detect(found, paths, names=names, threshold=threshold, overlap=overlap):
        for thing in one.objects:
            line = {"image": one.image, "label": thing.label, "name": thing.name, "score": round(thing.score, 6)}
            emit(json.dumps({**line, "box": [round(v, 2) for v in thing.box]}) + "\n")
        if output is not None:
            from proto2torch.predict import pictures

            pictures.save(pictures.boxes(one), places[one.image])


@click.command(short_help="The label of each pixel of images.")
@click.argument("net", type=FILE)
@click.argument("weights", type=FILE)
@click.argument("files", metavar="IMAGE…", nargs=-1, required=True, type=FILE)
@_labels
@click.option("-o", "--output", metavar="FILE", type=FILE, help="The label map, .png; for several images, a folder.")
@click.option("--picture", metavar="FILE", type=FILE, help="The image with the labels' colours over it; or a folder.")
@click.option("--blob", metavar="BLOB", help="The blob of the scores or labels; the net's only one where not given.")
@click.option("--own-size", is_flag=True, help="Lay the net out for each image as it is, not resized.")
@images.running
def segment(
    net: str,
    weights: str,
    files: tuple[str, ...],
    labels: str | None,
    output: str | None,
    picture: str | None,
    blob: str | None,
    own_size: bool,
    **running: Any,
) -> None:
    """Print a JSON line for each IMAGE: the share of its pixels that has each label.

    A pixel of the label map (-o) is its label; its colours are PASCAL VOC's. Of a net that gives scores, (N, labels,
    height, width), the label is that of the highest; one of (N, 1, height, width) gives the labels themselves.

    \b
    Example:
      proto2torch segment fcn8s.prototxt fcn8s.caffemodel cat.jpg --mean 104,117,123 --own-size -o labels.png
      proto2torch segment segnet.prototxt segnet.caffemodel street/ --labels names.txt --picture over/
    """
    from proto2torch.data import image_paths
    from proto2torch.predict import pictures
    from proto2torch.predict import segment as work

    paths, names = image_paths.find(files), _names(labels) or {}
    maps, overlays = _places(output, paths), _places(picture, paths)
    found = images.loaded(net, weights, running)
    for one in work.segment(found, paths, blob=blob, own_size=own_size):
        shares = {names.get(label, str(label)): round(share, 6) for label, share in one.shares().items()}
        emit(json.dumps({"image": one.image, "size": list(one.labels.shape), "labels": shares}) + "\n")
        if output is not None:
            pictures.save(pictures.labels(one), maps[one.image])
        if picture is not None:
            pictures.save(pictures.overlaid(one), overlays[one.image])


def _places(output: str | None, paths: list[str]) -> Mapping[str, str]:
    """Where the picture of each image goes."""
    if output is None:
        return {}
    from proto2torch.predict import pictures

    return pictures.places(output, paths)
