"""Mean average precision by hand: each version on one curve, several classes, difficult and missing objects."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

import proto2torch as p2t
from proto2torch.errors import NetError, SolverError
from proto2torch.training import test
from proto2torch.training.average_precision import mean_average_precision

# four true boxes; detections true, false, true, false: precision 1, 1/2, 2/3, 1/2 at recall 1/4, 1/4, 1/2, 1/2
CURVE = [[-1, 1, 4, -1, -1], [0, 1, 0.9, 1, 0], [0, 1, 0.6, 0, 1], [0, 1, 0.7, 0, 1], [1, 1, 0.65, 1, 0]]
AREAS = {"Integral": 1 / 4 + 2 / 3 / 4, "MaxIntegral": 1 / 4 + 2 / 3 / 4, "11point": (3 * 1 + 3 * 2 / 3) / 11}


@pytest.mark.parametrize("version", AREAS)
def test_the_area_of_one_curve(version: str) -> None:
    mean, classes = mean_average_precision(torch.tensor(CURVE), version)
    assert mean == pytest.approx(AREAS[version])
    assert classes == {1: pytest.approx(AREAS[version])}


def test_a_step_of_recall_is_taken_before_it_under_the_hull() -> None:
    rows = torch.tensor([[-1, 1, 2, -1, -1], [0, 1, 0.9, 1, 0], [0, 1, 0.8, 0, 1], [0, 1, 0.7, 1, 0]])
    assert mean_average_precision(rows, "Integral")[0] == pytest.approx(0.5 + 0.5 * 2 / 3)
    assert mean_average_precision(rows, "MaxIntegral")[0] == pytest.approx(0.5 + 0.5 * 2 / 3)
    two = torch.tensor([[-1, 1, 2, -1, -1], [0, 1, 0.9, 1, 0], [0, 1, 0.7, 1, 0]])
    assert mean_average_precision(two, "MaxIntegral")[0] == pytest.approx(1)


def test_classes_are_counted_over_batches_and_averaged() -> None:
    rows = [[-1, 1, 1, -1, -1], [-1, 2, 2, -1, -1], [0, 1, 0.5, 1, 0], [-1, 1, 1, -1, -1], [-1, 2, 0, -1, -1]]
    mean, classes = mean_average_precision(torch.tensor([*rows, [0, 2, 0.4, 1, 0]]))
    assert classes == {1: pytest.approx(0.5), 2: pytest.approx(0.5)}
    assert mean == pytest.approx(0.5)


def test_difficult_objects_do_not_count_and_a_class_without_detections_is_0() -> None:
    rows = torch.tensor([[-1, 1, 1, -1, -1], [-1, 2, 3, -1, -1], [0, 1, 0.9, 0, 0], [0, 1, 0.8, 1, 0]])
    mean, classes = mean_average_precision(rows)
    assert classes == {1: pytest.approx(1)}
    assert mean == pytest.approx(0.5)
    assert math.isnan(mean_average_precision(torch.zeros(0, 5))[0])


NET = """
layer {{ name: "d" type: "Input" top: "d" input_param {{ shape {{ dim: 1 dim: 1 dim: 2 dim: 7 }} }} }}
layer {{ name: "t" type: "Input" top: "t" input_param {{ shape {{ dim: 1 dim: 1 dim: 1 dim: 8 }} }} }}
layer {{ name: "e" type: "{type}" bottom: "d" bottom: "t" top: "e" {param} }}
"""
EVALUATE = NET.format(type="DetectionEvaluate", param="detection_evaluate_param { num_classes: 2 }")
FOUND = [[0, 1, 0.9, 0.0, 0.0, 0.5, 0.5], [0, 1, 0.8, 0.6, 0.6, 1.0, 1.0]]
TRUE = [0, 1, 0, 0.0, 0.0, 0.5, 0.5, 0]


def batches(*counts: int) -> list[dict[str, torch.Tensor]]:
    """Batches of so many detections of one true box, the first of them true."""
    return [{"d": torch.tensor([[FOUND[:count]]]), "t": torch.tensor([[[TRUE]]])} for count in counts]


def run(text: str, given: list[dict[str, torch.Tensor]]) -> test.Means:
    net, at = p2t.load(text=text), iter(given)
    means = test.run(net, len(given), forward=lambda: net(**next(at)))
    assert means is not None
    return means


def test_a_test_gives_the_precision_of_all_its_batches() -> None:
    means = run(EVALUATE, batches(2, 1))
    # two true boxes; by score: true, true, false: the order among 0.9s is that of the batches
    assert means.outputs["e"].item() == pytest.approx(1)
    assert means.classes == {"e": {1: pytest.approx(1)}}


def test_an_output_of_changing_shape_has_no_mean() -> None:
    given = [{"d": torch.zeros(1, 1, n, 7), "t": torch.tensor([[[TRUE]]])} for n in (1, 2)]
    with pytest.raises(NetError, match=r"'e' has no mean: its batches differ in shape. Received: \(1, 1, 1, 7\), then"):
        run(NET.format(type="Concat", param="").replace('bottom: "t"', "") + SILENT, given)


SILENT = 'layer { name: "s" type: "Silence" bottom: "t" }'


def test_versions_and_kinds_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "solver.prototxt"
    (tmp_path / "net.prototxt").write_text(EVALUATE)
    path.write_text('net: "net.prototxt" base_lr: 1 lr_policy: "fixed" ap_version: "12point"')
    with pytest.raises(
        SolverError, match=r"ap_version must be one of Integral, MaxIntegral, 11point\. Received: '12point'"
    ):
        p2t.Solver(str(path))
