"""Draw images of squares, discs and triangles, with PASCAL VOC's XML for each: what the example is trained on."""

from __future__ import annotations

import argparse
import random
from pathlib import Path

from PIL import Image, ImageDraw, ImageFilter

SIDE = 96
NAMES = ("square", "disc", "triangle")
Box = tuple[int, int, int, int]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=600, help="images to train on (600); a quarter as many to test")
    arguments = parser.parse_args()
    for part, count, seed in (("train", arguments.count, 0), ("test", arguments.count // 4, 1)):
        folder = arguments.folder / part
        folder.mkdir(parents=True, exist_ok=True)
        draw = random.Random(seed)
        for number in range(count):
            image, objects = drawn(draw)
            image.save(folder / f"{number:04d}.jpg", quality=95)
            (folder / f"{number:04d}.xml").write_text(xml(objects))
        lines = (f"{part}/{number:04d}.jpg {part}/{number:04d}.xml\n" for number in range(count))
        (arguments.folder / f"{part}.txt").write_text("".join(lines))


def drawn(draw: random.Random) -> tuple[Image.Image, list[tuple[str, Box]]]:
    """An image with one to three shapes that do not touch, and their boxes."""
    small = Image.effect_noise((SIDE // 8, SIDE // 8), 60).convert("RGB")
    image = small.resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    pen, objects = ImageDraw.Draw(image), []
    for _ in range(draw.randint(1, 3)):
        size = draw.randint(16, 48)
        left, top = (draw.randint(0, SIDE - 1 - size) for _ in range(2))
        box = (left, top, left + size, top + size)
        if any(near(box, other) for _, other in objects):
            continue
        name, colour = draw.choice(NAMES), tuple(draw.choice((20, 90, 160, 240)) for _ in range(3))
        if name == "square":
            pen.rectangle(box, fill=colour)
        elif name == "disc":
            pen.ellipse(box, fill=colour)
        else:
            pen.polygon([(left, box[3]), (box[2], box[3]), ((left + box[2]) / 2, top)], fill=colour)
        objects.append((name, box))
    return image.filter(ImageFilter.GaussianBlur(0.6)), objects


def near(a: Box, b: Box) -> bool:
    """Whether two boxes touch, or nearly."""
    return a[0] < b[2] + 4 and b[0] < a[2] + 4 and a[1] < b[3] + 4 and b[1] < a[3] + 4


def xml(objects: list[tuple[str, Box]]) -> str:
    parts = [f"<annotation><size><width>{SIDE}</width><height>{SIDE}</height></size>"]
    for name, box in objects:
        corners = "".join(f"<{c}>{v}</{c}>" for c, v in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True))
        parts.append(f"<object><name>{name}</name><bndbox>{corners}</bndbox></object>")
    return "\n".join([*parts, "</annotation>\n"])


if __name__ == "__main__":
    main()
