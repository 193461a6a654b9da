"""The gradient of every layer type against differences, in double precision, where Caffe's gradient is the derivative.

A registered type stands in `CASES` or, with the reason, in `NO_DERIVATIVE`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor
from torch.func import functional_call

import proto2torch as p2t
from proto2torch.layers import REGISTRY

Make = Callable[[torch.Generator], Tensor]


def normal(*shape: int) -> Make:
    return lambda g: torch.randn(shape, dtype=torch.double, generator=g)


def positive(*shape: int) -> Make:
    return lambda g: torch.rand(shape, dtype=torch.double, generator=g) + 0.5


def whole(below: int, *shape: int) -> Make:
    return lambda g: torch.randint(0, below, shape, generator=g).double()


def given(*values: float) -> Make:
    return lambda g: torch.tensor(values, dtype=torch.double)


def cont(steps: int, items: int) -> Make:
    """Every sequence begins with the batch, so that no state is carried over from the call before."""
    return lambda g: torch.cat([torch.zeros(1, items), torch.ones(steps - 1, items)]).double()


@dataclass(frozen=True)
class Case:
    """A layer over bottoms, of which those in `fixed` take no gradient; the first `tops` of its outputs give one."""

    bottoms: list[Make]
    param: str = ""
    fixed: tuple[int, ...] = ()
    outputs: int = 1
    tops: int | None = None
    phase: str = "TRAIN"

    def text(self, kind: str, shapes: list[torch.Size]) -> str:
        lines = []
        for i, shape in enumerate(shapes):
            dims = " ".join(f"dim: {d}" for d in shape)
            lines.append(f'layer {{ name: "b{i}" type: "Input" top: "b{i}" input_param {{ shape {{ {dims} }} }} }}')
        names = [f'bottom: "b{i}"' for i in range(len(shapes))] + [f'top: "t{i}"' for i in range(self.outputs)]
        return "\n".join([*lines, f'layer {{ name: "l" type: "{kind}" {" ".join(names)} {self.param} }}'])


def wide(*shape: int) -> Make:
    """Values of which many lie beyond 6."""
    return lambda g: 8 * torch.randn(shape, dtype=torch.double, generator=g)


def regions(g: torch.Generator) -> Tensor:
    return torch.tensor([[0, 0, 0, 5, 5], [1, 2, 1, 4, 3], [1, 0, 2, 9, 9]], dtype=torch.double)


def mask(g: torch.Generator) -> Tensor:
    return torch.tensor([[[[0, 3], [9, 14]]]], dtype=torch.double)


REGIONS: Make = regions
X4, X2 = normal(2, 4, 3, 3), normal(3, 4)
LABELS = whole(4, 3)
HIDDEN = "recurrent_param { num_output: 2"

CASES: dict[str, list[Case]] = {
    "AbsVal": [Case([X2])],
    "Axpy": [Case([normal(2, 4), X4, X4]), Case([normal(2, 4, 1, 1), X4, X4])],
    "BN": [
        Case([X4], "bn_param { slope_filler { value: 1 } }"),
        Case([X4], "bn_param { frozen: true eps: 0.3 }"),
        Case([X4], "bn_param { bn_mode: LEARN }", outputs=3, tops=1),
        Case([X4], "bn_param { bn_mode: INFERENCE }", phase="TEST"),
    ],
    "BNLL": [Case([X2])],
    "BatchNorm": [Case([X4]), Case([X4], phase="TEST"), Case([X4], "batch_norm_param { use_global_stats: true }")],
    "BatchReindex": [Case([X4, given(1, 0, 1)], fixed=(1,))],
    "Bias": [Case([X4]), Case([X4, normal(4)]), Case([X4, normal(3, 3)], "bias_param { axis: 2 }")],
    "Clip": [Case([X2], "clip_param { min: -0.5 max: 0.7 }")],
    "Concat": [Case([X4, normal(2, 1, 3, 3)]), Case([X2, X2], "concat_param { axis: 0 }")],
    "ContrastiveLoss": [
        Case([X2, X2, given(1, 0, 0)], "contrastive_loss_param { margin: 20 legacy_version: true }", fixed=(2,))
    ],
    "Convolution": [
        Case([X4], "convolution_param { num_output: 4 kernel_size: 2 stride: 2 pad: 1 group: 2 dilation: 2 }"),
        Case([X4], "convolution_param { num_output: 2 kernel_h: 2 kernel_w: 3 bias_term: false }"),
        Case([normal(1, 2, 2, 3, 2)], "convolution_param { num_output: 2 kernel_size: 2 }"),
        Case([normal(1, 2, 2, 2)], "convolution_param { num_output: 2 kernel_size: 3 stride: 2 }"),
    ],
    "ConvolutionDepthwise": [Case([X4], "convolution_param { kernel_size: 2 stride: 2 pad: 1 }")],
    "Crop": [Case([X4, normal(2, 4, 2, 1)], "crop_param { offset: 1 offset: 2 }", fixed=(1,))],
    "Deconvolution": [
        Case([X4], "convolution_param { num_output: 4 kernel_size: 3 stride: 2 pad: 1 group: 2 }"),
        Case([normal(2, 3, 4)], "convolution_param { num_output: 2 kernel_size: 2 dilation: 2 bias_term: false }"),
    ],
    "DepthwiseConvolution": [Case([X4], "convolution_param { num_output: 4 group: 4 kernel_size: 2 }")],
    "Dropout": [
        Case([X2], "dropout_param { dropout_ratio: 0.3 }"),
        Case([X2], phase="TEST"),
        Case([X2], "dropout_param { dropout_ratio: 0.3 scale_train: false }"),
        Case([X2], "dropout_param { dropout_ratio: 0.3 scale_train: false }", phase="TEST"),
    ],
    "ELU": [Case([X2], "elu_param { alpha: 0.7 }")],
    "Eltwise": [
        Case([X2, X2, X2], "eltwise_param { coeff: 1 coeff: -2 coeff: 0.5 }"),
        Case([X2, X2, X2], "eltwise_param { operation: PROD }"),
        Case([positive(3, 4), positive(3, 4)], "eltwise_param { operation: PROD stable_prod_grad: false }"),
        Case([X2, X2, X2], "eltwise_param { operation: MAX }"),
    ],
    "Embed": [Case([whole(5, 3, 2)], "embed_param { input_dim: 5 num_output: 3 }", fixed=(0,))],
    "EuclideanLoss": [Case([X2, X2])],
    "Exp": [Case([X2]), Case([X2], "exp_param { base: 3 scale: -0.5 shift: 0.7 }")],
    "Filter": [Case([X2, given(1, 0, 1)], fixed=(1,))],
    "Flatten": [Case([X4]), Case([X4], "flatten_param { axis: 0 end_axis: 2 }")],
    "Flip": [Case([X4], "flip_param { flip_height: true }")],
    "FocalLoss": [
        Case([X2, LABELS], fixed=(1,)),
        Case([X2, LABELS], "focal_loss_param { type: ONEADDP gamma: 1.5 } loss_param { ignore_label: 1 }", fixed=(1,)),
    ],
    "HingeLoss": [
        Case([X2, LABELS], "hinge_loss_param { norm: L1 }", fixed=(1,)),
        Case([X2, LABELS], "hinge_loss_param { norm: L2 }", fixed=(1,)),
    ],
    "Im2col": [Case([X4], "convolution_param { kernel_size: 3 stride: 2 pad: 1 }")],
    "InfogainLoss": [Case([X2, LABELS, normal(1, 1, 4, 4)], fixed=(1, 2))],
    "InnerProduct": [
        Case([X4], "inner_product_param { num_output: 3 }"),
        Case([X4], "inner_product_param { num_output: 3 axis: 2 transpose: true bias_term: false }"),
    ],
    "Interp": [
        Case([X4], "interp_param { height: 5 width: 2 }"),
        Case([X4], "interp_param { zoom_factor: 2 pad_beg: -1 }"),
    ],
    "LRN": [
        Case([X4], "lrn_param { local_size: 3 alpha: 0.7 beta: 0.6 k: 2 }"),
        Case([X4], "lrn_param { local_size: 3 alpha: 0.7 beta: 0.6 norm_region: WITHIN_CHANNEL }"),
    ],
    "LSTM": [
        Case([normal(3, 2, 3), cont(3, 2)], HIDDEN + " }", fixed=(1,)),
        Case([normal(3, 2, 3), cont(3, 2), normal(2, 4)], HIDDEN + " }", fixed=(1,)),
        Case(
            [normal(3, 2, 3), whole(2, 3, 2), normal(1, 2, 2), normal(1, 2, 2)],
            HIDDEN + " expose_hidden: true }",
            fixed=(1, 2, 3),
            outputs=3,
            tops=1,
        ),
    ],
    "LSTMUnit": [Case([normal(1, 3, 2), normal(1, 3, 8), whole(2, 1, 3)], fixed=(2,), outputs=2)],
    "Log": [Case([positive(3, 4)]), Case([positive(3, 4)], "log_param { base: 3 scale: 0.5 shift: 0.7 }")],
    "MVN": [
        Case([X4], "mvn_param { normalize_variance: false }"),
        Case([X4], "mvn_param { normalize_variance: false across_channels: true }"),
    ],
    "MultinomialLogisticLoss": [Case([positive(3, 4), LABELS], fixed=(1,))],
    "PReLU": [Case([X4]), Case([X4], "prelu_param { channel_shared: true }")],
    "Parameter": [Case([], "parameter_param { shape { dim: 2 dim: 3 } }")],
    "Pooling": [
        Case([X4], "pooling_param { pool: MAX kernel_size: 3 stride: 2 pad: 2 }"),
        Case([X4], "pooling_param { pool: AVE kernel_size: 3 stride: 2 pad: 2 }"),
        Case([X4], "pooling_param { pool: AVE kernel_size: 2 stride: 2 round_mode: FLOOR }"),
        Case([X4], "pooling_param { pool: AVE global_pooling: true }"),
        Case([X4], "pooling_param { pool: MAX kernel_size: 2 }", outputs=2, tops=1),
    ],
    "Normalize": [
        Case([X4], "norm_param { eps: 0.1 }"),
        Case([X4], "norm_param { across_spatial: false }"),
        Case([X4], 'normalize_param { normalize_type: "L2" bp_norm: true }', outputs=2),
        Case([X4], 'normalize_param { normalize_type: "L1" bp_norm: true }', outputs=2),
    ],
    "NormalizedSigmoidCrossEntropyLoss": [
        Case([X4, whole(2, 2, 4, 3, 3), positive(2, 4)], fixed=(1, 2)),
        Case([X2, whole(2, 3, 4)], fixed=(1,)),
    ],
    "PSROIPooling": [
        Case([X4, REGIONS], "psroi_pooling_param { spatial_scale: 0.5 output_dim: 1 group_size: 2 }", fixed=(1,))
    ],
    "Permute": [Case([X4], "permute_param { order: 2 order: 0 }")],
    "Power": [
        Case([X2], "power_param { power: 2 scale: -0.5 shift: 0.3 }"),
        Case([positive(3, 4)], "power_param { power: 1.7 scale: 0.5 shift: 0.3 }"),
        Case([positive(3, 4)], "power_param { power: -1 }"),
        Case([X2], "power_param { power: 1 scale: 3 }"),
    ],
    "RNN": [
        Case([normal(3, 2, 3), cont(3, 2)], HIDDEN + " }", fixed=(1,)),
        Case([normal(3, 2, 3), cont(3, 2), normal(2, 4)], HIDDEN + " }", fixed=(1,)),
    ],
    "ROIPooling": [Case([X4, REGIONS], "roi_pooling_param { pooled_h: 2 pooled_w: 2 spatial_scale: 0.5 }", fixed=(1,))],
    "ReLU6": [Case([wide(3, 4)]), Case([wide(3, 4)], "relu6_param { negative_slope: 0.2 }")],
    "ReLU": [Case([X2]), Case([X2], "relu_param { negative_slope: 0.2 }")],
    "Reduction": [
        Case([X4], f"reduction_param {{ operation: {operation} axis: 2 coeff: -0.7 }}")
        for operation in ("SUM", "ASUM", "SUMSQ", "MEAN")
    ],
    "Reshape": [Case([X4], "reshape_param { shape { dim: 0 dim: -1 dim: 3 } }")],
    "Resize": [Case([X4], "resize_param { height: 5 width: 2 }")],
    "SPP": [Case([X4], f"spp_param {{ pyramid_height: 2 pool: {pool} }}") for pool in ("MAX", "AVE")],
    "Scale": [
        Case([X4], "scale_param { bias_term: true }"),
        Case([X4], "scale_param { axis: 0 num_axes: -1 }"),
        Case([X4], "scale_param { num_axes: 0 }"),
        Case([X4, normal(4, 3)], "scale_param { bias_term: true }"),
    ],
    "SeLU": [Case([X2]), Case([X2], "selu_param { alpha: 0.7 lambda: 1.3 }")],
    "ShuffleChannel": [Case([X4], "shuffle_channel_param { group: 2 }")],
    "Sigmoid": [Case([X2])],
    "SigmoidCrossEntropyLoss": [
        Case([X2, positive(3, 4)], fixed=(1,)),
        Case([X2, whole(2, 3, 4)], "loss_param { ignore_label: 1 normalization: VALID }", fixed=(1,)),
    ],
    "Slice": [Case([X4], outputs=2), Case([X4], "slice_param { axis: 2 slice_point: 1 slice_point: 2 }", outputs=3)],
    "SmoothL1Loss": [
        Case([X2, X2]),
        Case([X2, X2, X2, X2], "smooth_l1_loss_param { sigma: 1.5 }", fixed=(2, 3)),
    ],
    "SmoothL1LossOHEM": [Case([X4, X4]), Case([X2, X2], "loss_param { normalization: BATCH_SIZE }")],
    "Softmax": [Case([X4]), Case([X4], "softmax_param { axis: 2 }")],
    "SoftmaxWithLoss": [
        Case([X2, LABELS], fixed=(1,)),
        Case([X4, whole(4, 2, 1, 3, 3)], "loss_param { ignore_label: 1 }", fixed=(1,)),
        Case([X4, whole(3, 2, 4, 3)], "softmax_param { axis: 2 } loss_param { normalization: NONE }", fixed=(1,)),
        Case(
            [X2, LABELS],
            "loss_param { weight_by_label_freqs: true class_weighting: [1, 2, 0.5, 3] ignore_label: 2 }",
            fixed=(1,),
        ),
    ],
    "SoftmaxWithLossOHEM": [
        Case([X4, whole(4, 2, 1, 3, 3)], "loss_param { normalization: PRE_FIXED pre_fixed_normalizer: 7 }", fixed=(1,))
    ],
    "Split": [Case([X2], outputs=2)],
    "Swish": [Case([X2]), Case([X2], "swish_param { beta: 0.6 }")],
    "TanH": [Case([X2])],
    "Tile": [Case([X4], "tile_param { tiles: 3 }")],
    "TripletLoss": [Case([X2, X2, X2], "triplet_loss_param { margin: 3 }")],
    "Upsample": [
        Case([X4], "upsample_param { scale: 2 }"),
        Case([normal(1, 1, 2, 2), mask], "upsample_param { scale: 2 }", fixed=(1,)),
    ],
}

_READS = "a data layer: it has no bottom"
NO_DERIVATIVE = {
    "Accuracy": "Caffe has no backward",
    "ArgMax": "Caffe has no backward",
    "Threshold": "Caffe has no backward",
    "Silence": "it has no top",
    "HDF5Output": "it has no top",
    "Input": "it has no bottom",
    "BoxAnnotatorOHEM": "it chooses",
    "DetectionOutput": "it chooses",
    "MultiBoxLoss": "its matches, and so its slopes, jump",
    "PriorBox": "its bottoms give their extents alone",
    "CenterLoss": "the centres move by a rule of their own",
    "DetectionEvaluate": "it counts",
    "HardSigmoid": "its fork has no backward",
    "HardSwish": "its fork has no backward",
    "MarginInnerProduct": "the label's direction is brought to unit length",
    "Mish": "its fork takes the derivative at the wrong place",
    "Proposal": "it chooses",
    "RegionLoss": "the gradient is delta, the value the sum of its squares",
    "Reorg": "its fork's gradient is 0",
    "SegAccuracy": "it counts",
    "YoloDetectionOutput": "it chooses",
    "Yolov3": "the gradient is delta, the value the sum of its squares",
    "Yolov3DetectionOutput": "it chooses",
    "Python": "its gradient is what the user's class says",
    **dict.fromkeys(
        (
            "AnnotatedData",
            "Data",
            "DummyData",
            "HDF5Data",
            "ImageData",
            "ImageLabelmapData",
            "MemoryData",
            "WindowData",
        ),
        _READS,
    ),
}
"""The types without a derivative, and why.

