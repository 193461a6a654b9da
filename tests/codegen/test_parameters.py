"""Which numbers of a block become parameters, and what the others are in terms of them."""

from __future__ import annotations

from proto2torch.codegen.call import parse
from proto2torch.codegen.parameters import Parameters, generalize


def found(*instances: str, outer: tuple[int, ...] = (0,)) -> Parameters:
    """The parameters of instances, each with its calls one a line; the modules are called a, b, c …"""
    calls = [[parse(line.strip()) for line in text.strip().splitlines()] for text in instances]
    return generalize(calls, "abcdefgh"[: len(calls[0])], outer, set())


def written(parameters: Parameters) -> list[str]:
    return [call.text for call in parameters.calls]


def signature(parameters: Parameters) -> list[str]:
    return [p.name if p.default is None else f"{p.name}={p.default}" for p in parameters.parameters]


def bottleneck(channels: int, width: int, stride: int = 1) -> str:
    strides = f", stride={stride}" if stride != 1 else ""
    return f"""nn.Conv2d({channels}, {width}, 1{strides})
        nn.BatchNorm2d({width})
        nn.Conv2d({width}, {4 * width}, 1)
        nn.Conv2d({channels}, {4 * width}, 1{strides})"""


def test_equal_numbers_stay() -> None:
    both = found("nn.Conv2d(3, 8, 5, padding=2)", "nn.Conv2d(3, 16, 5, padding=2)")
    assert written(both) == ["nn.Conv2d(3, width, 5, padding=2)"]
    assert both.values == (("8",), ("16",))


def test_a_bottleneck() -> None:
    blocks = found(bottleneck(64, 64), bottleneck(256, 128, 2), bottleneck(512, 256, 2), outer=(0, 3))
    assert signature(blocks) == ["channels", "width", "stride=1"]
    assert written(blocks) == [
        "nn.Conv2d(channels, width, 1, stride=stride)",
        "nn.BatchNorm2d(width)",
        "nn.Conv2d(width, 4 * width, 1)",
        "nn.Conv2d(channels, 4 * width, 1, stride=stride)",
    ]
    assert blocks.values == (("64", "64", "1"), ("256", "128", "2"), ("512", "256", "2"))


def test_a_width_that_comes_in_as_a_multiple_needs_no_parameter() -> None:
    blocks = found(bottleneck(256, 64), bottleneck(512, 128), outer=(0, 3))
    assert signature(blocks) == ["width"]
    assert written(blocks)[0] == "nn.Conv2d(4 * width, width, 1)"


def test_a_part_is_written_as_one() -> None:
    text = (
        "nn.Conv2d({0}, {1}, 1)\nnn.BatchNorm2d({1})\nnn.Conv2d({1}, {1}, 3)\nnn.Linear({1}, {2})\nnn.Linear({2}, {1})"
    )
    blocks = found(text.format(3, 64, 4), text.format(3, 128, 8))
    assert written(blocks)[3:] == ["nn.Linear(width, width // 16)", "nn.Linear(width // 16, width)"]


def test_several_widths_are_called_after_their_layers() -> None:
    text = "nn.Conv2d({}, {}, 1)\nnn.Conv2d({}, {}, 3)"
    blocks = found(text.format(192, 64, 192, 128), text.format(256, 96, 256, 132), outer=(0, 1))
    assert signature(blocks) == ["channels", "a", "b"]


def test_other_numbers_share_no_parameter_with_widths() -> None:
    blocks = found("nn.Conv2d(3, 3, 3)", "nn.Conv2d(5, 5, 5)")
    assert signature(blocks) == ["width", "kernel_size"]


def test_two_strides_that_differ_are_called_after_their_layers() -> None:
    text = "nn.Conv2d(3, 8, 1, stride={})\nnn.Conv2d(8, 8, 1, stride={})"
    blocks = found(text.format(1, 2), text.format(2, 2), text.format(2, 1))
    assert signature(blocks) == ["a_stride=1", "b_stride=1"]


def test_nothing_differs() -> None:
    blocks = found("nn.Linear(3, 4)", "nn.Linear(3, 4)")
    assert (blocks.parameters, blocks.values) == ((), ((), ()))
    assert written(blocks) == ["nn.Linear(3, 4)"]


def test_names_that_are_taken() -> None:
    calls = [[parse("nn.Linear(3, 4)")], [parse("nn.Linear(3, 8)")]]
    assert generalize(calls, ["a"], (0,), {"width"}).parameters[0].name == "width_"
