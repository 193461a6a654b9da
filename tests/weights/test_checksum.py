"""Checksums of our own files: a flipped bit is found, and protobuf reads the file as if they were not there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import proto2torch as p2t
from proto2torch.errors import Proto2TorchError, SolverError, WeightsError
from proto2torch.prototxt import binary
from proto2torch.prototxt.read import read_net
from proto2torch.weights import caffemodel, solverstate, wire
from proto2torch.weights.checksum import FIELD, Checksum
from proto2torch.weights.solverstate import SolverState

from .golden import TOOLS, parsed


@pytest.fixture
def sealed(tmp_path: Path) -> Path:
    """Weights as `save` writes them."""
    net = p2t.load(str(TOOLS / "net.prototxt"), str(TOOLS / "net.caffemodel"))
    net.save(str(tmp_path / "w.caffemodel"))
    net.close()
    return tmp_path / "w.caffemodel"


def flipped(path: Path, bit: int) -> None:
    content = bytearray(path.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)


def test_every_flipped_bit_of_the_values_is_found(sealed: Path) -> None:
    whole, bits = sealed.read_bytes(), np.random.default_rng(0).integers(0, (len(sealed.read_bytes()) - 12) * 8, 300)
    caught = 0
    for bit in bits.tolist():
        sealed.write_bytes(whole)
        flipped(sealed, bit)
        with pytest.raises(Proto2TorchError):
            p2t.read_weights(str(sealed))
        caught += 1
    assert caught == 300


def test_the_message_names_the_damage_and_the_way_on(sealed: Path) -> None:
    flipped(
        sealed, sealed.read_bytes().index(np.float32(p2t.read_weights(str(sealed))["conv"][0].flat[5]).tobytes()) * 8
    )
    with pytest.raises(WeightsError) as raised:
        p2t.read_weights(str(sealed))
    assert "it is damaged" in raised.value.message and raised.value.file == str(sealed)
    assert raised.value.hint is not None and "check=False" in raised.value.hint
    assert set(p2t.read_weights(str(sealed), check=False)) == {"conv", "fc"}


def test_protobuf_reads_what_caffe_would(sealed: Path) -> None:
    ours, caffes = parsed(sealed, "NetParameter"), parsed(TOOLS / "net.caffemodel", "NetParameter")
    for a, b in zip(ours.layer, caffes.layer, strict=False):
        assert a.name == b.name and [list(x.data) for x in a.blobs] == [list(x.data) for x in b.blobs]
    plain, path = caffemodel.read(str(sealed)), sealed.with_name("plain.caffemodel")
    caffemodel.write(
        str(path), plain.name, [(m, [x.array for x in plain.layers[m.name].blobs if x]) for m in ours.layer]
    )
    assert sealed.read_bytes()[:-12] == path.read_bytes()


def test_the_net_of_a_sealed_file_is_read(sealed: Path) -> None:
    names = [layer.name for layer in read_net(str(sealed)).layers]
    assert names == [layer.name for layer in read_net(str(TOOLS / "net.caffemodel")).layers]
    assert wire.tag(FIELD, wire.FIXED64) == binary.SEAL and len(sealed.read_bytes()) > binary.SEALED


def test_solver_states(tmp_path: Path) -> None:
    state, path = (
        SolverState(7, "w.caffemodel", [np.arange(60, dtype=np.float32).reshape(3, 20)], 2),
        tmp_path / "s.solverstate",
    )
    solverstate.write(str(path), state, seal=True)
    found = solverstate.read(str(path))
    assert (found.iter, found.learned_net, found.current_step) == (7, "w.caffemodel", 2)
    assert np.array_equal(found.history[0], state.history[0])
    message = parsed(path.rename(tmp_path / "t.solverstate"), "SolverState")
    assert message.iter == 7 and list(message.history[0].data) == list(range(60))
    flipped(tmp_path / "t.solverstate", 8 * 100)
    with pytest.raises(SolverError, match="it is damaged"):
        solverstate.read(str(tmp_path / "t.solverstate"))


@pytest.mark.parametrize("cuts", [[], [1], [7, 8], [3, 4, 5, 40], [16, 16, 17]])
def test_the_sum_of_words_whatever_the_parts(cuts: list[int]) -> None:
    data = np.random.default_rng(1).integers(0, 256, 61, np.uint8).tobytes()
    padded = data + bytes(3)
    expected: Any = sum(int.from_bytes(padded[i : i + 8], "little") for i in range(0, 64, 8)) + 61
    found = Checksum()
    for start, end in zip([0, *cuts], [*cuts, 61], strict=True):
        found.add(data[start:end])
    assert found.value() == expected % 2**64
