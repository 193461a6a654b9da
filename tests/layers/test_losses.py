"""The losses against their formulas in numpy: values, gradients, normalisers, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from proto2torch import load
from proto2torch.errors import DataError, NetError, UnsupportedError
from proto2torch.weights import blobproto

from .nets import Case, forward_line, run

RANDOM = np.random.default_rng(3)
SCORES = RANDOM.normal(size=(4, 5)).astype(np.float32)
LABELS = np.array([0, 4, 2, 2], np.float32)
PLANE = RANDOM.normal(size=(2, 3, 2, 2)).astype(np.float32)
PLANE_LABELS = np.array([[0, 1], [2, 1], [1, 1], [0, 2]], np.float32).reshape(2, 1, 2, 2)
MATRIX = RANDOM.uniform(0, 1, (5, 5)).astype(np.float32)


def softmax(x: np.ndarray, axis: int = 1) -> np.ndarray:
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def one_hot(labels: np.ndarray, classes: int) -> np.ndarray:
    return np.eye(classes, dtype=np.float32)[labels.astype(int)]


def loss_of(kind: str, fields: str, *bottoms: np.ndarray) -> tuple[float, np.ndarray, np.ndarray | None]:
    """The loss, and the gradients of the first two bottoms."""
    values, grads, _ = run(Case(kind, fields, tuple(b.shape for b in bottoms), phase="TRAIN"), *bottoms)
    assert values[0].shape == ()
    assert grads[0] is not None
    return float(values[0]), grads[0], grads[1]


@pytest.mark.parametrize(
    ("fields", "divisor"),
    [
        ("", 8),
        ("normalization: FULL", 8),
        ("normalization: BATCH_SIZE", 2),
        ("normalization: NONE", 1),
        ("normalize: true", 8),
        ("normalize: false", 2),
        ("normalize: false normalization: FULL", 8),
        ("ignore_label: 1", 4),
        ("ignore_label: 1 normalization: FULL", 8),
        ("ignore_label: 1 normalization: BATCH_SIZE", 2),
        ("ignore_label: 1 normalize: false", 2),
        ("ignore_label: 7", 8),
    ],
)
def test_softmax_loss_divides_by_what_normalization_says(fields: str, divisor: int) -> None:
    p, target = softmax(PLANE), np.moveaxis(one_hot(PLANE_LABELS[:, 0], 3), -1, 1)
    counts = (PLANE_LABELS != 1) | ("ignore_label: 1" not in fields)
    loss, grad, _ = loss_of("SoftmaxWithLoss", f"loss_param {{ {fields} }}", PLANE, PLANE_LABELS)
    np.testing.assert_allclose(loss, -(target * np.log(p) * counts).sum() / divisor, rtol=1e-5)
    np.testing.assert_allclose(grad, (p - target) * counts / divisor, rtol=1e-4, atol=1e-6)


def test_softmax_loss_where_every_label_is_ignored_is_zero() -> None:
    loss, grad, _ = loss_of("SoftmaxWithLoss", "loss_param { ignore_label: 2 }", SCORES, np.full(4, 2, np.float32))
    assert loss == 0
    assert not grad.any()


def test_softmax_loss_stops_at_the_smallest_float_and_its_gradient_does_not() -> None:
    scores = np.array([[0, 200]], np.float32)
    loss, grad, _ = loss_of("SoftmaxWithLoss", "", scores, np.zeros(1, np.float32))
    np.testing.assert_allclose(loss, -np.log(np.finfo(np.float32).tiny), rtol=1e-6)
    np.testing.assert_array_equal(grad, [[-1, 1]])


def test_labels_are_cut_to_whole_numbers() -> None:
    cut = loss_of("SoftmaxWithLoss", "", SCORES, LABELS + 0.9)
    assert cut[0] == loss_of("SoftmaxWithLoss", "", SCORES, LABELS)[0]


def test_the_plain_softmax_loss_reads_plain() -> None:
    assert forward_line(Case("SoftmaxWithLoss", bottoms=((4, 5), (4,)))) == "softmax_loss(b0, b1)"
    assert forward_line(Case("Accuracy", bottoms=((4, 5), (4,)))) == "top_k_accuracy(b0, b1)"


def test_a_blob_with_the_name_of_its_function() -> None:
    inputs = (
        'layer { name: "in" type: "Input" top: "x" top: "y" input_param { shape { dim: 4 dim: 5 } shape { dim: 4 } } }'
    )
    loss = 'layer { name: "softmax_loss" type: "SoftmaxWithLoss" bottom: "x" bottom: "y" top: "softmax_loss" }'
    read = 'layer { name: "p" type: "Power" bottom: "softmax_loss" top: "twice" power_param { scale: 2 } }'
    net = load(text=inputs + loss + read)
    assert float(net(x=SCORES, y=LABELS)["twice"]) == pytest.approx(
        2 * loss_of("SoftmaxWithLoss", "", SCORES, LABELS)[0]
    )


@pytest.mark.parametrize(
    ("fields", "divisor"),
    [
        ("", 4),
        ("normalization: BATCH_SIZE", 4),
        ("normalization: FULL", 20),
        ("normalization: VALID", 20),
        ("normalization: NONE", 1),
        ("normalize: true", 20),
        ("normalize: false", 4),
        ("ignore_label: 0", 4),
        ("ignore_label: 0 normalization: VALID", None),
        ("ignore_label: 0 normalization: FULL", 20),
        ("ignore_label: 0 normalization: NONE", 1),
    ],
)
def test_sigmoid_cross_entropy(fields: str, divisor: int | None) -> None:
    targets = np.tile(np.array([0.7, 0, 1, 1, -0.3], np.float32), (4, 1))  # the whole part of three of them is 0
    counts = (np.trunc(targets) != 0) | ("ignore_label" not in fields)
    divisor = divisor or int(counts.sum())
    s = 1 / (1 + np.exp(-SCORES))
    each = -(targets * np.log(s) + (1 - targets) * np.log(1 - s))
    loss, grad, _ = loss_of("SigmoidCrossEntropyLoss", f"loss_param {{ {fields} }}", SCORES, targets)
    np.testing.assert_allclose(loss, (each * counts).sum() / divisor, rtol=1e-5)
    np.testing.assert_allclose(grad, (s - targets) * counts / divisor, rtol=1e-4, atol=1e-6)


def test_sigmoid_cross_entropy_of_large_scores_does_not_overflow() -> None:
    scores, targets = np.array([[500, -500]], np.float32), np.array([[0, 0]], np.float32)
    loss, grad, _ = loss_of("SigmoidCrossEntropyLoss", "", scores, targets)
    assert loss == 500
    np.testing.assert_array_equal(grad, [[1, 0]])


def test_targets_may_have_another_shape() -> None:
    targets = (SCORES > 0).astype(np.float32)
    plain = loss_of("SigmoidCrossEntropyLoss", "", SCORES, targets)[0]
    assert loss_of("SigmoidCrossEntropyLoss", "", SCORES.reshape(4, 5, 1), targets)[0] == plain
    euclid = loss_of("EuclideanLoss", "", SCORES, targets)[0]
    assert loss_of("EuclideanLoss", "", SCORES.reshape(4, 5, 1), targets)[0] == euclid


def test_euclidean_loss_reaches_both_bottoms() -> None:
    other = RANDOM.normal(size=SCORES.shape).astype(np.float32)
    loss, a, b = loss_of("EuclideanLoss", "", SCORES, other)
    assert b is not None
    np.testing.assert_allclose(loss, np.square(SCORES - other).sum() / 8, rtol=1e-5)
    np.testing.assert_allclose(a, (SCORES - other) / 4, rtol=1e-5)
    np.testing.assert_allclose(b, (other - SCORES) / 4, rtol=1e-5)


@pytest.mark.parametrize("norm", ["L1", "L2"])
def test_hinge_loss_sets_each_class_against_the_rest(norm: str) -> None:
    sign = 1 - 2 * one_hot(LABELS, 5)
    margins = np.maximum(0, 1 + sign * SCORES)
    loss, grad, _ = loss_of("HingeLoss", f"hinge_loss_param {{ norm: {norm} }}", SCORES, LABELS)
    np.testing.assert_allclose(loss, (margins if norm == "L1" else margins**2).sum() / 4, rtol=1e-5)
    np.testing.assert_allclose(grad, sign * (np.sign(margins) if norm == "L1" else 2 * margins) / 4, rtol=1e-5)


def test_multinomial_logistic_loss_has_a_gradient_where_the_probability_is_zero() -> None:
    p = np.array([[0.25, 0.75], [1, 0]], np.float32)
    loss, grad, _ = loss_of("MultinomialLogisticLoss", "", p, np.array([1, 1], np.float32))
    np.testing.assert_allclose(loss, -(np.log(0.75) + np.log(1e-20)) / 2, rtol=1e-6)
    np.testing.assert_allclose(grad, [[0, -1 / 0.75 / 2], [0, -1e20 / 2]], rtol=1e-6)


def infogain(x: np.ndarray, labels: np.ndarray) -> tuple[float, np.ndarray]:
    """Of (N, C) scores, before any division."""
    p, h = softmax(x), MATRIX[labels.astype(int)]
    return float(-(h * np.log(np.maximum(p, 1e-20))).sum()), p * h.sum(1, keepdims=True) - h


@pytest.mark.parametrize(("fields", "divisor"), [("", 4), ("normalization: NONE", 1), ("normalization: FULL", 4)])
def test_infogain_loss_with_its_matrix_as_a_bottom(fields: str, divisor: int) -> None:
    loss, grad, _ = loss_of("InfogainLoss", f"loss_param {{ {fields} }}", SCORES, LABELS, MATRIX[None, None])
    expected, slope = infogain(SCORES, LABELS)
    np.testing.assert_allclose(loss, expected / divisor, rtol=1e-5)
    np.testing.assert_allclose(grad, slope / divisor, rtol=1e-4, atol=1e-6)


def test_infogain_loss_ignores_labels_and_stops_at_its_own_smallest_probability() -> None:
    scores = SCORES.copy()
    scores[3] = [100, 0, 0, 0, 0]  # log p is -100 for all but the first
    fields = "loss_param { ignore_label: 0 }"
    loss, grad, _ = loss_of("InfogainLoss", fields, scores, LABELS, MATRIX[None, None])
    expected, slope = infogain(scores[1:], LABELS[1:])
    np.testing.assert_allclose(loss, expected / 3, rtol=1e-5)
    np.testing.assert_allclose(grad, np.concatenate([np.zeros((1, 5)), slope]) / 3, rtol=1e-4, atol=1e-6)


def test_infogain_loss_reads_its_matrix_from_a_file(tmp_path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    blobproto.write(str(tmp_path / "h.binaryproto"), MATRIX)
    monkeypatch.chdir(tmp_path)
    fields = 'infogain_loss_param { source: "h.binaryproto" }'
    loss, grad, _ = loss_of("InfogainLoss", fields, SCORES, LABELS)
    expected, slope = infogain(SCORES, LABELS)
    np.testing.assert_allclose(loss, expected / 4, rtol=1e-5)
    np.testing.assert_allclose(grad, slope / 4, rtol=1e-4, atol=1e-6)

    case = Case("InfogainLoss", fields, ((4, 5), (4,)))
    assert case.net().module.state_dict()["layer.matrix"].shape == (5, 5)
    with pytest.raises(NetError, match=r"'h.binaryproto' must hold 36 values, of shape \(6, 6\)"):
        Case("InfogainLoss", fields, ((4, 6), (4,))).net()


def test_infogain_loss_shows_its_probabilities_without_a_gradient() -> None:
    fields = "loss_weight: 1 loss_weight: 0.5"
    values, grads, net = run(
        Case("InfogainLoss", fields, ((4, 5), (4,), (1, 1, 5, 5)), 2), SCORES, LABELS, MATRIX[None, None]
    )
    np.testing.assert_allclose(values[1], softmax(SCORES), rtol=1e-5)
    np.testing.assert_allclose(grads[0], infogain(SCORES, LABELS)[1] / 4, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(float(net.loss), values[0] + 0.5 * 4, rtol=1e-5)


def contrast(a: np.ndarray, b: np.ndarray, y: np.ndarray, margin: float, legacy: bool) -> tuple[float, np.ndarray]:
    total, grad = 0.0, np.zeros_like(a)
    for i in range(len(a)):
        difference = a[i] - b[i]
        squared = float(np.square(difference).sum())
        distance = np.sqrt(squared)
        if int(y[i]):
            total += squared
            grad[i] = difference
        elif legacy:
            total += max(margin - squared, 0)
            grad[i] = -difference if squared < margin else 0
        else:
            total += max(margin - distance, 0) ** 2
            grad[i] = -(margin - distance) / (distance + 1e-4) * difference if distance < margin else 0
    return total / (2 * len(a)), grad / len(a)


@pytest.mark.parametrize("legacy", [False, True])
def test_contrastive_loss(legacy: bool) -> None:
    a = RANDOM.normal(size=(6, 3)).astype(np.float32)
    b = a + RANDOM.normal(scale=[[0.001], [0.5], [2], [0.001], [0.5], [2]], size=(6, 3)).astype(np.float32)
    y = np.array([0, 0.9, 0, 1, 1, 2.5], np.float32)  # 0.9 is cut to 0
    values, grads, _ = run(
        Case(
            "ContrastiveLoss",
            f"contrastive_loss_param {{ margin: 2 legacy_version: {str(legacy).lower()} }}",
            ((6, 3), (6, 3), (6,)),
        ),
        a,
        b,
        y,
    )
    loss, grad = contrast(a, b, y, 2, legacy)
    np.testing.assert_allclose(values[0], loss, rtol=1e-5)
    np.testing.assert_allclose(grads[0], grad, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(grads[1], -grad, rtol=1e-4, atol=1e-6)


def test_contrastive_loss_of_two_equal_items_has_a_gradient_of_zero() -> None:
    same = np.ones((1, 3), np.float32)
    values, grads, _ = run(Case("ContrastiveLoss", "", ((1, 3), (1, 3), (1,))), same, same, np.zeros(1, np.float32))
    assert values[0] == 0.5
    np.testing.assert_array_equal(grads[0], np.zeros((1, 3)))


def test_accuracy_counts_a_tie_against_the_label_and_nan_for_it() -> None:
    scores = np.array([[1, 1, 0], [0, 2, 1], [np.nan] * 3], np.float32)
    accuracy = run(Case("Accuracy", bottoms=((3, 3), (3,))), scores, np.array([0, 1, 2], np.float32))[0][0]
    assert accuracy == np.float32(2 / 3)


def test_accuracy_of_each_class_leaves_out_what_is_ignored() -> None:
    scores = np.eye(3, dtype=np.float32)[[0, 0, 1, 2]]
    labels = np.array([0, 1, 1, 2], np.float32)
    fields = "accuracy_param { ignore_label: 2 }"
    values = run(Case("Accuracy", fields, ((4, 3), (4,)), 2), scores, labels)[0]
    assert values[0] == np.float32(2 / 3)
    np.testing.assert_array_equal(values[1], np.array([1, 0.5, 0], np.float32))
    assert run(Case("Accuracy", fields, ((1, 3), (1,))), scores[:1], labels[3:])[0][0] == 0


REFUSED = [
    (
        "SoftmaxWithLoss",
        "",
        ((4, 5), (3,)),
        r"both bottoms must have the same first extent. Received: \(4, 5\) and \(3,\)",
    ),
    (
        "SoftmaxWithLoss",
        "",
        ((4, 5, 2), (4,)),
        r"one label for each of 8 positions .* Received: labels of shape \(4,\)",
    ),
    ("SoftmaxWithLoss", "softmax_param { axis: 2 }", ((4, 5), (4,)), r"axis must lie in \[-2, 2\)"),
    ("Accuracy", "accuracy_param { top_k: 6 }", ((4, 5), (4,)), "top_k is larger than the 5 classes. Received: 6"),
    ("Accuracy", "", ((4, 5), (5,)), "needs one label for each of 4 positions"),
    ("EuclideanLoss", "", ((4, 5), (4, 6)), "both bottoms must have as many values"),
    ("EuclideanLoss", "", ((4, 5), (5, 4)), "both bottoms must have the same first extent"),
    ("SigmoidCrossEntropyLoss", "", ((4, 5), (4, 4)), r"needs one target for each of 20 scores. Received: \(4, 4\)"),
    ("HingeLoss", "", ((4, 5), (4, 2)), r"needs one label for each of 4 items. Received: \(4, 2\)"),
    ("MultinomialLogisticLoss", "", ((4, 5), (4, 5)), "needs one label for each of 4 items"),
    ("ContrastiveLoss", "", ((4, 5), (4, 6), (4,)), r"needs bottoms of shape \(N, C\) or \(N, C, 1, 1\)"),
    ("ContrastiveLoss", "", ((4, 5, 2), (4, 5, 2), (4,)), r"needs bottoms of shape \(N, C\) or \(N, C, 1, 1\)"),
    ("ContrastiveLoss", "", ((4, 5), (4, 5), (3,)), r"needs one label for each of 4 pairs. Received: \(3,\)"),
    ("InfogainLoss", "", ((4, 5), (4,)), "needs its matrix: a third bottom, or infogain_loss_param.source"),
    ("InfogainLoss", "", ((4, 5), (4,), (5, 6)), r"needs a matrix of 5 by 5 classes. Received: \(5, 6\)"),
    (
        "InfogainLoss",
        "loss_param { normalize: true }",
        ((4, 5), (4,), (5, 5)),
        "does not take normalize: give normalization",
    ),
]


@pytest.mark.parametrize(("kind", "fields", "bottoms", "message"), REFUSED)
def test_what_caffe_refuses(kind: str, fields: str, bottoms: tuple[tuple[int, ...], ...], message: str) -> None:
    with pytest.raises(NetError, match=message):
        Case(kind, fields, bottoms).graph()


def test_a_second_top() -> None:
    with pytest.raises(UnsupportedError, match="a second top cannot be built in Caffe either"):
        Case("SoftmaxWithLoss", bottoms=((4, 5), (4,)), tops=2).graph()
    with pytest.raises(NetError, match="with two tops loss_weight must be given for both"):
        Case("InfogainLoss", bottoms=((4, 5), (4,), (5, 5)), tops=2).graph()


@pytest.mark.parametrize(
    "fields",
    [
        "loss_param { pre_fixed_normalizer: 2 }",
        "loss_param { normalization: PRE_FIXED }",
        "softmax_param { hard_ratio: 0.5 }",
    ],
)
def test_what_a_fork_added_is_refused(fields: str) -> None:
    with pytest.raises(UnsupportedError, match="not Caffe's but of its fork"):
        Case("SoftmaxWithLoss", fields, ((4, 5), (4,))).graph()


def test_a_missing_matrix_names_its_file() -> None:
    with pytest.raises(DataError, match="cannot read it") as caught:
        Case("InfogainLoss", 'infogain_loss_param { source: "nowhere" }', ((4, 5), (4,))).net()
    assert "nowhere" in str(caught.value)
