"""Drawn geometries of the layers that only forks of Caffe have, every variant of a type among them."""

from __future__ import annotations

from hypothesis import strategies as st

from .geometries import Draw, extent, geometry, phases, shape, sometimes
from .nets import Case

SCALE = "scale_filler { value: 1 }"


def of(draw: Draw, *values: str) -> str:
    return str(draw(st.sampled_from(values)))


@geometry("ReLU6", "SeLU", "HardSigmoid", "HardSwish", "Mish")
def pointwise(draw: Draw, kind: str) -> Case:
    return Case(kind, bottoms=(shape(draw, 0, 5),), phase=draw(phases))


@geometry("Permute")
def permute(draw: Draw, kind: str) -> Case:
    x = shape(draw, 1, 5)
    order = draw(st.permutations(range(len(x))))[: draw(st.integers(0, len(x)))]
    return Case(kind, f"permute_param {{ {' '.join(f'order: {axis}' for axis in order)} }}", (x,))


@geometry("Flip")
def flip(draw: Draw, kind: str) -> Case:
    fields = sometimes(draw, "flip_width: false ") + sometimes(draw, "flip_height: true")
    return Case(kind, f"flip_param {{ {fields} }}", (shape(draw, 4, 4),))


@geometry("ShuffleChannel")
def shuffle(draw: Draw, kind: str) -> Case:
    group, (n, c, *rest) = draw(st.integers(1, 4)), shape(draw, 2, 5)
    return Case(kind, f"shuffle_channel_param {{ group: {group} }}", ((n, c * group, *rest),))


@geometry("Reorg")
def reorg(draw: Draw, kind: str) -> Case:
    stride, (n, c, h, w) = draw(st.integers(1, 3)), shape(draw, 4, 4)
    x = (n, c * stride**2, h * stride, w * stride)
    return Case(kind, f"reorg_param {{ stride: {stride} {sometimes(draw, 'reverse: true')} }}", (x,))


@geometry("Axpy")
def axpy(draw: Draw, kind: str) -> Case:
    x = shape(draw, 4, 4)
    return Case(kind, "", (draw(st.sampled_from([x[:2], (*x[:2], 1, 1)])), x, x))


@geometry("Upsample")
def upsample(draw: Draw, kind: str) -> Case:
    x = shape(draw, 4, 4)
    if draw(st.booleans()):
        return Case(kind, f"upsample_param {{ scale: {draw(st.integers(1, 3))} }}", (x,))
    pads = sometimes(draw, "pad_out_h: true ") + sometimes(draw, "pad_out_w: true")
    fields = of(draw, f"scale: 2 {pads}", pads, "scale: 3", "scale_h: 2 scale_w: 3", "upsample_h: 20 upsample_w: 9")
    return Case(kind, f"upsample_param {{ {fields} }}", (x, x))


@geometry("Interp")
def interp(draw: Draw, kind: str) -> Case:
    x = shape(draw, 4, 4)
    zoom, shrink = f"zoom_factor: {draw(extent)}", f"shrink_factor: {draw(extent)}"
    fields = of(draw, zoom, shrink, f"{zoom} {shrink}", f"height: {draw(extent)} width: 3", "full_zoom_factor: 2")
    crop = sometimes(draw, "pad_beg: -1 ") + sometimes(draw, "pad_end: -1")
    return Case(kind, f"interp_param {{ {fields} {crop} }}", ((*x[:2], x[2] + 2, x[3] + 2),))


@geometry("Resize")
def resize(draw: Draw, kind: str) -> Case:
    pyramid = "is_pyramid_test: true out_height_scale: 1.5 out_width_scale: 2"
    fields = of(draw, f"height: {draw(extent)} width: {draw(extent)}", pyramid)
    return Case(kind, f"resize_param {{ {fields} }}", (shape(draw, 4, 4),))


@geometry("ConvolutionDepthwise", "DepthwiseConvolution")
def depthwise(draw: Draw, kind: str) -> Case:
    n, c, h, w = shape(draw, 4, 4)
    fields = f"kernel_size: {draw(st.integers(1, 3))} stride: {draw(st.integers(1, 3))} pad: {draw(st.integers(0, 1))}"
    fields += f" dilation: {draw(st.integers(1, 2))} {sometimes(draw, 'bias_term: false')}"
    outputs = f"num_output: {c} group: {c}" if kind == "DepthwiseConvolution" else "num_output: 99"
    return Case(kind, f"convolution_param {{ {fields} {outputs} }}", ((n, c, h + 4, w + 4),))


@geometry("BN")
def batch_normalization(draw: Draw, kind: str) -> Case:
    x, phase = shape(draw, 4, 4), draw(phases)
    if draw(st.booleans()):
        frozen = sometimes(draw, "frozen: true")
        return Case(kind, f"bn_param {{ slope_filler {{ value: 1 }} {frozen} }}", (x,), phase=phase)
    tops = draw(st.integers(1, 3))
    mode = of(draw, "LEARN", "INFERENCE") if tops == 1 else "LEARN"
    return Case(kind, f"bn_param {{ bn_mode: {mode} {SCALE} }}", (x,), tops, phase)


