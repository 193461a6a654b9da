"""Features of many images as points of a plane, near where they are alike: t-SNE."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from proto2torch import files
from proto2torch.errors import DataError, Proto2TorchError, Where, did_you_mean, unreadable

if TYPE_CHECKING:
    from collections.abc import Iterator

Array = NDArray[Any]

_WIDE = 50  # dimensions that t-SNE gets; more are brought down by their principal components
_NEIGHBOURS = 30
_LISTED = 20  # classes that the legend names
_NEEDED = "view features needs the packages scikit-learn and matplotlib: pip install 'proto2torch[view]'"


@dataclass(frozen=True)
class Features:
    """Rows of features, one an image, and a label each where there are any."""

    name: str
    rows: Array
    labels: Sequence[str] | None = None


def read(path: str, blob: str | None = None, labels: str | None = None) -> Features:
    """The features of an .npz, as `features -o f.npz` writes it, or an .npy.

    `blob` names the array; without it there must be one beside the labels. `labels` is the name of an array in the
    file, or a text file: a label a line, or an image list, whose label is each line's last word.

    Raises:
        DataError: the file cannot be read, has no such array, or not as many labels as rows.
    """
    arrays = _arrays(path)
    given = arrays.pop(labels) if labels in arrays and len(arrays) > 1 else None
    name = _only(arrays, blob, path)
    rows = np.asarray(arrays[name])
    if rows.dtype.kind not in "fiu" or rows.ndim < 1 or len(rows) < _FEWEST:
        text = f"features are numbers, a row an image, {_FEWEST} or more. Received: {rows.dtype} of shape {rows.shape}"
        raise DataError(text, where=Where(file=path))
    rows = rows.reshape(len(rows), -1).astype(np.float32)
    if not np.isfinite(rows).all():
        raise DataError(f"{name!r} has values that are not finite", where=Where(file=path))
    found = None if labels is None else _of_array(given) if given is not None else _of_text(labels, arrays)
    if found is not None and len(found) != len(rows):
        text = f"expected a label for each of {len(rows)} rows. Received: {len(found)}"
        raise DataError(text, where=Where(file=labels if given is None else path))
    return Features(name, rows, found)


_FEWEST = 5


def _arrays(path: str) -> dict[str, Array]:
    try:
        loaded = np.load(path, allow_pickle=False)
        return dict(loaded) if hasattr(loaded, "files") else {Path(path).stem: loaded}
    except OSError as error:
        if error.strerror:
            unreadable(path, error, DataError)
        raise DataError("it is no .npz or .npy file", where=Where(file=path)) from error
    except Exception as error:  # zipfile, zlib and numpy each have their own
        text = f"it is no .npz or .npy file: {' '.join(str(error).split())}"
        raise DataError(text, where=Where(file=path)) from error


def _only(arrays: dict[str, Array], blob: str | None, path: str) -> str:
    if blob is None and len(arrays) == 1:
        return next(iter(arrays))
    if blob in arrays:
        return str(blob)
    known = ", ".join(arrays) or "none"
    if blob is None:
        raise DataError(f"it has several arrays, {known}", where=Where(file=path), hint="--blob says which")
    hint = did_you_mean(blob, arrays) or f"it has {known}"
    raise DataError(f"it has no array {blob!r}", where=Where(file=path), hint=hint)


def _of_array(given: Array) -> list[str]:
    """Whole numbers as such, though a net's labels are float."""
    flat = given.reshape(len(given), -1)[:, 0]
    whole = flat.dtype.kind == "f" and np.isfinite(flat).all() and bool((flat == flat.round()).all())
    return [str(int(x)) if whole else str(x) for x in flat]


def _of_text(path: str, arrays: dict[str, Array]) -> list[str]:
    try:
        lines = Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        hint = did_you_mean(path, arrays)
        raise DataError(
            f"labels are a text file, or an array of the features' file. Received: {path!r}", hint=hint
        ) from error
    return [line.split()[-1] for line in lines if line.strip()]


def sample(features: Features, count: int, seed: int = 0) -> Features:
    """`count` rows drawn at random, the same ones for the same seed; all of them where there are no more."""
    if len(features.rows) <= count:
        return features
    drawn = np.sort(np.random.default_rng(seed).choice(len(features.rows), count, replace=False))
    labels = None if features.labels is None else [features.labels[i] for i in drawn]
    return Features(features.name, features.rows[drawn], labels)


def embed(rows: Array, seed: int = 0) -> Array:
    """Points (n, 2) of rows (n, d) by t-SNE, the same for the same seed.

    Raises:
        Proto2TorchError: scikit-learn is not installed.
    """
    with _needed():
        from sklearn.decomposition import PCA
        from sklearn.manifold import TSNE
    rows = rows - rows.mean(0)
    rows = rows / (float(np.abs(rows).max()) or 1.0)
    if min(rows.shape) > _WIDE:
        rows = PCA(_WIDE, random_state=seed).fit_transform(rows)
    perplexity = min(_NEIGHBOURS, (len(rows) - 1) / 3)
    points: Array = TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(rows)
    return points


def check(path: str) -> str:
    """The format that the ending of a path says.

    Raises:
        Proto2TorchError: matplotlib is not installed, or has no such format.
    """
    with _needed():
        from matplotlib.backend_bases import FigureCanvasBase
    return files.picture_kind(path, sorted(FigureCanvasBase.get_supported_filetypes()))


def draw(points: Array, features: Features, path: str) -> None:
    """Draw the points, a colour a label, into a picture: PNG, SVG or PDF by the ending of `path`.

    Raises:
        Proto2TorchError: matplotlib is not installed, or has no such format. RunError: the file cannot be written.
    """
    with _needed():
        from matplotlib import colormaps
        from matplotlib.figure import Figure
    figure = Figure(figsize=(8, 7), layout="constrained")
    axes = figure.subplots()
    labels = features.labels or [""] * len(points)
    classes = sorted(set(labels), key=_natural)
    colours = colormaps["tab10" if len(classes) <= 10 else "tab20" if len(classes) <= _LISTED else "turbo"]
    for i, name in enumerate(classes):
        at = np.array([label == name for label in labels])
        colour = colours(i) if len(classes) <= _LISTED else colours(i / (len(classes) - 1))
        axes.scatter(
            points[at, 0],
            points[at, 1],
            s=max(4, min(24, 20000 / len(points))),
            color=colour,
            linewidths=0,
            label=_plain(name),
        )
    if features.labels and len(classes) <= _LISTED:
        axes.legend(markerscale=2, fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))
    axes.set_title(f"t-SNE of {_plain(features.name)}: {len(points)} rows of {features.rows.shape[1]} values")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_aspect("equal", "datalim")
    with files.atomic(path) as temporary, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # a character that the font has not is drawn as a box
        figure.savefig(temporary, format=check(path), dpi=120)


def _natural(label: str) -> tuple[int, float, str]:
    """Numbers by their size, words behind them."""
    try:
        return 0, float(label), label
    except ValueError:
        return 1, 0.0, label


def _plain(text: str) -> str:
    """A text that matplotlib takes as it is: no formula between dollars, no leading underscore that hides it."""
    text = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text[:80]).replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text


@contextmanager
def _needed() -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        raise Proto2TorchError(_NEEDED) from error
