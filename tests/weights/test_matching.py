"""Which stored blob goes where in a net."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from proto2torch.errors import WeightsError
from proto2torch.weights.matching import match
from proto2torch.weights.stored import StoredBlob, StoredLayer, StoredWeights, of_arrays


def stored(hdf5: bool = False, legacy: bool = False, **layers: list[tuple[int, ...] | None]) -> StoredWeights:
    """Layers of blobs of the given shapes, filled with 0, 1, 2 …"""

    def blob(shape: tuple[int, ...] | None) -> StoredBlob | None:
        if shape is None:
            return None
        return StoredBlob(np.arange(np.prod(shape, dtype=int), dtype=np.float32).reshape(shape), legacy)

    made = {name: StoredLayer(name, tuple(blob(s) for s in shapes)) for name, shapes in layers.items()}
    return StoredWeights(made, "w.caffemodel", hdf5=hdf5)


def test_layers_match_by_name_and_the_rest_is_reported() -> None:
    report = match(
        stored(conv=[(2, 3), (2,)], old=[(1,)], relu=[], split=[]), {"conv": [(2, 3), (2,)], "relu": [], "new": [(4,)]}
    )
    assert list(report.matched) == ["conv"]
    first, second = report.matched["conv"]
    assert first is not None and first.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert second is not None and second.tolist() == [0, 1]
    assert report.ignored == ["old", "split"]
    assert report.untouched == ["new"]
    assert report.lines() == [
        "Ignoring source layer old",
        "Ignoring source layer split",
        "weights of 1 layer loaded; besides them:",
        "  layer  in the file  in the net",
        "  old    1            -           not used",
        "  new    -            4           left as it was",
    ]


@pytest.mark.parametrize(
    "legacy, shape, target, fits",
    [
        (True, (1, 1, 3, 4), (3, 4), True),
        (True, (1, 1, 1, 4), (4,), True),
        (True, (1, 1, 1, 1), (), True),
        (True, (2, 3, 1, 1), (2, 3, 1, 1), True),
        (True, (3, 4, 1, 1), (3, 4), False),
        (True, (1, 1, 3, 4), (1, 1, 1, 3, 4), False),
        (False, (1, 1, 3, 4), (3, 4), False),
        (False, (3, 4), (3, 4), True),
        (False, (), (), True),
        (False, (12,), (3, 4), False),
    ],
)
def test_the_rule_of_shapes(legacy: bool, shape: tuple[int, ...], target: tuple[int, ...], fits: bool) -> None:
    source = stored(legacy=legacy, ip=[shape])
    if not fits:
        with pytest.raises(WeightsError) as raised:
            match(source, {"ip": [target]})
        assert raised.value.message == f"layer 'ip': blob 0 has shape {shape} in the file and {target} in the net"
        return
    array = match(source, {"ip": [target]}).matched["ip"][0]
    assert array is not None
    assert array.shape == target
    assert array.ravel().tolist() == list(range(int(np.prod(target, dtype=int))))


@pytest.mark.parametrize("here, there", [([(2,)], [(2,), (2,)]), ([], [(2,)]), ([(2,)], [])])
def test_the_number_of_blobs_must_be_the_same(here: list[Any], there: list[Any]) -> None:
    with pytest.raises(WeightsError, match=r"layer 'a': \d blobs? in the file and \d blobs? in the net"):
        match(stored(a=here), {"a": there})


def test_every_misfit_is_in_one_table_and_a_new_classifier_gets_its_hint() -> None:
    source = stored(conv=[(2, 3)], ip=[(4, 5), (4,)], fc8=[(1000, 6), (1000,)], old=[(7,)])
    with pytest.raises(WeightsError) as raised:
        match(source, {"conv": [(2, 9)], "ip": [(4, 5)], "fc8": [(102, 6), (102,)], "s": [()]})
    assert raised.value.message.splitlines() == [
        "3 layers do not fit:",
        "  layer  in the file    in the net",
        "  conv   2x3            2x9          another shape",
        "  ip     4x5 + 4        4x5          another number of blobs",
        "  fc8    1000x6 + 1000  102x6 + 102  another shape",
        "  old    7              -            not used",
        "  s      -              1 value      left as it was",
    ]
    assert raised.value.file == "w.caffemodel"
    assert raised.value.hint == (
        "fc8 has 1000 outputs in the file and 102 in the net: rename the layer to train it anew, "
        "by hand or with train --replace fc8=fc8_new:102"
    )


def test_old_blobs_of_four_axes_get_the_hint_too() -> None:
    source = stored(legacy=True, fc8=[(1, 1, 1000, 6), (1, 1, 1, 1000)])
    with pytest.raises(WeightsError, match="fc8 has 1000 outputs in the file and 102 in the net"):
        match(source, {"fc8": [(102, 6), (102,)]})


@pytest.mark.parametrize(
    "file, net, hint",
    [
        ({"a": [(3, 4)]}, {"a": [(4, 3)]}, "a is the other way round in the file"),
        ({"a": [(3, 4)]}, {"b": [(3, 4)]}, "a of the file has the shapes of b: layers are matched by name alone"),
        ({"a": [(3, 4)], "c": [(3, 4)]}, {"b": [(3, 4)]}, None),
        ({"a": [(3, 4)]}, {"b": [(3, 4)], "c": [(3, 4)]}, None),
        ({"a": [(3, 4)]}, {"a": [(3, 5)]}, None),
    ],
)
def test_hints(file: dict[str, Any], net: dict[str, Any], hint: str | None) -> None:
    with pytest.raises(WeightsError) as raised:
        match(stored(**file), net, strict=True)
    assert (raised.value.hint or "").startswith(hint or "") and bool(hint) == bool(raised.value.hint)


def test_strict_refuses_what_only_one_has() -> None:
    with pytest.raises(WeightsError) as raised:
        match(stored(old=[(1,)], split=[]), {"new": [(4,)], "relu": []}, strict=True)
    assert raised.value.message.splitlines() == [
        "2 layers do not fit:",
        "  layer  in the file  in the net",
        "  old    1            -           not used",
        "  new    -            4           left as it was",
    ]
    assert match(stored(split=[], a=[(4,)]), {"a": [(4,)], "relu": []}, strict=True).lines() == [
        "Ignoring source layer split"
    ]


def test_a_long_table_is_cut() -> None:
    lines = match(stored(**{f"l{i:03}": [(2, i)] for i in range(70)}), {}).lines()
    assert lines[-2:] == ["  l059   2x59         -           not used", "  and 10 layers more"]


def test_hdf5_may_leave_out_shared_blobs_alone() -> None:
    source = stored(hdf5=True, a=[None, (2,)], b=[])
    report = match(source, {"a": [(3,), (2,)], "b": [(3,)]}, shared={("a", 0), ("b", 0)})
    assert report.matched["a"][0] is None
    assert report.matched["b"] == [None]
    with pytest.raises(WeightsError, match="layer 'b': blob 0 is not in the file, and the net does not share it"):
        match(source, {"a": [(3,), (2,)], "b": [(3,)]}, shared={("a", 0)})
    with pytest.raises(WeightsError, match="layer 'a': 2 blobs in the file and 1 blob in the net"):
        match(source, {"a": [(3,)]}, shared={("a", 0)})


def test_arrays_match_as_a_file_does() -> None:
    report = match(of_arrays({"a": [[1, 2]]}), {"a": [(2,)]})
    assert [None if a is None else a.tolist() for a in report.matched["a"]] == [[1, 2]]


@pytest.mark.parametrize(
    "layers, message",
    [
        ({"ip": "abc"}, "layer 'ip': expected a list of arrays, one for each blob. Received: str"),
        ({"ip": None}, "Received: NoneType"),
        ({"ip": {"weight": 1}}, "Received: dict"),
        ({"ip": ["abc"]}, "layer 'ip': expected an array of numbers for blob 0. Received: str of <U3"),
        ({"ip": [[[1, 2], [3]]]}, "layer 'ip': expected an array of numbers for blob 0: "),
        ({"ip": [np.ones(2), None]}, "for blob 1. Received: NoneType of object"),
        ({"ip": [np.ones(2, complex)]}, "Received: ndarray of complex128"),
        ({3: [np.ones(2)]}, "layers are named by strings. Received: 3"),
    ],
)
def test_what_is_no_array_of_numbers_is_told(layers: Any, message: str) -> None:
    with pytest.raises(WeightsError) as raised:
        of_arrays(layers)
    assert message in str(raised.value)


def test_arrays_of_any_numbers_become_float32() -> None:
    tensor = torch.tensor([1.0, 2.0], dtype=torch.bfloat16, requires_grad=True)
    given = [np.array([1, 2], np.int64), [1, 2], tensor, np.array([True, False]), np.array([1e300, -1e300])]
    found = [blob.array for blob in of_arrays({"a": given}).layers["a"].blobs if blob]
    assert all(array.dtype == np.float32 for array in found)
    assert [array.tolist() for array in found] == [[1, 2], [1, 2], [1, 2], [1, 0], [np.inf, -np.inf]]
