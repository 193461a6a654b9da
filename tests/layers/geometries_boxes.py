"""Drawn geometries of the layers that work on boxes."""

from __future__ import annotations

from hypothesis import strategies as st

from .geometries import Draw, extent, geometry, phases
from .nets import Case


@geometry("PriorBox")
def priors(draw: Draw, kind: str) -> Case:
    sizes = draw(st.integers(1, 3))
    fields = " ".join(f"min_size: {10 * i + 10}" for i in range(sizes))
    fields += draw(st.sampled_from(["", " ".join([""] + [f"max_size: {10 * i + 15}" for i in range(sizes)])]))
    fields += " ".join(["", *(f"aspect_ratio: {ratio}" for ratio in draw(st.lists(st.sampled_from([1, 2, 3, 0.5]))))])
    fields += f" flip: {str(draw(st.booleans())).lower()}"
    fields += draw(st.sampled_from(["", " step: 8", " step_h: 4 step_w: 8", " img_size: 300", " img_h: 20 img_w: 30"]))
    n = draw(extent)
    features, image = (n, 2, draw(extent), draw(extent)), (n, 3, draw(extent), draw(extent))
    return Case(kind, f"prior_box_param {{ {fields} }}", (features, image), phase=draw(phases))


@geometry("MultiBoxLoss")
def multi_box(draw: Draw, kind: str) -> Case:
    n, boxes, classes, truths = draw(extent), draw(extent), draw(extent), draw(extent)
    shared = draw(st.booleans())
    locations = 1 if shared else classes
    fields = f"num_classes: {classes} share_location: {str(shared).lower()} code_type: CENTER_SIZE"
    fields += "" if shared else " mining_type: NONE"
    bottoms = ((n, 4 * boxes * locations), (n, boxes * classes), (1, 2, 4 * boxes), (1, 1, truths, 8))
    return Case(kind, f"multibox_loss_param {{ {fields} }}", bottoms, values={3: -1.0})
