"""How each layer type is drawn: what it reads, and its parameters."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import strategies as st

from .nets import Case, Drawing
from .reference import Shape
from .reference.base import count
from .values import Kind

Draw = Callable[[Drawing], object]


def field(name: str, *values: object) -> str:
    return " ".join(f"{name}: {str(v).lower() if isinstance(v, bool) else v}" for v in values)


def rank(*ranks: int) -> Callable[[Shape], bool]:
    return lambda shape: len(shape) in ranks


def some_axis(d: Drawing, shape: Shape, low: int = 0) -> int:
    """An axis, now and then a negative one."""
    axis = d.integer(min(low, len(shape) - 1), len(shape) - 1)
    return axis - len(shape) if d.chance(30) else axis


def on_one(type: str, param: Callable[[Drawing], str] = lambda d: "", *ranks: int) -> Draw:
    """A layer of one bottom and one top."""

    def draw(d: Drawing) -> None:
        bottom = d.pick(rank(*ranks) if ranks else lambda shape: True)
        if bottom is not None:
            d.add(type, [bottom], param(d))

    return draw


# Windows


def spatial(d: Drawing, axes: int) -> str:
    """Kernel, stride, pad and dilation in one of their forms."""
    parts = []
    for repeated, single, low, high in [
        ("kernel_size", "kernel", 1, 4),
        ("stride", "stride", 1, 3),
        ("pad", "pad", 0, 2),
    ]:
        if axes == 2 and d.chance(20):
            parts.append(f"{single}_h: {d.integer(low, high)} {single}_w: {d.integer(low, high)}")
        elif axes and d.chance(20):
            parts.append(field(repeated, *(d.integer(low, high) for _ in range(axes))))
        elif repeated == "kernel_size" or d.chance(50):
            parts.append(field(repeated, d.integer(low, high)))
    return " ".join([*parts, "dilation: 2" if d.chance(15) else ""])


def convolution(type: str) -> Draw:
    def draw(d: Drawing) -> None:
        bottom = d.pick(rank(4) if d.chance(85) else rank(3, 5))
        if bottom is None:
            return
        shape = d.shape(bottom)
        axis = d.integer(1, len(shape) - 2) - d.choose([0, len(shape)]) if d.chance(10) else 1
        channels = shape[axis]
        group = d.choose([g for g in range(1, channels + 1) if channels % g == 0]) if d.chance(35) else 1
        parts = [field("num_output", group * d.integer(1, 4)), spatial(d, len(shape) - 1 - axis % len(shape))]
        parts += [f"group: {group}"] * (group > 1) + [f"axis: {axis}"] * (axis != 1)
        parts += [field("bias_term", False)] * d.chance(30) + ["engine: CAFFE"] * d.chance(5)
        bottoms = [bottom]
        alike = d.alike(bottom)
        if len(alike) > 1 and d.chance(8):
            bottoms.append(d.choose(alike))
        d.add(type, bottoms, f"convolution_param {{ {' '.join(parts)} }}", len(bottoms))

    return draw


def im2col(d: Drawing) -> str:
    return f"convolution_param {{ {spatial(d, 2)} }}"


def pooling(d: Drawing) -> None:
    bottom = d.pick(rank(4))
    if bottom is None:
        return
    pool = d.choose(["MAX", "MAX", "AVE", "AVE", "STOCHASTIC" if d.phase == "TEST" else "MAX"])
    if d.chance(20):
        geometry = "global_pooling: true"
    else:
        kernel, stride = d.integer(1, 4), d.integer(1, 4)
        geometry = f"kernel_size: {kernel} stride: {stride}"
        if pool != "STOCHASTIC" and d.chance(40):
            geometry += f" pad: {d.integer(0, kernel - 1)}"
        if d.chance(15):
            geometry = f"kernel_h: {kernel} kernel_w: {d.integer(1, 4)} stride_h: {stride} stride_w: {d.integer(1, 4)}"
        if d.chance(25):
            geometry += " round_mode: FLOOR"
    d.add(
        "Pooling", [bottom], f"pooling_param {{ pool: {pool} {geometry} }}", 2 if pool == "MAX" and d.chance(15) else 1
    )


def spp(d: Drawing) -> str:
    return f"spp_param {{ pyramid_height: {d.integer(1, 3)} pool: {d.choose(['MAX', 'AVE'])} }}"


def lrn(d: Drawing) -> str:
    region = d.choose(["ACROSS_CHANNELS", "WITHIN_CHANNEL"])
    numbers = f"alpha: {d.choose([1, 0.1, 2])} beta: {d.choose([0.75, 0.5, 1.2])} k: {d.choose([1, 2])}"
    return f"lrn_param {{ local_size: {d.choose([3, 5, 1, 7])} norm_region: {region} {numbers} }}"


# Blobs


def inner_product(d: Drawing) -> None:
    bottom = d.pick(lambda shape: len(shape) >= 1 and count(shape[1:]) <= 300)
    if bottom is None:
        return
    shape = d.shape(bottom)
    parts = [f"num_output: {d.integer(1, 6)}"]
    parts += [f"axis: {some_axis(d, shape)}"] * (len(shape) < 2 or d.chance(15))
    parts += ["transpose: true"] * d.chance(20) + ["bias_term: false"] * d.chance(25)
    d.add("InnerProduct", [bottom], f"inner_product_param {{ {' '.join(parts)} }}")


def embed(d: Drawing) -> None:
    index = d.input((d.integer(1, 4),) + (d.integer(1, 3),) * d.integer(0, 2), Kind(below=5), "index")
    bias = " bias_term: false" if d.chance(30) else ""
    d.add("Embed", [index], f"embed_param {{ input_dim: {d.integer(5, 7)} num_output: {d.integer(1, 5)}{bias} }}")


def batch_norm(d: Drawing) -> str:
    parts = [f"use_global_stats: {d.choose(['true', 'false'])}"] * d.chance(20)
    parts += [f"moving_average_fraction: {d.choose([0.9, 0.5])}"] * d.chance(30) + ["eps: 0.001"] * d.chance(30)
    return f"batch_norm_param {{ {' '.join(parts)} }}" if parts else ""


def batch_norm_and_scale(d: Drawing) -> None:
    """The pair of which a TEST net makes one module."""
    bottom = d.pick(lambda shape: len(shape) >= 2)
    tops = d.add("BatchNorm", [bottom], batch_norm(d)) if bottom is not None else None
    if tops:
        d.add("Scale", tops, "scale_param { bias_term: true }" if d.chance(80) else "")


def repeated(d: Drawing) -> None:
    """Equal blocks one behind the other, of which an export makes a class; now and then around each a shortcut."""
    bottom = d.pick(rank(4))
    if bottom is None:
        return
    kinds = [d.choose(["Convolution", "BatchNorm", "ReLU", "Pooling", "TanH"]) for _ in range(d.integer(1, 3))]
    width, grows, shortcut = d.integer(1, 3), d.chance(25), d.chance(30)
    for i in range(d.integer(2, 4)):
        before: str = bottom
        for kind in kinds:
            param = {
                "Convolution": f"convolution_param {{ num_output: {width + i * grows} kernel_size: 3 pad: 1 }}",
                "Pooling": "pooling_param { pool: MAX kernel_size: 3 stride: 1 pad: 1 }",
            }.get(kind, "")
            tops = d.add(kind, [bottom], param)
            if not tops:
                return
            bottom = tops[0]
        if shortcut and bottom != before and d.shape(bottom) == d.shape(before):
            bottom = (d.add("Eltwise", [before, bottom]) or [bottom])[0]


def scale(type: str) -> Draw:
    param = f"{type.lower()}_param"

    def draw(d: Drawing) -> None:
        bottom = d.pick(lambda shape: len(shape) >= 1)
        if bottom is None:
            return
        shape = d.shape(bottom)
        axis = some_axis(d, shape) if d.chance(40) or len(shape) < 2 else 1
        bias = " bias_term: true" if type == "Scale" and d.chance(50) else ""
        given = f"axis: {axis}" if axis != 1 else ""
        start = axis % len(shape)
        fitting = [
            n for n, b in d.blobs.items() if b.value.shape == shape[start : start + b.value.ndim] and n != bottom
        ]
        fitting = [n for n in fitting if d.readable(n)]
        if fitting and d.chance(40):
            d.add(type, [bottom, d.choose(fitting)], f"{param} {{ {given}{bias} }}")
            return
        axes = d.choose([-1, *range(len(shape) - start + 1)]) if d.chance(50) else 1
        d.add(type, [bottom], f"{param} {{ {given} num_axes: {axes}{bias} }}")

    return draw


def prelu(d: Drawing) -> str:
    return "prelu_param { channel_shared: true }" if d.chance(30) else ""


def mvn(d: Drawing) -> str:
    parts = ["normalize_variance: false"] * d.chance(30) + ["across_channels: true"] * d.chance(40)
    return f"mvn_param {{ {' '.join(parts)} eps: {d.choose([1e-9, 0.01])} }}"


def parameter(d: Drawing) -> None:
    shapes = [b.value.shape for n, b in d.blobs.items() if d.readable(n)]
    shape = d.choose(shapes) if shapes else (2, 3)
    d.add("Parameter", [], "parameter_param { shape { " + " ".join(f"dim: {n}" for n in shape) + " } }")


# Values


def relu(d: Drawing) -> str:
    return "relu_param { negative_slope: 0.1 }" if d.chance(25) else ""


def elu(d: Drawing) -> str:
    return f"elu_param {{ alpha: {d.choose([1, 0.5, 2])} }}"


def swish(d: Drawing) -> str:
    return f"swish_param {{ beta: {d.choose([1, 0.5, 2])} }}"


def power(d: Drawing) -> str:
    return f"power_param {{ power: {d.choose([1, 2, 3, 0, -1, 0.5])} scale: {d.number()} shift: {d.choose([0, 1, 3, -2])} }}"


def exp(d: Drawing) -> str:
    return f"exp_param {{ base: {d.choose([-1, 2, 10, 0.5])} scale: {d.number()} shift: {d.choose([0, 1, -0.5])} }}"


def log(d: Drawing) -> str:
    return f"log_param {{ base: {d.choose([-1, 2, 10, 0.5])} scale: {d.number()} shift: {d.choose([0, 1, 4])} }}"


def clip(d: Drawing) -> str:
    return f"clip_param {{ min: {d.choose([-1, 0, -0.5])} max: {d.choose([1, 0.5, 6])} }}"


def threshold(d: Drawing) -> str:
    return f"threshold_param {{ threshold: {d.choose([0, 0.5])} }}"


def dropout(d: Drawing) -> str:
    return f"dropout_param {{ dropout_ratio: {d.choose([0.5, 0.2, 0.7])} }}"


# Routing


def softmax(d: Drawing) -> None:
    bottom = d.pick(lambda shape: len(shape) >= 1)
    if bottom is not None:
        shape = d.shape(bottom)
        axis = some_axis(d, shape) if len(shape) < 2 or d.chance(25) else 1
        d.add("Softmax", [bottom], f"softmax_param {{ axis: {axis} }}" if axis != 1 else "")


def flatten(d: Drawing) -> None:
    bottom = d.pick(lambda shape: len(shape) >= 2)
    if bottom is not None:
        axis = some_axis(d, d.shape(bottom)) if d.chance(30) else 1
        end = f" end_axis: {some_axis(d, d.shape(bottom))}" if d.chance(20) else ""
        d.add("Flatten", [bottom], f"flatten_param {{ axis: {axis}{end} }}")


def reshape(d: Drawing) -> None:
    bottom = d.pick(lambda shape: len(shape) >= 1)
    if bottom is None:
        return
    shape = d.shape(bottom)
    dims: list[int] = [0] * d.integer(0, len(shape)) + ([-1] if d.chance(70) else [])
    dims += [d.choose([1, 2, shape[-1]])] * d.chance(30)
    where = f" axis: {d.integer(-1, len(shape) - 1)}" if d.chance(25) else ""
    where += f" num_axes: {d.integer(-1, 2)}" if d.chance(20) else ""
    d.add("Reshape", [bottom], f"reshape_param {{ shape {{ {field('dim', *dims)} }}{where} }}")


def concat(d: Drawing) -> None:
    bottom = d.pick(lambda shape: len(shape) >= 1)
    if bottom is None:
        return
    shape = d.shape(bottom)
    axis = some_axis(d, shape) if len(shape) < 2 or d.chance(30) else 1
    at = axis % len(shape)
    fitting = [
        n
        for n, b in d.blobs.items()
        if b.value.ndim == len(shape)
        and (*b.value.shape[:at], *b.value.shape[at + 1 :]) == (*shape[:at], *shape[at + 1 :])
        and d.readable(n)
    ]
    bottoms = [bottom, *(d.choose(fitting) for _ in range(d.integer(0, 2)))]
    old = axis >= 0 and d.chance(15)
    d.add(
        "Concat", bottoms, f"concat_param {{ {'concat_dim' if old else 'axis'}: {axis} }}" if axis != 1 or old else ""
    )


def slice(d: Drawing) -> None:
    bottom = d.pick(lambda shape: len(shape) >= 1)
    if bottom is None:
        return
    shape = d.shape(bottom)
    axis = some_axis(d, shape) if len(shape) < 2 or d.chance(30) else 1
    extent, tops = shape[axis], d.integer(1, 3)
    parts = [f"axis: {axis}"] * (axis != 1)
    if d.chance(50) and 1 < tops <= extent:
        points = sorted(d.draw(st.sets(st.integers(1, extent - 1), min_size=tops - 1, max_size=tops - 1)))
        parts.append(field("slice_point", *points))
    d.add("Slice", [bottom], f"slice_param {{ {' '.join(parts)} }}", tops)


def tile(d: Drawing) -> None:
    bottom = d.pick(lambda shape: len(shape) >= 1)
    if bottom is not None:
        d.add("Tile", [bottom], f"tile_param {{ tiles: {d.integer(1, 3)} axis: {some_axis(d, d.shape(bottom))} }}")


def eltwise(d: Drawing) -> None:
    bottom = d.pick()
    if bottom is None:
        return
    bottoms = [bottom, *(d.choose(d.alike(bottom)) for _ in range(d.integer(1, 2)))]
    operation = d.choose(["SUM", "PROD", "MAX"])
    parts = [f"operation: {operation}"]
    if operation != "PROD" and d.chance(35):
        parts.append(field("coeff", *(d.number() for _ in bottoms)))
    if operation == "PROD" and d.chance(25):
        parts.append("stable_prod_grad: false")
    d.add("Eltwise", bottoms, f"eltwise_param {{ {' '.join(parts)} }}")


def reduction(d: Drawing) -> None:
    bottom = d.pick(lambda shape: len(shape) >= 1)
    if bottom is not None:
        operation = d.choose(["SUM", "ASUM", "SUMSQ", "MEAN"])
        axis = some_axis(d, d.shape(bottom))
        d.add("Reduction", [bottom], f"reduction_param {{ operation: {operation} axis: {axis} coeff: {d.number()} }}")


def crop(d: Drawing) -> None:
    bottom = d.pick(rank(4))
    if bottom is None:
        return
    shape = d.shape(bottom)
    likes = [n for n, b in d.blobs.items() if b.value.ndim == 4 and n != bottom]
    if not likes or d.chance(30):
        likes = [d.input((shape[0], shape[1], d.integer(1, shape[2]), d.integer(1, shape[3])), Kind(), "like")]
    offset = field("offset", *(d.integer(0, 2) for _ in range(d.choose([0, 1, 2]))))
    axis = "axis: 1" if d.chance(15) else ""
    d.add("Crop", [bottom, d.choose(likes)], f"crop_param {{ {axis} {offset} }}")


def batch_reindex(d: Drawing) -> None:
    bottom = d.pick(lambda shape: len(shape) >= 1)
    if bottom is not None:
        index = d.input((d.integer(1, 5),), Kind(below=d.shape(bottom)[0]), "index")
        d.add("BatchReindex", [bottom, index])


def filter(d: Drawing) -> None:
    bottom = d.pick(lambda shape: len(shape) >= 1 and shape[0] > 1)
    if bottom is not None:
        selector = d.input((d.shape(bottom)[0],) + (1,) * d.integer(0, 1), Kind(below=2), "selector")
        kept = d.add("Filter", [bottom, selector]) if d.blobs[selector].value.any() else None
        if kept:
            behind = d.add("InnerProduct", kept, "inner_product_param { num_output: 2 }") if d.chance(60) else None
            for name in [*kept, *(behind or [])]:
                d.blobs[name].closed = True


def arg_max(d: Drawing) -> None:
    bottom = d.pick(lambda shape: len(shape) >= 2)
    if bottom is not None:
        axis = f"axis: {some_axis(d, d.shape(bottom))}" if d.chance(50) else ""
        values = "out_max_val: true" if d.chance(50) else ""
        d.add("ArgMax", [bottom], f"argmax_param {{ {axis} {values} top_k: {d.choose([1, 1, 2, 3])} }}")


def silence(d: Drawing) -> None:
    bottom = d.pick()
    if bottom is not None:
        d.add("Silence", [bottom], tops=0)


# Losses


def loss_param(d: Drawing) -> str:
    parts = ["ignore_label: 1"] * d.chance(30)
    if d.chance(40):
        parts.append(f"normalization: {d.choose(['FULL', 'VALID', 'BATCH_SIZE', 'NONE'])}")
    elif d.chance(20):
        parts.append(f"normalize: {d.choose(['true', 'false'])}")
    return f"loss_param {{ {' '.join(parts)} }}" if parts else ""


def scores(d: Drawing, *ranks: int) -> str | None:
    return d.pick(lambda shape: len(shape) in (ranks or (2, 3, 4)) and shape[1] > 1)


def labels(d: Drawing, shape: Shape, axis: int = 1) -> str:
    """One label for each position beside `axis`."""
    rest = shape[:axis] + ((1,) if d.chance(50) else ()) + shape[axis + 1 :]
    return d.input(rest, Kind(below=shape[axis]), "label")


def tops(d: Drawing) -> int:
    """One; or none, for the automatic top."""
    return 0 if d.chance(6) else 1


def softmax_loss(d: Drawing) -> None:
    bottom = scores(d)
    if bottom is not None:
        axis = d.integer(1, len(d.shape(bottom)) - 1) if d.chance(10) else 1
        param = f"softmax_param {{ axis: {axis} }} " if axis != 1 else ""
        d.add("SoftmaxWithLoss", [bottom, labels(d, d.shape(bottom), axis)], param + loss_param(d), tops(d))


def sigmoid_loss(d: Drawing) -> None:
    bottom = d.pick(lambda shape: len(shape) >= 1)
    if bottom is not None:
        kind = Kind(below=2) if d.chance(60) else Kind(unit=True)
        target = d.input(d.shape(bottom), kind, "target")
        d.add("SigmoidCrossEntropyLoss", [bottom, target], loss_param(d), tops(d))


def pair(d: Drawing, bottom: str) -> str:
    """A blob of the same shape, or a new input."""
    alike = d.alike(bottom)
    return d.choose(alike) if len(alike) > 1 and d.chance(50) else d.input(d.shape(bottom), Kind(), "target")


def euclidean_loss(d: Drawing) -> None:
    bottom = d.pick(lambda shape: len(shape) >= 1)
    if bottom is not None:
        both = [bottom, pair(d, bottom)]
        d.add("EuclideanLoss", both[::-1] if d.chance(20) else both, "", tops(d))


def hinge_loss(d: Drawing) -> None:
    bottom = scores(d)
    if bottom is not None:
        shape = d.shape(bottom)
        label = d.input((shape[0],), Kind(below=count(shape[1:])), "label")
        d.add("HingeLoss", [bottom, label], f"hinge_loss_param {{ norm: {d.choose(['L1', 'L2'])} }}", tops(d))


def contrastive_loss(d: Drawing) -> None:
    bottom = d.pick(rank(2))
    if bottom is not None:
        label = d.input((d.shape(bottom)[0],), Kind(below=2), "similar")
        legacy = "legacy_version: true" if d.chance(30) else ""
        param = f"contrastive_loss_param {{ margin: {d.choose([1, 3])} {legacy} }}"
        d.add("ContrastiveLoss", [bottom, pair(d, bottom), label], param, tops(d))


def infogain_loss(d: Drawing) -> None:
    bottom = scores(d, 2, 4)
    if bottom is not None:
        n = d.shape(bottom)[1]
        matrix = d.input((1, 1, n, n), Kind(), "infogain")
        normal = f"loss_param {{ normalization: {d.choose(['FULL', 'VALID', 'NONE'])} }}" if d.chance(30) else ""
        d.add("InfogainLoss", [bottom, labels(d, d.shape(bottom)), matrix], normal, tops(d))


def multinomial_loss(d: Drawing) -> None:
    bottom = scores(d, 2)
    made = d.add("Softmax", [bottom], in_place=False) if bottom is not None else None
    if made and d.blobs[made[0]].value.min() > 1e-3:
        shape = d.shape(made[0])
        label = d.input((shape[0],), Kind(below=shape[1]), "label")
        d.add("MultinomialLogisticLoss", [made[0], label], "", tops(d))


def accuracy(d: Drawing) -> None:
    bottom = scores(d)
    if bottom is not None:
        parts = [f"top_k: {d.integer(1, 2)}"] * d.chance(40) + ["ignore_label: 0"] * d.chance(25)
        given = [bottom, labels(d, d.shape(bottom))]
        d.add("Accuracy", given, f"accuracy_param {{ {' '.join(parts)} }}", d.choose([1, 1, 2]))


# Recurrent


def recurrent(type: str, states: int) -> Draw:
    def draw(d: Drawing) -> None:
        bottom = d.pick(rank(3, 4))
        if bottom is None:
            return
        t, n, *_ = d.shape(bottom)
        hidden = d.integer(1, 4)
        bottoms = [bottom, d.input((t, n), Kind(below=2), "cont")]
        if d.chance(25):
            static = d.pick(lambda shape: len(shape) >= 2 and shape[0] == n)
            bottoms.append(static or d.input((n, d.integer(1, 3)), Kind(), "static"))
        expose = d.chance(25)
        if expose:
            bottoms += [d.input((1, n, hidden), Kind(), "state") for _ in range(states)]
        param = f"recurrent_param {{ num_output: {hidden}{' expose_hidden: true' if expose else ''} }}"
        d.add(type, bottoms, param, 1 + states * expose)

    return draw


def lstm_unit(d: Drawing) -> None:
    n, hidden = d.integer(1, 3), d.integer(1, 3)
    gates = d.pick(lambda shape: len(shape) == 3 and shape[0] == 1 and shape[2] % 4 == 0)
    if gates is not None:
        n, hidden = d.shape(gates)[1], d.shape(gates)[2] // 4
    gates = gates or d.input((1, n, 4 * hidden), Kind(), "gates")
    cell, cont = d.input((1, n, hidden), Kind(), "cell"), d.input((1, n), Kind(below=2), "cont")
    d.add("LSTMUnit", [cell, gates, cont], "", 2)


LAYER: dict[str, Draw] = {
    "Convolution": convolution("Convolution"),
    "Deconvolution": convolution("Deconvolution"),
    "Im2col": on_one("Im2col", im2col, 4),
    "Pooling": pooling,
    "SPP": on_one("SPP", spp, 4),
    "LRN": on_one("LRN", lrn, 4),
    "InnerProduct": inner_product,
    "Embed": embed,
    "BatchNorm": on_one("BatchNorm", batch_norm),
    "Scale": scale("Scale"),
    "Bias": scale("Bias"),
    "PReLU": on_one("PReLU", prelu),
    "MVN": on_one("MVN", mvn, 2, 3, 4),
    "Parameter": parameter,
    "ReLU": on_one("ReLU", relu),
    "Sigmoid": on_one("Sigmoid"),
    "TanH": on_one("TanH"),
    "ELU": on_one("ELU", elu),
    "Swish": on_one("Swish", swish),
    "AbsVal": on_one("AbsVal"),
    "BNLL": on_one("BNLL"),
    "Power": on_one("Power", power),
    "Exp": on_one("Exp", exp),
    "Log": on_one("Log", log),
    "Clip": on_one("Clip", clip),
    "Threshold": on_one("Threshold", threshold),
    "Dropout": on_one("Dropout", dropout),
    "Softmax": softmax,
    "Flatten": flatten,
    "Reshape": reshape,
    "Concat": concat,
    "Slice": slice,
    "Tile": tile,
    "Eltwise": eltwise,
    "Reduction": reduction,
    "Crop": crop,
    "BatchReindex": batch_reindex,
    "Filter": filter,
    "ArgMax": arg_max,
    "Silence": silence,
    "SoftmaxWithLoss": softmax_loss,
    "SigmoidCrossEntropyLoss": sigmoid_loss,
    "EuclideanLoss": euclidean_loss,
    "HingeLoss": hinge_loss,
    "ContrastiveLoss": contrastive_loss,
    "InfogainLoss": infogain_loss,
    "MultinomialLogisticLoss": multinomial_loss,
    "Accuracy": accuracy,
    "LSTM": recurrent("LSTM", 2),
    "RNN": recurrent("RNN", 1),
    "LSTMUnit": lstm_unit,
}
"""How a layer of each type is drawn."""

COMMON: list[Draw] = [
    repeated,
    convolution("Convolution"),
    convolution("Convolution"),
    pooling,
    pooling,
    batch_norm_and_scale,
    on_one("ReLU", relu),
    inner_product,
    eltwise,
    concat,
    slice,
]
"""What is drawn as often as all others together."""

LOSSES: list[Draw] = [softmax_loss, sigmoid_loss, euclidean_loss, hinge_loss, contrastive_loss]


@st.composite
def cases(draw: Callable[..., object]) -> Case:
    """A net of up to some twenty layers, with what its inputs hold."""
    seed, phase = draw(st.integers(0, 2**20)), draw(st.sampled_from(["TRAIN", "TRAIN", "TEST"]))
    d = Drawing(draw, str(phase), int(seed))  # type: ignore[call-overload]
    items = d.integer(1, 4)
    for _ in range(d.choose([1, 1, 1, 2])):
        axes = d.choose([4, 4, 4, 4, 2, 3, 5])
        d.input((items, *(d.integer(1, 6) if i == 0 or axes > 4 else d.integer(1, 9) for i in range(axes - 1))), Kind())
    for _ in range(d.integer(2, 24)):
        d.choose(COMMON if d.chance(50) else list(LAYER.values()))(d)
    for _ in range(d.integer(0, 2)):
        d.choose(LOSSES)(d)
    return d.case(force_backward=d.chance(15))
