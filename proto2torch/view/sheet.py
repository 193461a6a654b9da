"""Pictures one below the other with their titles, as one image file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from proto2torch import files
from proto2torch.errors import Proto2TorchError, Where, did_you_mean
from proto2torch.view.grids import Picture

_MARGIN = 12
_TEXT = 15
_INK, _PAPER = (26, 26, 26), (255, 255, 255)
_FRAME = (200, 200, 200)


@dataclass(frozen=True)
class Panel:
    """A picture and what stands above it."""

    title: str
    picture: Picture


def check(path: str) -> str:
    """The format that the ending of a path says; Proto2TorchError where it says none.

    Raises:
        Proto2TorchError: an ending that Pillow does not write.
    """
    ending = Path(path).suffix.lower()
    Image.init()
    known = {e for e, name in Image.registered_extensions().items() if name in Image.SAVE}
    if ending not in known:
        raise Proto2TorchError(
            f"a picture ends in .png, .jpg, .bmp … Received: {ending or 'none'}",
            where=Where(file=path),
            hint=did_you_mean(ending, known),
        )
    return Image.registered_extensions()[ending]


def save(panels: Sequence[Panel], path: str) -> None:
    """Write the panels into one image.

    Raises:
        Proto2TorchError: an ending that Pillow does not write. RunError: the file cannot be written.
    """
    kind = check(path)
    image = compose(panels)
    with files.atomic(path) as temporary:
        image.save(temporary, format=kind)


def compose(panels: Sequence[Panel]) -> Image.Image:
    """The panels below one another, each with its title."""
    font = ImageFont.load_default(_TEXT)
    images = [Image.fromarray(panel.picture).convert("RGB") for panel in panels]
    titles = [_printable(panel.title) for panel in panels]
    widths = [max(image.width, round(font.getlength(title))) for image, title in zip(images, titles, strict=True)]
    line = _TEXT + 9
    height = _MARGIN + sum(line + image.height + _MARGIN for image in images)
    sheet = Image.new("RGB", (max(widths) + 2 * _MARGIN, height), _PAPER)
    pen = ImageDraw.Draw(sheet)
    y = _MARGIN
    for image, title in zip(images, titles, strict=True):
        pen.text((_MARGIN, y), title, fill=_INK, font=font)
        y += line
        pen.rectangle((_MARGIN - 1, y - 1, _MARGIN + image.width, y + image.height), outline=_FRAME)
        sheet.paste(image, (_MARGIN, y))
        y += image.height + _MARGIN
    return sheet


def _printable(text: str) -> str:
    """A title in one line of characters that a font may have."""
    text = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
    return text if len(text) <= 120 else f"{text[:119]}…"
