"""Annotated images to a database of AnnotatedDatums, as SSD's convert_annoset writes it.

The key is `%08d_` of the image's place, and its path. Boxes are shares of the width and height that the annotation says
the image has. Objects of one label form a group, groups in the order in which their labels appear, and instances count
from 0 in each.
"""

from __future__ import annotations

from functools import partial
from operator import attrgetter
from typing import Any

from proto2torch.data.annotated import label_map, sources
from proto2torch.data.annotated.label_map import LabelMap
from proto2torch.data.annotated.sources import Annotations, Pictured
from proto2torch.data.convert.imageset import Converted, Imageset, Read, Record, read_image, write_all
from proto2torch.errors import DataError
from proto2torch.prototxt import schema

_BBOX = 0


def convert_annotated(
    root: str, listed: str, db: str, labels: str | None = None, how: Imageset | None = None
) -> tuple[Converted, LabelMap, str | None]:
    """Write the images of an annotation list or of COCO's JSON, their paths put behind `root`, to a new database.

    `labels` is the LabelMap that tells the number of each class; without it classes count from 1, by name (VOC) or by
    id (COCO), and a LabelMap is written beside the database. Returns what was written, the map and its new path.

    Raises:
        DataError: an annotation is wrong or names an unknown class, an image cannot be read (without `skip_bad`), or
            `db` exists. RunError: the database cannot be written.
    """
    how, found = how or Imageset(), sources.read(root, listed)
    written = None if labels else f"{db.rstrip('/')}.labelmap.prototxt"
    known = label_map.read(labels) if labels else _counted(found)
    make, where = partial(_record, root, known, how), attrgetter("where")
    differs = "all images must be of {first}. Received: {size}"
    done = write_all(found.images, make, where, db, how, listed=listed, differs=differs)
    if written:
        label_map.write(written, ((n, name, found.classes[name]) for name, n in known.labels.items()))
    return done, known, written


def _counted(found: Annotations) -> LabelMap:
    labels = {name: number for number, name in enumerate(found.classes, start=1)}
    return LabelMap(labels, {number: found.classes[name] for name, number in labels.items()})


def _record(root: str, known: LabelMap, how: Imageset, image: Pictured) -> Record | str:
    read = read_image(root + image.path, how)
    if isinstance(read, str):
        return read
    made = schema.new("AnnotatedDatum")
    made.type = _BBOX
    _fill(made.datum, read)
    if image.size is None and image.objects and how.resize_width > 0 and how.resize_height > 0:
        raise DataError("a resized image needs its size in the annotation", where=image.where)
    width, height = image.size or read.image.shape[:0:-1]
    groups: dict[int, Any] = {}
    for one in image.objects:
        label = known.label(one.name, image.where)
        if label not in groups:
            groups[label] = made.annotation_group.add()
            groups[label].group_label = label
        marked = groups[label].annotation.add()
        marked.instance_id = len(groups[label].annotation) - 1
        box = marked.bbox
        box.xmin, box.xmax = one.box[0] / width, one.box[2] / width
        box.ymin, box.ymax = one.box[1] / height, one.box[3] / height
        box.difficult = one.difficult
    return Record(made.SerializeToString(), read.image.shape)


def _fill(datum: Any, read: Read) -> None:
    datum.channels, datum.height, datum.width = read.image.shape
    datum.label = -1
    datum.encoded = read.encoded is not None
    datum.data = read.image.tobytes() if read.encoded is None else read.encoded
