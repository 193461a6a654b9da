"""Binary nets of forks, with the numbers that each gives its fields."""

from __future__ import annotations

import pytest
from google.protobuf import text_format

from proto2torch.errors import UnsupportedError
from proto2torch.prototxt import binary, schema
from proto2torch.prototxt.dialect import written_for

from .nets import document

SEGNET = 'layer { name: "b" type: "BN" bottom: "x" top: "y" bn_param { bn_mode: INFERENCE scale_filler { value: 2 } } }'
AMBIGUOUS = 'layer { name: "s" type: "SoftmaxWithLoss" bottom: "x" bottom: "y" loss_param { class_weighting: 2 } }'
SSD = """
layer { name: "n" type: "Normalize" bottom: "x" top: "y" norm_param { across_spatial: false eps: 0.5 } }
layer { name: "p" type: "Permute" bottom: "y" top: "z" permute_param { order: 0 order: 2 } blobs { data: 1 data: 2 } }
"""
WINDOWS = 'layer { name: "f" type: "Flip" bottom: "x" top: "y" flip_param { flip_height: true } }'


def written(fork: str, text: str) -> bytes:
    """The bytes that a fork writes."""
    message = schema.classes_of(fork)["NetParameter"]()
    data: bytes = text_format.Parse(text, message).SerializeToString()
    return data


@pytest.mark.parametrize(("fork", "text"), [("segnet", SEGNET), ("ssd", SSD), ("windows", WINDOWS), ("yolo", SSD)])
def test_the_numbers_that_fit_decide(fork: str, text: str) -> None:
    assert binary.net(written(fork, text)).message == document(text).message


def test_the_numbers_are_those_of_the_fork() -> None:
    # LossParameter's class_weighting is 4 in SegNet, where others have pre_fixed_normalizer: 2.0f after the tag 4 << 3 | 5
    assert b"\x25\x00\x00\x00\x40" in written("segnet", AMBIGUOUS)


def test_what_fits_several_is_refused_unless_one_is_named() -> None:
    data = written("segnet", AMBIGUOUS)
    with pytest.raises(UnsupportedError) as raised:
        binary.net(data, "net.bin")
    assert "segnet" in raised.value.message and "rfcn" in raised.value.message
    assert "do not mean the same there" in raised.value.message
    with written_for("segnet"):
        assert binary.net(data).message == document(AMBIGUOUS).message
    with written_for("rfcn"):
        assert binary.net(data).message.layer[0].loss_param.pre_fixed_normalizer == 2


def test_bytes_that_the_named_fork_does_not_write_are_refused() -> None:
    with written_for("face"), pytest.raises(UnsupportedError, match="its fields do not have the numbers of face"):
        binary.net(written("segnet", SEGNET), "net.bin")


def test_what_nobody_writes_is_refused() -> None:
    data = written("ssd", SSD) + b"\xf8\xff\xff\xff\x0f\x01"  # field 536870911
    with pytest.raises(UnsupportedError, match="fields that are not among Caffe's"):
        binary.net(data)


def test_caffes_own_nets_cost_no_look_at_forks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "classes_of", lambda fork: pytest.fail("a fork was looked at"))
    text = (
        'layer { name: "c" type: "Convolution" convolution_param { num_output: 1 kernel_size: 3 } blobs { data: 1 } }'
    )
    assert binary.net(binary.dump(document(text).message)).message == document(text).message
