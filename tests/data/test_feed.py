from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch

from proto2torch import data
from proto2torch.errors import DataError

from .records import data_layer, datum, mapped, pictures, write_lmdb


def feed(folder: Path, transform: str = "crop_size: 3 mirror: true", seed: int | None = 5) -> data.Feed:
    if not (folder / "db").exists():
        write_lmdb(folder / "db", [datum(image, i) for i, image in enumerate(pictures(10, (1, 6, 6)))])
    return data.open(data_layer(folder, transform=transform), "TRAIN", seed)


def running() -> int:
    return sum(t.name == "proto2torch-prefetch" for t in threading.enumerate())


def same(one: tuple[torch.Tensor, ...], two: tuple[torch.Tensor, ...]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


def test_a_state_is_that_of_the_batches_consumed(tmp_path: Path) -> None:
    first = feed(tmp_path)
    for _ in range(3):
        first.next()
    state = first.state()
    assert state == {"position": 12, "seed": 5}
    expected = [first.next() for _ in range(4)]
    first.close()

    other = feed(tmp_path, seed=None)
    other.next()
    other.load_state(state)
    assert all(same(other.next(), batch) for batch in expected)
    other.load_state(state)
    assert same(other.next(), expected[0])
    other.close()


def test_another_seed_from_the_same_place(tmp_path: Path) -> None:
    one, two = feed(tmp_path, seed=5), feed(tmp_path, seed=6)
    one.next()
    two.next()
    two.reseed(5)
    assert same(one.next(), two.next())
    one.close()
    two.close()


def test_the_thread_starts_with_the_first_batch_and_ends_with_the_feed(tmp_path: Path) -> None:
    opened = feed(tmp_path)
    assert running() == 0
    opened.next()
    assert running() == 1
    opened.close()
    opened.close()
    assert running() == 0
    with pytest.raises(DataError, match="the feed is closed"):
        opened.next()


def test_a_feed_that_is_dropped_closes_itself(tmp_path: Path) -> None:
    opened = feed(tmp_path)
    opened.next()
    del opened
    assert running() == 0
    assert not mapped(tmp_path)


def test_the_child_of_a_fork_goes_on_by_itself(tmp_path: Path) -> None:
    feed(tmp_path).close()
    script = f"""
import os, torch
from pathlib import Path
from tests.data.test_feed import feed
opened, again = feed(Path({str(tmp_path)!r})), feed(Path({str(tmp_path)!r}))
opened.next(), again.next()
expected = [again.next()[0] for _ in range(4)]
child = os.fork()
got = [opened.next()[0] for _ in range(4)]
right = all(map(torch.equal, got, expected))
opened.close()
if child == 0:
    os._exit(0 if right else 1)
assert right and os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""
    root = Path(__file__).parent.parent.parent
    subprocess.run([sys.executable, "-W", "ignore", "-c", script], cwd=root, check=True, timeout=60)


@pytest.mark.parametrize("depth", [1, 7])
def test_as_many_batches_are_made_ahead_as_prefetch_says(tmp_path: Path, depth: int) -> None:
    feed(tmp_path).close()
    param = f'source: "{tmp_path}/db" batch_size: 2 backend: LMDB prefetch: {depth}'
    opened = data.open(data_layer(tmp_path, param=param), "TRAIN", 5)
    source, made, enough = opened._source, [], threading.Event()
    make = source.batch

    def batch(first: int) -> tuple[torch.Tensor, ...]:
        made.append(first)
        if len(made) == depth + 1:
            enough.set()
        return make(first)

    source.batch = batch  # type: ignore[method-assign]
    opened.next()
    assert enough.wait(10)
    time.sleep(0.05)  # were there one more, it would be made now
    assert made == [2 * n for n in range(depth + 1)]  # the one that was taken, and those ahead
    opened.close()