Of types above, these have none, so that their cases leave them out: ContrastiveLoss without legacy_version divides by
the distance plus 1e-4; MVN takes no account of eps beside the standard deviation; BNLL, Clip and what a later layer
overwrites take their slope where they find their memory; a label, an index, a cont and a hidden state that comes from a
bottom take no gradient, and the hidden states on tops of RNN and LSTM give none; STOCHASTIC pooling gives it to the
element that was drawn.
"""


def test_every_registered_type_is_here_once() -> None:
    assert set(CASES) & set(NO_DERIVATIVE) == set()
    assert set(REGISTRY) == set(CASES) | set(NO_DERIVATIVE)


def function_and_point(kind: str, case: Case) -> tuple[Callable[..., tuple[Tensor, ...]], list[Tensor]]:
    """The layer through `load`, in double precision, as a function of its bottoms and blobs; and values for them."""
    generator = torch.Generator().manual_seed(len(kind))
    x = [make(generator) for make in case.bottoms]
    net = p2t.load(text=case.text(kind, [a.shape for a in x]), phase=case.phase)
    module = net.module.double()
    learned = {name: p for name, p in module.named_parameters() if p.requires_grad}
    with torch.no_grad():
        for tensor in learned.values():
            tensor.copy_(torch.randn(tensor.shape, generator=generator, dtype=torch.double))
        for tensor in module.buffers():
            if kind == "BatchNorm" and tensor.is_floating_point():
                tensor.copy_(torch.rand(tensor.shape, generator=generator, dtype=torch.double) + 0.5)
    free = [i for i in range(len(x)) if i not in case.fixed]

    def function(*point: Tensor) -> tuple[Tensor, ...]:
        torch.manual_seed(0)  # the same mask in every call
        values = list(x)
        for i, tensor in zip(free, point, strict=False):
            values[i] = tensor
        inputs = tuple(values[int(name[1:])] for name in net.arguments)
        out = functional_call(module, dict(zip(learned, point[len(free) :], strict=True)), inputs)
        tops = list(out.values()) if isinstance(out, dict) else [out]
        return tuple(tops[: case.tops])

    point = [x[i].clone() for i in free] + [p.detach().clone() for p in learned.values()]
    return function, [a.requires_grad_() for a in point]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Thousands of calls on a few numbers each gain nothing by threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize(
    ("kind", "case"), [pytest.param(k, c, id=f"{k}-{i}") for k, cases in CASES.items() for i, c in enumerate(cases)]
)
def test_the_gradient_is_the_derivative(kind: str, case: Case) -> None:
    function, point = function_and_point(kind, case)
    assert point, "nothing takes a gradient"
    assert torch.autograd.gradcheck(function, point, eps=1e-6, atol=1e-6, rtol=1e-5, check_undefined_grad=False)
