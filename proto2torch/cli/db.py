"""`proto2torch db …`: databases looked at and copied."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from proto2torch.cli.convert import BACKENDS
from proto2torch.cli.group import LazyGroup
from proto2torch.cli.options import FILE, emit, say

if TYPE_CHECKING:
    from proto2torch.data.inspect import Summary

_MOST_BAD = 20  # keys of bad records that are listed

db = LazyGroup(
    "db",
    table={
        "info": ("proto2torch.cli.db:info", "How many records of which shapes and labels a database has."),
        "show": ("proto2torch.cli.db:show", "Some records of a database, as text or as a picture."),
        "copy": ("proto2torch.cli.db:copy", "Copy a database to a new LMDB or LevelDB."),
    },
    help="""Look at databases, LMDB or LevelDB, and copy them.

    \b
    Example:
      proto2torch db info train_lmdb
      proto2torch db copy train_leveldb train_lmdb
    """,
)


@click.command(short_help="How many records of which shapes and labels a database has.")
@click.argument("path", metavar="DB", type=FILE)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def info(ctx: click.Context, path: str, as_json: bool) -> None:
    """Read DB once: records, keys, shapes, labels. Exit status 1 where a record is damaged.

    \b
    Example:
      proto2torch db info examples/digits/digits_train_lmdb
    """
    from proto2torch.data.inspect import summary

    found = summary(path)
    emit(json.dumps(_as_json(found), indent=2) + "\n" if as_json else _as_text(found))
    if found.bad:
        ctx.exit(1)


@click.command(short_help="Some records of a database, as text or as a picture.")
@click.argument("path", metavar="DB", type=FILE)
@click.option("--first", type=click.IntRange(0), default=0, show_default=True, help="The first record, from 0.")
@click.option("--count", type=click.IntRange(1), default=16, show_default=True, help="How many.")
@click.option("-o", "--output", metavar="FILE", type=FILE, help="Write the images as one picture: .png or .jpg.")
def show(path: str, first: int, count: int, output: str | None) -> None:
    """Print the keys, labels and shapes of some records of DB; with -o also their images as one picture.

    \b
    Example:
      proto2torch db show examples/digits/digits_train_lmdb --count 25 -o digits.png
    """
    from proto2torch.data.inspect import picture
    from proto2torch.data.inspect import show as records

    shown = records(path, first, count)
    for record in shown:
        extent = " x ".join(map(str, record.image.shape))
        emit(f"{record.key}  label {record.label}  {extent} {record.image.dtype}\n")
    if output is not None:
        _write(picture([record.image for record in shown]), output)
        say(f"{output}: {len(shown)} images")


@click.command(short_help="Copy a database to a new LMDB or LevelDB.")
@click.argument("source", type=FILE)
@click.argument("target", type=FILE)
@click.option("--backend", type=click.Choice(BACKENDS), help="The new kind; without it, the one that SOURCE is not.")
def copy(source: str, target: str, backend: str | None) -> None:
    """Copy every record of SOURCE, byte for byte, to a new database, TARGET.

    \b
    Example:
      proto2torch db copy ilsvrc12_train_leveldb ilsvrc12_train_lmdb
    """
    from proto2torch.data.inspect import copy as copied

    say(f"{target}: {copied(source, target, backend)} records")


def _as_json(found: Summary) -> dict[str, Any]:
    return {
        "backend": found.backend,
        "count": found.count,
        "first_key": found.first_key,
        "last_key": found.last_key,
        "shapes": [
            {"channels": c, "height": h, "width": w, "kind": kind, "count": count}
            for (c, h, w, kind), count in found.shapes.most_common()
        ],
        "labels": {str(label): count for label, count in sorted(found.labels.items())},
        "bad": found.bad,
    }


def _as_text(found: Summary) -> str:
    lines = [f"{found.count} records, {found.backend}", f"keys    {found.first_key} to {found.last_key}"]
    lines += [f"images  {n} of {c} x {h} x {w}, {kind}" for (c, h, w, kind), n in found.shapes.most_common()]
    lines += [f"label   {label}: {count}" for label, count in sorted(found.labels.items())]
    lines += [f"damaged {key}" for key in found.bad[:_MOST_BAD]]
    if len(found.bad) > _MOST_BAD:
        lines.append(f"damaged {len(found.bad) - _MOST_BAD} more")
    return "\n".join(lines) + "\n"


def _write(sheet: Any, output: str) -> None:
    import os

    from PIL import Image

    from proto2torch.cli.group import refuse
    from proto2torch.files import atomic

    kind = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}.get(os.path.splitext(output)[1].lower())
    if kind is None:
        refuse(f"a picture is a .png or a .jpg. Received: {output!r}")
    with atomic(output) as temporary, open(temporary, "wb") as file:
        Image.fromarray(sheet).save(file, kind)
