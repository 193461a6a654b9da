"""The mean image of a database, to the bit as Caffe's compute_image_mean: float32 sums in the order of the keys."""

from __future__ import annotations

from contextlib import closing

import numpy as np
from numpy.typing import NDArray

from proto2torch.data.datum import NotADatum, Parser
from proto2torch.data.decode import Undecodable
from proto2torch.data.progress import Progress
from proto2torch.data.records import open_records
from proto2torch.errors import DataError, Where


def mean(db: str, backend: str | None = None) -> NDArray[np.float32]:
    """The mean (C, H, W) of all images of a database; without `backend`, of whatever it is.

    Raises:
        DataError: the database cannot be read, a record is no image, or one has another shape.
    """
    where = Where(file=db)
    parse, total, count = Parser(), None, 0
    with closing(open_records(db, backend, where)) as records, Progress(records) as progress:
        for key, value in records:
            try:
                image = parse(value).decoded()
            except (NotADatum, Undecodable) as error:
                raise DataError(f"the record {bytes(key)!r} is no image: {error}", where=where) from error
            total = np.zeros(image.shape, np.float32) if total is None else total
            if image.shape != total.shape:
                message = f"all images must have one shape, {total.shape} as the first."
                raise DataError(f"{message} Received: {image.shape} of the record {bytes(key)!r}", where=where)
            total += image
            count += 1
            progress.step()
    assert total is not None  # an empty database is not opened
    result: NDArray[np.float32] = total / np.float32(count)
    return result


def channel_means(image: NDArray[np.float32]) -> list[float]:
    """The mean of each channel of a mean image, summed pixel by pixel in float32 as Caffe does."""
    flat = image.reshape(len(image), -1)
    return [float(np.add.accumulate(channel)[-1] / np.float32(flat.shape[1])) for channel in flat]
