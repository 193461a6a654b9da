"""Image files as OpenCV gives them to Caffe."""

import io

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps
from torch.utils.data import Dataset


def decoded(encoded, mode=None):
    """The pixels (C, H, W) of an image file, blue before red; `mode` is RGB or L."""
    image = Image.open(io.BytesIO(encoded))
    if image.mode not in ("1", "L", "P", "RGB") and not (mode and "A" in image.mode):
        raise ValueError(f"cannot use an image of mode {image.mode}")
    if mode:
        image = ImageOps.exif_transpose(image)
    image = image.convert(mode or ("L" if image.mode in "1L" else "RGB"))
    pixels = np.atleast_3d(np.asarray(image))[:, :, ::-1].transpose(2, 0, 1)
    return torch.from_numpy(pixels.copy())


def resized(image, height, width):
    """An image of another size, by OpenCV's bilinear rule to within one level."""
    pixels = image[None].float()
    pixels = F.interpolate(pixels, (height, width), mode="bilinear")
    return pixels[0].round().to(torch.uint8)


class ImageList(Dataset):
    """Images and labels of a list of files, over and over.

    A line of the list is a path below `root`, a space and a label. `size` is (height,
    width) to resize to.
    """

    def __init__(self, path, root="", transform=None, mode="RGB", size=None):
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            lines = [line.rstrip().rpartition(" ") for line in file.read().splitlines()]
        self.images = [(root + name, int(label)) for name, _, label in lines if name]
        self.transform, self.mode, self.size = transform, mode, size

    def __len__(self):
        return len(self.images)

    def __getitem__(self, number):
        name, label = self.images[number % len(self.images)]
        with open(name, "rb") as file:
            image = decoded(file.read(), self.mode)
        if self.size:
            image = resized(image, *self.size)
        return (self.transform(image) if self.transform else image), label
