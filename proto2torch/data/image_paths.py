"""Images as a user names them: files, folders and lists."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from proto2torch.errors import DataError, Where, unreadable
from proto2torch.files import resolve

IMAGES = (".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".pgm", ".tif", ".tiff", ".webp")
"""How the name of an image ends, in small letters."""
_LISTS = (".txt", ".lst", ".list")
_LABELLED = re.compile(r"(.+?)\s+[+-]?\d+")


def find(given: Sequence[str]) -> list[str]:
    """The image files, in order: of a folder all below it by name, of a list (.txt) its lines, with or without a label.

    A relative path of a list is taken from the working directory and, if nothing is there, from the list's folder.

    Raises:
        DataError: one of them is not there, or there is no image in it.
    """
    found: list[str] = []
    for path in given:
        if os.path.isdir(path):
            found += _below(path)
        elif path.lower().endswith(_LISTS):
            found += _listed(path)
        elif os.path.exists(path):
            found.append(path)
        else:
            raise DataError("no such image, folder or list", where=Where(file=path))
    return found


def _below(folder: str) -> list[str]:
    paths = [
        os.path.join(place, name)
        for place, _, names in sorted(os.walk(folder))
        for name in sorted(names)
        if name.lower().endswith(IMAGES)
    ]
    if not paths:
        raise DataError(f"there is no image in it ({', '.join(IMAGES)})", where=Where(file=folder))
    return paths


def _listed(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            lines = [line.strip() for line in file]
    except OSError as error:
        unreadable(path, error, DataError)
    lines = [line for line in lines if line]
    if not lines:
        raise DataError("the list is empty", where=Where(file=path))
    names = [match.group(1) if (match := _LABELLED.fullmatch(line)) else line for line in lines]
    return [resolve(name, path) for name in names]
