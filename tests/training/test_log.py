"""The lines of the log: numbers as C++ streams print them, elements counted across outputs."""

from __future__ import annotations

import io
import re

import pytest
import torch

from proto2torch.solvers.numbers import shown
from proto2torch.training.log import Log, figures, output_lines


@pytest.mark.parametrize(
    "value, text",
    [
        (1.4022412, "1.40224"),
        (1e-5, "1e-05"),
        (0.0001, "0.0001"),
        (123456789.0, "1.23457e+08"),
        (1.0, "1"),
        (2e6, "2e+06"),
    ],
)
def test_numbers_are_printed_as_caffe_does(value, text):
    assert shown(value) == text


def test_every_element_has_its_number():
    outputs = {"accuracy": torch.tensor(0.5), "loss": torch.tensor([1.5, 0.25])}
    assert list(output_lines("Test", figures(outputs, {"loss": 2.0}))) == [
        "    Test net output #0: accuracy = 0.5",
        "    Test net output #1: loss = 1.5 (* 2 = 3 loss)",
        "    Test net output #2: loss = 0.25 (* 2 = 0.5 loss)",
    ]


def test_a_net_without_outputs_prints_nothing():
    assert list(output_lines("Train", figures({}, {}))) == []


def test_a_message_is_a_line():
    stream = io.StringIO()
    Log(stream)("Solving LeNet")
    assert stream.getvalue() == "Solving LeNet\n"


def test_the_prefix_has_the_columns_that_caffes_parsers_count():
    stream = io.StringIO()
    Log(stream, prefix=True)("Iteration 0, lr = 0.01")
    assert re.fullmatch(r"I\d{4} \d\d:\d\d:\d\d\.\d{6} \d+ \S+\] Iteration 0, lr = 0\.01\n", stream.getvalue())
    assert stream.getvalue().split()[8] == "0.01"  # where parse_log.sh looks for the rate, counted from 1


def test_the_log_follows_stderr(capsys):
    Log()("hello")
    assert capsys.readouterr().err == "hello\n"
