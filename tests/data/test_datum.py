from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proto2torch.data.datum import NotADatum, Parser, parse, write
from proto2torch.prototxt.schema import new

from .records import datum, pictures

INT32 = st.integers(-(2**31), 2**31 - 1)


@given(INT32, INT32, INT32, INT32, st.booleans(), st.binary(max_size=300), st.lists(st.floats(width=32), max_size=9))
def test_reads_what_protobuf_wrote(
    channels: int, height: int, width: int, label: int, encoded: bool, data: bytes, floats: list[float]
) -> None:
    message = new("Datum")
    message.channels, message.height, message.width, message.label = channels, height, width, label
    message.encoded, message.data = encoded, data
    message.float_data.extend(floats)

    read = parse(memoryview(message.SerializeToString()))

    assert (read.channels, read.height, read.width, read.label, read.encoded) == (
        channels,
        height,
        width,
        label,
        encoded,
    )
    assert bytes(read.data) == data
    values = np.array(floats, np.float32)
    assert (read.floats is None) == (not floats)
    assert read.floats is None or read.floats.tobytes() == values.tobytes()


@pytest.mark.parametrize("packed", [True, False])
def test_float_data_packed_or_not(packed: bool) -> None:
    values = [1.5, -2.0, 0.25, 3.0, 0.0, 7.0]
    single = b"".join(b"\x35" + struct.pack("<f", v) for v in values)
    floats = b"\x32\x18" + struct.pack("<6f", *values) if packed else single
    record = memoryview(b"\x08\x01\x10\x02\x18\x03" + floats + b"\x28\x05")

    read = parse(record)

    assert read.image().tolist() == [[[1.5, -2.0, 0.25], [3.0, 0.0, 7.0]]]
    assert read.label == 5


def test_unknown_fields_are_skipped_and_the_last_of_two_counts() -> None:
    unknown = b"\x40\x07" + b"\x4a\x02xx" + b"\x55\x00\x00\x00\x00" + b"\x59" + bytes(8)
    record = memoryview(unknown + b"\x08\x02" + datum(np.full((1, 1, 2), 9, np.uint8), 3) + unknown)
    assert parse(record).image().tolist() == [[[9, 9]]]
    assert parse(record).label == 3


def test_pixels_are_not_copied() -> None:
    record = datum(pictures(1)[0])
    assert np.shares_memory(parse(memoryview(record)).image(), np.frombuffer(record, np.uint8))


def test_every_record_cut_short_is_refused() -> None:
    record = memoryview(datum(pictures(1, (3, 5, 7))[0], 300))
    for length in range(len(record) - 3):
        with pytest.raises(NotADatum):
            parse(record[:length]).image()


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(record: bytes) -> None:
    try:
        parse(memoryview(record)).image()
    except NotADatum as error:
        assert str(error)


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (b"\x08\x01\x10\x02\x18\x02\x22\x03abc", "channels * height * width = 1 * 2 * 2 values. Received: 3"),
        (b"\x08\x01\x10\x02\x18\x02", "1 * 2 * 2 values. Received: 0"),
        (b"", "0 * 0 * 0 values. Received: 0"),
        (b"\x22\x00\x08\x01", "1 * 0 * 0 values. Received: 0"),
    ],
)
def test_pixels_that_do_not_fit(record: bytes, message: str) -> None:
    with pytest.raises(NotADatum) as caught:
        parse(memoryview(record)).image()
    assert message in str(caught.value)


def test_a_field_of_another_type() -> None:
    with pytest.raises(NotADatum, match="data must be coded as a length and bytes"):
        parse(memoryview(b"\x20\x05"))


@given(st.lists(st.tuples(st.sampled_from([(1, 2, 3), (3, 2, 1), (1, 1, 1)]), INT32, st.integers(0, 3)), max_size=30))
def test_a_parser_gives_what_parse_gives(records: list[tuple[tuple[int, int, int], int, int]]) -> None:
    parser = Parser()
    for shape, label, kind in records:
        image = pictures(1, shape, seed=label % 1000)[0]
        record = datum(image if kind else image.astype(np.float32), label)
        record += (b"", b"", b"\x08\x07", b"\x22\x01z")[kind]  # after the label: channels again, data again
        read, expected = parser(memoryview(record)), parse(memoryview(record))
        assert bytes(read.data) == bytes(expected.data)
        assert (read.channels, read.height, read.width, read.label) == (
            expected.channels,
            expected.height,
            expected.width,
            expected.label,
        )
        assert (read.floats is None) == (expected.floats is None)


def test_a_parser_refuses_a_record_cut_within_its_pixels() -> None:
    parser, record = Parser(), datum(pictures(1)[0], 0)
    parser(memoryview(record))
    parser(memoryview(record[:-2]))  # without a label: nothing follows the pixels
    with pytest.raises(NotADatum):
        parser(memoryview(record[:-3]))


@pytest.mark.parametrize("label", [0, 9, 200, 70000, -1])
def test_writes_as_protobuf_does(label: int) -> None:
    image = pictures(1, (3, 20, 130))[0]
    assert write(image, label) == datum(image, label)
