from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from proto2torch.errors import NetError
from proto2torch.prototxt import filters, schema
from tests.prototxt.nets import GOLDEN, problems, upgraded


def selected(source: str, phase: str = "TRAIN", level: int = 0, stages: tuple[str, ...] = ()) -> list[str]:
    return [layer.name for layer in filters.select(upgraded(source), phase, level, stages).layers]


RULES = [
    ("", "TRAIN", 0, (), True),
    ("phase: TRAIN", "TRAIN", 0, (), True),
    ("phase: TRAIN", "TEST", 0, (), False),
    ("min_level: 1", "TRAIN", 0, (), False),
    ("min_level: 1", "TRAIN", 1, (), True),
    ("min_level: -1", "TRAIN", 0, (), True),
    ("max_level: 1", "TRAIN", 1, (), True),
    ("max_level: 1", "TRAIN", 2, (), False),
    ("max_level: -1", "TRAIN", 0, (), False),
    ("min_level: 1 max_level: 2", "TRAIN", 2, (), True),
    ('stage: "a"', "TRAIN", 0, (), False),
    ('stage: "a"', "TRAIN", 0, ("b", "a"), True),
    ('stage: "a" stage: "b"', "TRAIN", 0, ("a",), False),
    ('stage: "a" stage: "b"', "TRAIN", 0, ("a", "b", "c"), True),
    ('stage: "A"', "TRAIN", 0, ("a",), False),
    ('not_stage: "a"', "TRAIN", 0, (), True),
    ('not_stage: "a"', "TRAIN", 0, ("b",), True),
    ('not_stage: "a" not_stage: "b"', "TRAIN", 0, ("b",), False),
    ('stage: "a" not_stage: "a"', "TRAIN", 0, ("a",), False),
    ('phase: TEST stage: "a"', "TEST", 0, ("a",), True),
    ('phase: TEST stage: "a"', "TRAIN", 0, ("a",), False),
]


@pytest.mark.parametrize(("rule", "phase", "level", "stages", "holds"), RULES)
def test_a_rule_holds_if_all_that_it_gives_holds(
    rule: str, phase: str, level: int, stages: tuple[str, ...], holds: bool
) -> None:
    included = f'layer {{ name: "i" type: "ReLU" include {{ {rule} }} }}'
    source = included + included.replace("include", "exclude").replace('"i"', '"e"')
    assert selected(source, phase, level, stages) == (["i"] if holds else ["e"])


SEVERAL = [
    ("include { phase: TEST } include { phase: TRAIN }", True),
    ('include { phase: TEST } include { stage: "a" }', False),
    ("exclude { phase: TEST } exclude { phase: TRAIN }", False),
    ('exclude { phase: TEST } exclude { stage: "a" }', True),
    ("", True),
]


@pytest.mark.parametrize(("rules", "kept"), SEVERAL)
def test_one_of_several_rules_is_enough(rules: str, kept: bool) -> None:
    assert selected(f'layer {{ name: "x" type: "ReLU" {rules} }}') == (["x"] if kept else [])


def test_the_layers_own_phase_is_no_rule() -> None:
    assert selected('layer { name: "x" type: "Dropout" phase: TEST }', "TRAIN") == ["x"]


def test_include_and_exclude_together_are_refused_in_every_layer_that_has_them() -> None:
    both = 'layer { name: "%s" type: "ReLU" include { }\n exclude { phase: TEST } }\n'
    found = problems(selected, both % "a" + 'layer { name: "ok" type: "ReLU" }' + both % "b")
    assert [(problem.layer, problem.line) for problem in found] == [("a", 2), ("b", 4)]
    assert all(isinstance(p, NetError) for p in found)
    assert found[0].message == "a layer takes include rules or exclude rules. Received: both"


STATE = 'state { phase: TEST level: 5 stage: "own" } '


def test_stages_add_to_the_files_own() -> None:
    source = STATE + 'layer { name: "x" type: "ReLU" include { stage: "own" stage: "given" } }'
    assert selected(source, stages=("given",)) == ["x"]
    assert selected(source) == []


def test_phase_and_level_replace_the_files_own() -> None:
    source = STATE + 'layer { name: "x" type: "ReLU" include { phase: TRAIN max_level: 1 } }'
    assert selected(source, "TRAIN", 1) == ["x"]


def test_the_state_that_decided_is_the_nets() -> None:
    net = filters.select(upgraded(STATE + 'layer { name: "x" type: "ReLU" }'), "TRAIN", 2, ("given",))
    assert (net.state.phase, net.state.level, list(net.state.stage)) == (0, 2, ["own", "given"])


def test_the_net_given_is_not_changed() -> None:
    net = upgraded(STATE + 'layer { name: "x" type: "ReLU" include { phase: TRAIN } }')
    filters.select(net, "TEST", 2, ("given",))
    assert (len(net.layers), net.state.level, list(net.state.stage)) == (1, 5, ["own"])


def test_an_unknown_phase_is_refused() -> None:
    (problem,) = problems(filters.select, upgraded('layer { name: "x" type: "ReLU" }'), "train")
    assert problem.message == "a phase is TRAIN or TEST. Received: 'train'"


@pytest.mark.parametrize("case", range(3))
def test_the_golden_nets_have_the_blobs_that_caffe_selected(case: int) -> None:
    path = GOLDEN / f"filters-{case}.prototxt"
    expected = np.load(path.with_suffix(".npz"))
    stages = tuple(json.loads(str(expected["stages"])))
    net = filters.select(upgraded(path.read_text()), str(expected["phase"]), int(expected["level"]), stages)
    made = {top for layer in net.layers for top in layer.message.top}
    assert made == {key.removeprefix("blob_") for key in expected.files if key.startswith("blob_")}
    kept = {layer.name for layer in net.layers}
    assert kept & {"tr", "te"} == {"tr" if str(expected["phase"]) == "TRAIN" else "te"}


def test_a_net_without_a_state_counts_as_level_0() -> None:
    net = replace(upgraded('layer { name: "x" type: "ReLU" include { min_level: 0 max_level: 0 } }'), state=None)
    assert len(filters.select(net, "TEST").layers) == 1
    assert filters.matches(schema.new("NetStateRule"), schema.new("NetState"))
