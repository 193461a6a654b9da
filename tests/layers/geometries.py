"""Drawn geometries of the layer types: `GEOMETRIES[type]` is a strategy of cases.

A strategy may draw what a layer refuses; such a case says nothing. It should mostly draw what it accepts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from proto2torch.ir.graph import Shape

from .nets import Case

GEOMETRIES: dict[str, st.SearchStrategy[Case]] = {}

Draw = Callable[[st.SearchStrategy[Any]], Any]

extent = st.integers(1, 7)
phases = st.sampled_from(["TEST", "TRAIN"])


def geometry(*types: str) -> Callable[[Callable[[Draw, str], Case]], Callable[[Draw, str], Case]]:
    """Register `draw_case(draw, type)` as the strategy of the types."""

    def register(draw_case: Callable[[Draw, str], Case]) -> Callable[[Draw, str], Case]:
        for kind in types:
            if kind in GEOMETRIES:
                raise ValueError(f"two strategies for {kind!r}")
            GEOMETRIES[kind] = st.composite(lambda draw, kind=kind: draw_case(draw, kind))()
        return draw_case

    return register


def shape(draw: Draw, fewest: int, most: int) -> Shape:
    """A shape of `fewest` to `most` axes."""
    return tuple(draw(st.lists(extent, min_size=fewest, max_size=most)))


def axis_of(draw: Draw, x: Shape) -> int:
    """An axis of `x`, counted from either end."""
    return int(draw(st.integers(-len(x), len(x) - 1)))


def sometimes(draw: Draw, text: str) -> str:
    """The text, or nothing."""
    return text if draw(st.booleans()) else ""


@geometry("AbsVal", "BNLL", "ReLU", "Sigmoid", "TanH", "ELU", "Swish", "Exp", "Log", "Threshold", "Dropout")
def pointwise(draw: Draw, kind: str) -> Case:
    return Case(kind, bottoms=(shape(draw, 0, 5),), phase=draw(phases))


@geometry("Clip")
def clip(draw: Draw, kind: str) -> Case:
    return Case(kind, "clip_param { min: -1 max: 1 }", (shape(draw, 0, 5),))


@geometry("Power")
def power(draw: Draw, kind: str) -> Case:
    fields = f"power: {draw(st.sampled_from([0, 0.5, 1, 2, 3]))} scale: {draw(st.sampled_from([0, 1, 2]))} shift: 1"
    return Case(kind, f"power_param {{ {fields} }}", (shape(draw, 0, 5),))


@geometry("PReLU", "BatchNorm")
def with_channels(draw: Draw, kind: str) -> Case:
    return Case(kind, bottoms=((2, *shape(draw, 1, 4)),), phase=draw(phases))


@geometry("Scale", "Bias")
def broadcast(draw: Draw, kind: str) -> Case:
    x = shape(draw, 1, 5)
    axis, message = axis_of(draw, x), f"{kind.lower()}_param"
    bias = sometimes(draw, "bias_term: true") if kind == "Scale" else ""
    end = draw(st.integers(axis % len(x), len(x)))
    if draw(st.booleans()):
        return Case(kind, f"{message} {{ axis: {axis} {bias} }}", (x, x[axis % len(x) : end]))
    count = draw(st.sampled_from([-1, end - axis % len(x)]))
    return Case(kind, f"{message} {{ axis: {axis} num_axes: {count} {bias} }}", (x,))


@geometry("MVN")
def mvn(draw: Draw, kind: str) -> Case:
    flags = sometimes(draw, "across_channels: true ") + sometimes(draw, "normalize_variance: false")
    return Case(kind, f"mvn_param {{ {flags} }}", (shape(draw, 0, 4),))


@geometry("LRN")
def lrn(draw: Draw, kind: str) -> Case:
    region = draw(st.sampled_from(["ACROSS_CHANNELS", "WITHIN_CHANNEL"]))
    fields = f"local_size: {draw(st.sampled_from([1, 3, 5]))} norm_region: {region}"
    return Case(kind, f"lrn_param {{ {fields} }}", (shape(draw, 4, 4),))


@geometry("Softmax")
def along_axis(draw: Draw, kind: str) -> Case:
    x = shape(draw, 1, 5)
    return Case(kind, f"softmax_param {{ axis: {axis_of(draw, x)} }}", (x,))


@geometry("Reduction")
def reduction(draw: Draw, kind: str) -> Case:
    x = shape(draw, 1, 5)
    operation = draw(st.sampled_from(["SUM", "ASUM", "SUMSQ", "MEAN"]))
    return Case(kind, f"reduction_param {{ operation: {operation} axis: {axis_of(draw, x)} coeff: 2 }}", (x,))


@geometry("ArgMax")
def arg_max(draw: Draw, kind: str) -> Case:
    x = shape(draw, 1, 5)
    axis = sometimes(draw, f"axis: {axis_of(draw, x)} ")
    fields = f"top_k: {draw(st.integers(1, 3))} {axis}{sometimes(draw, 'out_max_val: true')}"
    return Case(kind, f"argmax_param {{ {fields} }}", (x,))


@geometry("Tile")
def tile(draw: Draw, kind: str) -> Case:
    x = shape(draw, 1, 5)
    return Case(kind, f"tile_param {{ axis: {axis_of(draw, x)} tiles: {draw(st.integers(1, 3))} }}", (x,))


@geometry("Slice")
def slices(draw: Draw, kind: str) -> Case:
    x = list(shape(draw, 1, 5))
    axis, tops = axis_of(draw, tuple(x)), draw(st.integers(1, 3))
    if draw(st.booleans()):
        x[axis] *= tops
        return Case(kind, f"slice_param {{ axis: {axis} }}", (tuple(x),), tops)
    points = sorted(
        draw(st.sets(st.integers(1, x[axis]), min_size=tops - 1, max_size=tops - 1)) if x[axis] >= tops else []
    )
    fields = " ".join(f"slice_point: {p}" for p in points)
    return Case(kind, f"slice_param {{ axis: {axis} {fields} }}", (tuple(x),), len(points) + 1)


@geometry("Crop")
def crop(draw: Draw, kind: str) -> Case:
    inner, more = shape(draw, 1, 5), draw(st.lists(st.integers(0, 2), min_size=5, max_size=5))
    axis = axis_of(draw, inner)
    first = axis % len(inner)
    offsets = [draw(st.integers(0, m)) for m in more[first : len(inner)]]
    outer = tuple(e + m for e, m in zip(inner, more, strict=False))
    fields = " ".join(f"offset: {o}" for o in offsets)
    return Case(kind, f"crop_param {{ axis: {axis} {fields} }}", (outer, inner))


@geometry("BatchReindex")
def batch_reindex(draw: Draw, kind: str) -> Case:
    return Case(kind, bottoms=(shape(draw, 1, 4), shape(draw, 1, 1)))


@geometry("Filter")
def filters(draw: Draw, kind: str) -> Case:
    n, count = draw(extent), draw(st.integers(1, 3))
    bottoms = tuple((n, *shape(draw, 0, 3)) for _ in range(count))
    selector = (n, *(1,) * draw(st.integers(0, 3)))
    return Case(kind, bottoms=(*bottoms, selector), tops=count, values={count: 1.0})


@geometry("Embed")
def embed(draw: Draw, kind: str) -> Case:
    fields = f"num_output: {draw(extent)} input_dim: 4 {sometimes(draw, 'bias_term: false')}"
    return Case(kind, f"embed_param {{ {fields} }}", (shape(draw, 0, 4),))


@geometry("Parameter")
def parameter(draw: Draw, kind: str) -> Case:
    dims = " ".join(f"dim: {d}" for d in shape(draw, 0, 4))
    return Case(kind, f"parameter_param {{ shape {{ {dims} }} }}", ())


@geometry("InnerProduct")
def inner_product(draw: Draw, kind: str) -> Case:
    x = shape(draw, 1, 5)
    flags = sometimes(draw, "transpose: true ") + sometimes(draw, "bias_term: false")
    return Case(kind, f"inner_product_param {{ num_output: {draw(extent)} axis: {axis_of(draw, x)} {flags} }}", (x,))


@geometry("Convolution", "Deconvolution", "Im2col")
def sliding(draw: Draw, kind: str) -> Case:
    spatial, before = draw(st.integers(0, 3)), draw(st.integers(0, 2))
    group = draw(st.integers(1, 2))
    x = (*shape(draw, before, before), group * draw(st.integers(1, 3)), *shape(draw, spatial, spatial))
    fields = [f"num_output: {group * draw(st.integers(1, 3))} group: {group} axis: {before}"]
    for name, most in (("kernel_size", 4), ("stride", 3), ("pad", 2), ("dilation", 2)):
        fewest = 0 if name == "pad" else 1
        fields += [f"{name}: {draw(st.integers(fewest, most))}" for _ in range(spatial)]
    fields.append(sometimes(draw, "bias_term: false"))
    count = 1 if kind == "Im2col" else draw(st.integers(1, 2))
    return Case(kind, f"convolution_param {{ {' '.join(fields)} }}", (x,) * count, count)


@geometry("Pooling")
def pooling(draw: Draw, kind: str) -> Case:
    pool = draw(st.sampled_from(["MAX", "AVE", "STOCHASTIC"]))
    x = shape(draw, 4, 4)
    if draw(st.integers(0, 4)) == 0:
        return Case(kind, f"pooling_param {{ pool: {pool} global_pooling: true }}", (x,))
    fields = [f"pool: {pool}", f"round_mode: {draw(st.sampled_from(['CEIL', 'FLOOR']))}"]
    for side in "hw":
        kernel = draw(st.integers(1, 4))
        pad = 0 if pool == "STOCHASTIC" else draw(st.integers(0, kernel - 1))
        fields += [f"kernel_{side}: {kernel} stride_{side}: {draw(st.integers(1, 5))} pad_{side}: {pad}"]
    tops = draw(st.integers(1, 2)) if pool == "MAX" else 1
    return Case(kind, f"pooling_param {{ {' '.join(fields)} }}", (x,), tops, draw(phases))


@geometry("SPP")
def spp(draw: Draw, kind: str) -> Case:
    x = (*shape(draw, 2, 2), draw(st.integers(1, 15)), draw(st.integers(1, 15)))
    fields = f"pyramid_height: {draw(st.integers(1, 3))} pool: {draw(st.sampled_from(['MAX', 'AVE']))}"
    return Case(kind, f"spp_param {{ {fields} }}", (x,))


@geometry("Flatten")
def flatten(draw: Draw, kind: str) -> Case:
    x = shape(draw, 1, 5)
    axis = axis_of(draw, x)
    return Case(
        kind, f"flatten_param {{ axis: {axis} end_axis: {draw(st.integers(axis % len(x), len(x) - 1))} }}", (x,)
    )


@geometry("Reshape")
def reshape(draw: Draw, kind: str) -> Case:
    x = shape(draw, 1, 5)
    start, axis = draw(st.integers(0, len(x))), None
    axis = draw(st.sampled_from([start, start - len(x) - 1]))
    count = draw(st.integers(0, len(x) - start))
    dims: list[int] = draw(st.permutations([0] * count))
    if dims and draw(st.booleans()):
        dims[draw(st.integers(0, len(dims) - 1))] = -1
    dims += [1] * draw(st.integers(0, 2))
    fields = " ".join(f"dim: {d}" for d in dims)
    return Case(kind, f"reshape_param {{ axis: {axis} num_axes: {count} shape {{ {fields} }} }}", (x,))


@geometry("Concat")
def concat(draw: Draw, kind: str) -> Case:
    x = shape(draw, 1, 5)
    axis = axis_of(draw, x)
    others = [(*x[: axis % len(x)], draw(extent), *x[axis % len(x) + 1 :]) for _ in range(draw(st.integers(0, 2)))]
    return Case(kind, f"concat_param {{ axis: {axis} }}", (x, *others))


@geometry("Eltwise")
def eltwise(draw: Draw, kind: str) -> Case:
    operation = draw(st.sampled_from(["SUM", "PROD", "MAX"]))
    x, count = shape(draw, 0, 5), draw(st.integers(2, 4))
    coeffs = " ".join(["coeff: 2"] * count) if operation == "SUM" else ""
    return Case(kind, f"eltwise_param {{ operation: {operation} {coeffs} }}", (x,) * count)


@geometry("Split")
def split(draw: Draw, kind: str) -> Case:
    return Case(kind, bottoms=(shape(draw, 0, 5),), tops=draw(st.integers(1, 3)))
