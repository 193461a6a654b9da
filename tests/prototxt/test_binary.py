from __future__ import annotations

import pytest

from proto2torch.errors import PrototxtError, UnsupportedError
from proto2torch.prototxt import binary, schema
from tests.prototxt.nets import document, problems

NET = 'name: "n" layer { name: "a" type: "ReLU" bottom: "x" top: "y" }'
WEIGHTS = (
    'layer { name: "a" type: "Scale" blobs { data: 1 } } layer { name: "b" type: "ReLU" }',
    'layers { name: "a" type: RELU blobs { data: 1 } }',
    'layers { layer { name: "a" type: "relu" blobs { data: 1 } } }',
)


def test_bytes_come_back_as_the_message() -> None:
    message = document(NET).message
    data = binary.dump(message)
    assert binary.is_binary(data)
    assert binary.net(data, "net.bin").message == message
    assert binary.net(data, "net.bin").path == "net.bin"


@pytest.mark.parametrize("text", [NET, "", "\n\t# \f\v é\r\n", "\N{BYTE ORDER MARK}name: 'n'"])
def test_text_is_not_binary(text: str) -> None:
    assert not binary.is_binary(text.encode())


@pytest.mark.parametrize("source", [NET, *WEIGHTS, 'input: "x" input_dim: 1', "layers { type: RELU }"])
def test_binary_nets_are_told_from_text(source: str) -> None:
    assert binary.is_binary(binary.dump(document(source).message))


@pytest.mark.parametrize("source", WEIGHTS)
def test_weights_are_left_out_of_every_format(source: str) -> None:
    given = binary.net(binary.dump(document(source).message))
    small = binary.without_weights(given)
    assert small.message == document(source.replace("blobs { data: 1 }", "")).message


def test_a_net_without_weights_is_not_copied() -> None:
    given = binary.net(binary.dump(document(NET).message))
    assert binary.without_weights(given) is given


def test_a_net_cut_short_is_refused() -> None:
    data = binary.dump(document(NET).message)
    with pytest.raises(PrototxtError, match="neither the text of a net nor a whole binary net") as raised:
        binary.net(data[:-3], "net.bin")
    assert raised.value.file == "net.bin"


def test_an_hdf5_file_is_named() -> None:
    with pytest.raises(PrototxtError, match="HDF5 file, which holds weights and no net"):
        binary.net(b"\x89HDF\r\n\x1a\n" + bytes(100))


def test_another_message_is_refused() -> None:
    mean = schema.new("BlobProto")
    mean.num = mean.channels = mean.height = mean.width = 1
    mean.data.append(3)
    with pytest.raises(PrototxtError, match="holds no layers"):
        binary.net(binary.dump(mean), "mean.binaryproto")


def test_more_than_protobuf_takes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binary, "LARGEST", 10)
    with pytest.raises(PrototxtError, match="has 10 bytes at most"):
        binary.net(bytes(11))


FIELD_777 = b"\xc8\x30\x01"
"""Field 777 of type varint, which no message of Caffe has."""


def test_fields_of_a_fork_are_refused_layer_by_layer() -> None:
    first = binary.dump(document(NET).message.layer[0]) + FIELD_777
    tag = b"\xa2\x06"  # field 100, `layer`
    data = tag + bytes([len(first)]) + first + FIELD_777
    found = problems(binary.net, data, "net.bin")
    assert all(isinstance(problem, UnsupportedError) for problem in found)
    assert [problem.layer for problem in found] == ["a", None]


def test_an_unknown_number_of_a_v1_type_is_refused() -> None:
    layer = b"\x22\x01a\x28\xf4\x03"  # name: "a", type: 500
    (problem,) = problems(binary.net, b"\x12" + bytes([len(layer)]) + layer, "net.bin")
    assert problem.layer == "a"
    assert "fields, or a type, that are not among Caffe's" in problem.message