@geometry("Normalize")
def normalize(draw: Draw, kind: str) -> Case:
    if draw(st.booleans()):
        fields = sometimes(draw, "across_spatial: false ") + sometimes(draw, "channel_shared: false")
        return Case(kind, f"norm_param {{ {fields} }}", (shape(draw, 2, 4),))
    fields, x = f'normalize_type: "{of(draw, "L1", "L2")}"', shape(draw, 4, 4)
    x = draw(st.sampled_from([x, x[:2]]))
    return Case(kind, f"normalize_param {{ {fields} }}", (x,), draw(st.integers(1, 2)))


@geometry("ROIPooling", "PSROIPooling")
def regions(draw: Draw, kind: str) -> Case:
    n, c, h, w = shape(draw, 4, 4)
    count, k = draw(extent), draw(st.integers(1, 3))
    if kind == "ROIPooling":
        fields = f"roi_pooling_param {{ pooled_h: {k} pooled_w: {draw(extent)} spatial_scale: 0.5 }}"
    else:
        fields = f"psroi_pooling_param {{ spatial_scale: 0.5 output_dim: {c} group_size: {k} }}"
        c *= k * k
    return Case(kind, fields, ((n, c, h, w), draw(st.sampled_from([(count, 5), (count, 5, 1, 1)]))), values={1: 0.0})


@geometry("SmoothL1Loss", "SmoothL1LossOHEM")
def box_loss(draw: Draw, kind: str) -> Case:
    x = draw(st.sampled_from([shape(draw, 2, 2), shape(draw, 4, 4)]))
    if kind == "SmoothL1Loss":
        bottoms, tops = draw(st.sampled_from([2, 3, 4])), 1
        fields = "smooth_l1_loss_param { sigma: 3 }" if bottoms == 4 else ""
    else:
        bottoms, tops = draw(st.sampled_from([2, 3])), draw(st.integers(1, 2))
        fields = " ".join(["loss_weight: 1", "loss_weight: 0"][: tops if tops == 2 else 0])
    return Case(kind, fields, (x,) * bottoms, tops)


@geometry("SoftmaxWithLossOHEM", "FocalLoss")
def by_position(draw: Draw, kind: str) -> Case:
    n, c, *rest = shape(draw, 2, 4)
    tops = draw(st.integers(1, 3)) if kind == "SoftmaxWithLossOHEM" else 1
    weights = " ".join(["loss_weight: 1", "loss_weight: 0", "loss_weight: 0"][:tops]) if tops > 1 else ""
    ignored = sometimes(draw, "loss_param { ignore_label: 0 }")
    return Case(kind, f"{weights} {ignored}", ((n, c, *rest), (n, *rest)), tops)


@geometry("BoxAnnotatorOHEM")
def box_annotator(draw: Draw, kind: str) -> Case:
    r, k = draw(extent), draw(extent)
    bottoms = ((r, 5), (r,), (r, 1), draw(st.sampled_from([(r, k), (r, k, 1, 1)])))
    return Case(kind, f"box_annotator_ohem_param {{ roi_per_img: {draw(extent)} }}", bottoms, 2)


@geometry("CenterLoss", "MarginInnerProduct")
def by_class(draw: Draw, kind: str) -> Case:
    n, c = draw(extent), draw(extent)
    bottoms = ((n, *shape(draw, 1, 3)), draw(st.sampled_from([(n,), (n, 1, 1, 1)])))
    if kind == "CenterLoss":
        distance = sometimes(draw, f'distance_type: "{of(draw, "L1", "L2")}"')
        return Case(kind, f"center_loss_param {{ num_output: {c} {distance} }}", bottoms)
    fields = f"num_output: {c} type: {of(draw, 'SINGLE', 'DOUBLE', 'TRIPLE', 'QUADRUPLE')}"
    return Case(kind, f"margin_inner_product_param {{ {fields} }}", bottoms, 2)


@geometry("TripletLoss")
def triplet(draw: Draw, kind: str) -> Case:
    return Case(kind, "", (shape(draw, 1, 3),) * 3)


@geometry("NormalizedSigmoidCrossEntropyLoss")
def sigmoid_loss(draw: Draw, kind: str) -> Case:
    x = shape(draw, 2, 4)
    return Case(kind, "", draw(st.sampled_from([(x, x), (x, x, x[:2])])))


@geometry("SegAccuracy")
def seg_accuracy(draw: Draw, kind: str) -> Case:
    n, c, h, w = shape(draw, 4, 4)
    return Case(kind, f"seg_accuracy_param {{ {sometimes(draw, 'reset: false')} }}", ((n, c, h, w), (n, 1, h, w)))


@geometry("RegionLoss", "Yolov3")
def yolo_loss(draw: Draw, kind: str) -> Case:
    n, classes, h, w = shape(draw, 4, 4)
    biases = " ".join(f"biases: {i + 1}" for i in range(12))
    if kind == "RegionLoss":
        fields, x = f"region_loss_param {{ num_class: {classes} {biases} }}", (n, 5 * (5 + classes), h, h)
    else:
        loss = of(draw, "MSE", "IOU", "GIOU", "DIOU", "CIOU")
        fields = f"yolov3_param {{ num_class: {classes} num: 2 mask: 0 mask: 3 iou_loss: {loss} {biases} }}"
        x = (n, 2 * (5 + classes), h, w)
    return Case(kind, fields, (x, (n, 1, 300, 5)))
