"""Constructor calls, apart and together again."""

from __future__ import annotations

import pytest

from proto2torch.codegen.call import is_number, parse


@pytest.mark.parametrize(
    "text",
    [
        "nn.Conv2d(3, 96, 11, stride=4)",
        "nn.Conv2d(3, 96, (1, 7), padding=(0, 3), groups=3, bias=False)",
        "nn.ConvTranspose2d(3, 4, 2, dilation=2, groups=3)",
        "nn.Linear(3, 4, bias=False)",
        "nn.BatchNorm2d(64, eps=0.001, affine=False)",
        "nn.PReLU(64)",
        "nn.PReLU()",
        "nn.LocalResponseNorm(5, beta=0.5)",
        "Scale((3, 4), 0, bias=True)",
        "BatchNorm(64, use_global_stats=True)",
        'Unknown(1, "a, b", z=3)',
    ],
)
def test_a_call_comes_back(text: str) -> None:
    assert parse(text).text == text


def test_arguments_have_names_and_defaults() -> None:
    call = parse("nn.Conv2d(3, 96, 11, stride=4)")
    given = dict(zip([p.name for p in call.parameters], call.values, strict=True))
    assert given["in_channels"], given["out_channels"] == ("3", "96")
    assert (given["kernel_size"], given["stride"], given["padding"], given["bias"]) == ("11", "4", "0", "True")


def test_a_default_that_is_given_is_left_out() -> None:
    assert parse("nn.Conv2d(3, 96, 11, stride=1, padding=2)").text == "nn.Conv2d(3, 96, 11, padding=2)"


def test_labels_are_equal_up_to_numbers() -> None:
    label = parse("nn.Conv2d(3, 96, 11, stride=4)").label
    assert parse("nn.Conv2d(64, 64, (1, 3), padding=(0, 1))").label == label
    assert parse("nn.Conv2d(64, 64, 3, bias=False)").label != label
    assert parse("nn.Conv3d(3, 96, 11)").label != label


def test_convolutions_that_go_channel_by_channel_are_told_apart() -> None:
    plain, depthwise, grouped = (
        parse(f"nn.Conv2d(64, 64, 3{more})").label for more in ("", ", groups=64", ", groups=32")
    )
    assert len({plain, depthwise, grouped}) == 3
    assert parse("nn.Conv2d(32, 32, 3, groups=32)").label == depthwise


@pytest.mark.parametrize(("value", "expected"), [("-3", True), ("0.17", True), ("1e-05", True), ("(1, 7)", True)])
def test_numbers(value: str, expected: bool) -> None:
    assert is_number(value) is expected
    assert not is_number(f'"{value}"')
