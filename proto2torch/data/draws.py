"""Words of a random stream by the number of the image that they are for."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from proto2torch.weights.random import Stream

_SKIPPED_AT_ONCE = 1 << 20  # words


class Draws:
    """`per_image` words for each image, from the first one on."""

    def __init__(self, seed: int, per_image: int) -> None:
        self.seed = seed
        self.per_image = per_image
        self._stream, self._at = Stream(seed), 0

    def take(self, first: int, count: int) -> NDArray[np.uint32]:
        """(count, per_image) words."""
        if first < self._at:
            self._stream, self._at = Stream(self.seed), 0
        missing = (first - self._at) * self.per_image
        while missing > 0:
            missing -= len(self._stream.words(min(missing, _SKIPPED_AT_ONCE)))
        self._at = first + count
        return self._stream.words(count * self.per_image).reshape(count, self.per_image)
