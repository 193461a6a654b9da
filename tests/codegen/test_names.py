"""Names: legal ones stay, others become legal, none collides, none is anything but a name."""

from __future__ import annotations

import keyword

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from proto2torch.codegen.names import LOCALS, MODULE_ATTRIBUTES, Names, class_name, identifier


def test_reserved_attributes_are_those_of_nn_module() -> None:
    public = {name for name in dir(nn.Module) if not name.startswith("_")}
    instance = {name for name in vars(nn.Module()) if not name.startswith("_")}
    assert public | instance <= MODULE_ATTRIBUTES


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("conv1", "conv1"),
        ("conv1/7x7_s2", "conv1_7x7_s2"),
        ("1", "layer_1"),
        ("fc-8", "fc_8"),
        ("x; import os", "x__import_os"),
        ("", "layer"),
        ("___", "layer"),
        ("__class__", "class"),
        ("层", "layer"),
        ("a" * 500, "a" * 64),
    ],
)
def test_identifier(name: str, expected: str) -> None:
    assert identifier(name, "layer") == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("LeNet", "LeNet"),
        ("ResNet-50", "ResNet50"),
        ("", "Net"),
        ("2net", "Net2net"),
        ("None", "NoneNet"),
        ("a b", "AB"),
    ],
)
def test_class_name(name: str, expected: str) -> None:
    assert class_name(name) == expected


def test_a_legal_name_keeps_its_spelling_whatever_comes_first() -> None:
    names = Names("layer", MODULE_ATTRIBUTES)
    names.give(["fc-8", "fc_8", "train", "fc 8"])
    assert [names[n] for n in ("fc_8", "fc-8", "fc 8", "train")] == ["fc_8", "fc_8_", "fc_8_2", "train_"]


@given(st.lists(st.text(max_size=80), max_size=20))
def test_every_name_is_a_unique_identifier(given_names: list[str]) -> None:
    names = Names("blob", LOCALS)
    names.give(given_names)
    made = [names[n] for n in set(given_names)]
    assert len(set(made)) == len(made)
    for name in made:
        assert name.isidentifier() and name.isascii() and not keyword.iskeyword(name) and name not in LOCALS
        assert not name.startswith("__")
