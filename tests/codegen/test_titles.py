"""What blocks and their parts are called."""

from __future__ import annotations

import pytest

from proto2torch.codegen import titles


@pytest.mark.parametrize(
    ("names", "stems", "prefix"),
    [
        (
            ["inception_3a/1x1", "inception_3b/1x1", "inception_4a/1x1"],
            "inception_3a inception_3b inception_4a",
            "inception",
        ),
        (["inception_3a/1x1", "inception_4a/1x1"], "inception_3a inception_4a", "inception"),
        (["res2a_branch2a", "res3b11_branch2a"], "res2a res3b11", "res"),
        (["conv2_1/dw", "conv10/dw"], "conv2_1 conv10", "conv"),
        (["Convolution1", "Convolution12"], "Convolution1 Convolution12", "Convolution"),
    ],
)
def test_what_tells_instances_apart(names: list[str], stems: str, prefix: str) -> None:
    assert titles.stems(names) == stems.split()
    assert titles.prefix_of(names) == prefix


@pytest.mark.parametrize(
    ("names", "stem", "kind", "local"),
    [
        (["inception_3a/1x1", "inception_3b/1x1"], "inception", "Convolution", "conv_1x1"),
        (["inception_3a/pool_proj", "inception_3b/pool_proj"], "inception", "Convolution", "pool_proj"),
        (["res2a_branch2a", "res2b_branch2a"], "res", "Convolution", "branch2a"),
        (["bn2a_branch2a", "bn2b_branch2a"], "res", "BatchNorm", "bn_branch2a"),
        (["conv2", "conv3"], "conv", "Convolution", "conv"),
        (["1", "2"], "", "InnerProduct", "fc"),
        (["same", "same"], "x", "Convolution", "same"),
    ],
)
def test_the_name_of_a_part(names: list[str], stem: str, kind: str, local: str) -> None:
    assert titles.local(names, stem, kind) == local


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["res3a", "res3b1", "res3b7"], "res3"),
        (["conv2_1", "conv2_2"], "conv2"),
        (["conv_3x3_reduce", "conv_3x3"], "conv_3x3"),
        (["c1_3x3", "c1_3x1"], "c1"),
        (["branch2a", "branch2b"], "branch2"),
        (["pool1", "conv2"], ""),
    ],
)
def test_what_names_have_in_common(names: list[str], expected: str) -> None:
    assert titles.shared(names) == expected


def test_rows() -> None:
    assert titles.rows([["res2a", "res2b"], ["res3a", "res3b"]], ["conv1"]) == ["res2", "res3"]
    assert titles.rows([["res1", "res2", "res3"], ["res4", "res5"]], []) == ["res1_to_3", "res4_to_5"]
    assert titles.rows([["x4", "x5"]], ["x12_conv"]) == ["x4_to_5"]


@pytest.mark.parametrize(
    ("prefix", "title"), [("inception", "inception"), ("res", "res block"), ("conv2", "conv block"), ("", "block")]
)
def test_class_titles(prefix: str, title: str) -> None:
    assert titles.class_title(prefix) == title


def test_the_projection() -> None:
    assert titles.projection("res block") == "res projection block"
    assert titles.projection("xception") == "xception projection"
