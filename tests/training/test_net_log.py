"""The lines of a net being built: which rules did not hold, what is counted, what is forced."""

from __future__ import annotations

import pytest

from proto2torch.net import load_definition
from proto2torch.prototxt.read import read_net
from proto2torch.training import net_log

NET = """
name: "rules" %s
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 4 dim: 3 } } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 2 } }
layer { name: "relu" type: "ReLU" bottom: "ip" top: "ip"
        include { phase: TEST } include { min_level: 2 } include { stage: "a" not_stage: "b" } }
layer { name: "drop" type: "Dropout" bottom: "ip" top: "ip" exclude { phase: TEST } exclude { not_stage: "b" } }
layer { name: "loss" type: "Reduction" bottom: "ip" top: "loss" loss_weight: 0.5 exclude { max_level: 0 } }
"""


def lines(fields="", **state):
    whole = read_net(None, text=NET % fields)
    found = list(net_log.lines(load_definition(whole, **state), whole))
    start = next(i for i, line in enumerate(found) if line.startswith("Initializing net from parameters: \n"))
    return found[:start], found[start + 1 :]


@pytest.mark.parametrize(
    "state, expected",
    [
        (
            {"phase": "TRAIN", "level": 1, "stages": ["b", "c"]},
            [
                "The NetState phase (0) differed from the phase (1) specified by a rule in layer relu",
                "The NetState level (1) is below the min_level (2) specified by a rule in layer relu",
                "The NetState did not contain stage 'a' specified by a rule in layer relu",
                "The NetState phase (0) differed from the phase (1) specified by a rule in layer drop",
                "The NetState contained a not_stage 'b' specified by a rule in layer drop",
                "The NetState level (1) is above the max_level (0) specified by a rule in layer loss",
            ],
        ),
        (
            {"phase": "TEST", "level": 2},  # the first rules decide, and those behind them are not looked at
            ["The NetState level (2) is above the max_level (0) specified by a rule in layer loss"],
        ),
    ],
)
def test_each_rule_that_does_not_hold_is_named(state, expected):
    assert lines(**state)[0] == expected


def test_layers_and_their_memory():
    _, found = lines(phase="TRAIN", level=2, stages=["b"])
    assert found == [
        *("Creating layer data", "Creating Layer data", "data -> data", "Setting up data"),
        *("Top shape: 4 3 (12)", "Memory required for data: 48"),
        *("Creating layer ip", "Creating Layer ip", "ip <- data", "ip -> ip", "Setting up ip"),
        *("Top shape: 4 2 (8)", "Memory required for data: 80"),
        *("Creating layer relu", "Creating Layer relu", "relu <- ip", "relu -> ip (in-place)", "Setting up relu"),
        *("Top shape: 4 2 (8)", "Memory required for data: 112"),
        *("Creating layer drop", "Creating Layer drop", "drop <- ip", "drop -> ip (in-place)", "Setting up drop"),
        *("Top shape: 4 2 (8)", "Memory required for data: 144"),
        *("Creating layer loss", "Creating Layer loss", "loss <- ip", "loss -> loss", "Setting up loss"),
        *("Top shape: (1)", "    with loss weight 0.5", "Memory required for data: 148"),
        *(f"{name} needs backward computation." for name in ("loss", "drop", "relu", "ip")),
        "data does not need backward computation.",
        "This network produces output loss",
        "Network initialization done.",
    ]


def test_what_needs_a_backward_is_logged_before_it_is_forced():
    _, found = lines("force_backward: true", phase="TRAIN", level=2, stages=["b"])
    assert "data does not need backward computation." in found
