"""AnnotatedData: SSD's images with the boxes of what they show."""

from __future__ import annotations

from typing import ClassVar

from proto2torch.layers.input import DataLayer
from proto2torch.layers.variants import understood

_BOUNDS = ("jaccard_overlap", "sample_coverage", "object_coverage")
_FIELDS = {
    "annotated_data_param": "batch_sampler label_map_file anno_type",
    "annotated_data_param.batch_sampler": "use_original_image sampler sample_constraint max_sample max_trials",
    "annotated_data_param.batch_sampler.sampler": "min_scale max_scale min_aspect_ratio max_aspect_ratio",
    "annotated_data_param.batch_sampler.sample_constraint": " ".join(f"min_{b} max_{b}" for b in _BOUNDS),
    "transform_param": "resize_param distort_param expand_param emit_constraint",
    "transform_param.resize_param": "prob resize_mode height width pad_mode pad_value interp_mode",
    "transform_param.distort_param": "brightness_prob brightness_delta contrast_prob contrast_lower contrast_upper "
    "hue_prob hue_delta saturation_prob saturation_lower saturation_upper random_order_prob",
    "transform_param.expand_param": "prob max_expand_ratio",
    "transform_param.emit_constraint": "emit_type emit_overlap",
}


class AnnotatedData(DataLayer, type="AnnotatedData", param="annotated_data_param"):
    """Images (N, C, H, W) from a database of AnnotatedDatums, and a row for each object: (1, 1, G, 8) = image, label,
    instance, xmin, ymin, xmax, ymax, difficult; one row of -1 for a batch without objects.

    Image and boxes are changed together: distort_param (colours), expand_param (a larger canvas), a part that one of
    batch_sampler finds, resize_param, then crop_size and mirror; mean and scale last.
    """

    differs = (
        "The random choices follow from random_seed, but not SSD's own stream. SSD packs the image as a JPEG between "
        "the steps; here its pixels stay as they are. noise_param and resize_param's scales are refused."
    )

    messages: ClassVar[tuple[str, ...]] = ("transform_param", "data_param")
    forks = ("ssd", "refinedet", "yolo", "nvidia", "intel", "synopsys")
    fork_fields = frozenset().union(*(understood(message, *names.split()) for message, names in _FIELDS.items()))
    tops_allowed = (1, 2)
    counted_tops = (1,)
