"""What reads the data in one script: the Datasets by name, the functions that transform their images, their means."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from proto2torch.errors import UnsupportedError
from proto2torch.layers.base import literal, number
from proto2torch.train_script import pieces
from proto2torch.train_script.inputs import DUMMY, IMAGE, Feed
from proto2torch.train_script.models import Model
from proto2torch.train_script.parts import Batches
from proto2torch.train_script.text import laid_out
from proto2torch.train_script.transforms import Transform


class Readers:
    """Gathers what the feeds of all nets need; `stem` is the script's name, by which the files beside it are called.

    Attributes: `functions`, the source of transforms and Datasets by what they do; `means`, constants at the top of the
    script; `arrays`, those that are too large for it, by the name of their file.
    """

    def __init__(self, feeds: Sequence[Sequence[Feed]], stem: str) -> None:
        self.feeds = [feed for of_net in feeds for feed in of_net]
        self.stem = stem
        self.functions: dict[str, str] = {}
        self.means: list[str] = []
        self.arrays: dict[str, Any] = {}

    def batches(self, feeds: Sequence[Feed], model: Model) -> Batches:
        """What feeds a net: of all its data layers those that it reads.

        Raises:
            UnsupportedError: it reads none.
        """
        wanted = model.source.inputs
        used = [feed for feed in feeds if any(top in wanted for top in feed.tops)]
        if not used:
            raise UnsupportedError(f"a training script needs data, and the net {model.graph.name!r} reads none")
        tops = [top for feed in used for top in feed.tops]
        places = None if tops == list(wanted) else tuple(tops.index(name) for name in wanted)
        return Batches(tuple((self._dataset(feed, model.graph.phase), feed.size) for feed in used), places)

    def carried(self, body: str) -> list[str]:
        """The pieces of carried/ that a script uses, reading no more than its databases hold."""
        databases = [feed for feed in self.feeds if feed.is_database]
        own = {}
        modes = {feed.mode for feed in databases}
        if len(modes) > 1:
            raise UnsupportedError("a training script reads all its databases in colour, in grey or as they are")
        if databases and all(feed.raw for feed in databases):
            own["read_datum"] = pieces.pieces()["read_raw_datum"].replace("read_raw_datum", "read_datum")
        elif databases and None not in modes:
            forced = f"decoded(fields[4][-1], {literal(modes.pop())})"
            own["read_datum"] = pieces.pieces()["read_datum"].replace("decoded(fields[4][-1])", forced)
        return pieces.closure(body, own)

    def _dataset(self, feed: Feed, phase: str) -> str:
        return feed.dataset.replace(IMAGE, self._transform(feed, phase)).replace(DUMMY, self._dummy(feed))

    def _transform(self, feed: Feed, phase: str) -> str:
        """The name of the function that an image goes through."""
        transform = feed.transform
        if transform is None or not transform.body:
            return ""
        mean = self._mean(transform, phase)
        name = "prepare" if self._one_transform() else f"{phase.lower()}_image"
        key = transform.function("", mean)
        if key not in self.functions:
            taken = sum(text.startswith(f"def {name}") for text in self.functions.values())
            self.functions[key] = transform.function(f"{name}_{taken + 1}" if taken else name, mean)
        return self.functions[key].removeprefix("def ").partition("(")[0]

    def _one_transform(self) -> bool:
        """Whether all images are transformed alike."""
        found = [feed.transform for feed in self.feeds if feed.transform and feed.transform.body]
        return all(other.body == found[0].body and _same(other.mean, found[0].mean) for other in found)

    def _mean(self, transform: Transform, phase: str) -> str:
        """The name of the constant that holds the mean."""
        if transform.mean is None:
            return ""
        if transform.in_file:
            file = literal(self._file(transform.mean, phase))
            value = f"torch.from_numpy(np.load(Path(__file__).with_name({file})))"
        else:
            numbers = ", ".join(repr(float(number(float(v)))) for v in transform.mean.reshape(-1))
            value = f"torch.tensor([{numbers}])[:, None, None]  # by channel"
        for line in self.means:
            if line.partition(" = ")[2] == value:
                return line.partition(" = ")[0]
        name = "MEAN" if not self.means else f"{phase}_MEAN"
        while any(line.startswith(f"{name} =") for line in self.means):
            name += "_"
        self.means.append(f"{name} = {value}")
        return name

    def _file(self, mean: Any, phase: str) -> str:
        """The name of the file with a mean image."""
        for taken, array in self.arrays.items():
            if _same(array, mean):
                return taken
        name = f"{self.stem}_mean.npy" if not self.arrays else f"{self.stem}_{phase.lower()}_mean.npy"
        while name in self.arrays:
            name = f"{name[:-4]}_.npy"
        self.arrays[name] = mean
        return name

    def _dummy(self, feed: Feed) -> str:
        """The name of the Dataset class of a DummyData layer."""
        if not feed.dummy:
            return ""
        if feed.dummy not in self.functions:
            taken = sum(text.startswith("class Dummy") for text in self.functions.values())
            head = [f"class Dummy{taken + 1 if taken else ''}(Dataset):", '    """Batches that fillers write."""', ""]
            head += ["    def __init__(self, seed):", "        self.seed = seed", ""]
            self.functions[feed.dummy] = laid_out("\n".join([*head, feed.dummy]))
        return self.functions[feed.dummy].removeprefix("class ").partition("(")[0]


def _same(a: Any, b: Any) -> bool:
    """Whether two means, arrays or None, are equal."""
    if a is None or b is None:
        return a is b
    return bool(a.shape == b.shape and (a == b).all())
