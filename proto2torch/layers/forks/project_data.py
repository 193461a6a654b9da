"""The data layers of well-known projects: py-faster-rcnn's, FCN's and HED's."""

from __future__ import annotations

from typing import Any, ClassVar

from proto2torch.layers.input import DataLayer
from proto2torch.layers.python import KnownPython


class RoIDataLayer(KnownPython, DataLayer, module="roi_data_layer.layer", layer="RoIDataLayer"):
    """py-faster-rcnn's images, with height, width and scale, and the true boxes with their class, which the caller
    gives: `net(data=…, im_info=…, gt_boxes=…)`, or a feed."""

    differs = "Its own data set is not read: what it gives, the caller does."
    forks = ("py-faster-rcnn",)
    bottoms = (0, 0)
    tops_allowed = (3, 3)
    defaults: ClassVar[dict[str, Any]] = {"num_classes": 21}

    def check(self) -> None:
        """Its options have been checked."""


class VOCSegDataLayer(KnownPython, DataLayer, module="voc_layers", layer="VOCSegDataLayer"):
    """FCN's Pascal VOC: an image (1, 3, H, W), blue first, less `mean`, and the class of each pixel (1, 1, H, W).

    param_str says voc_dir, split and mean; a split with "train" in its name is drawn from by chance, as seed says.
    """

    differs = "The chance is not numpy's own stream."
    forks = ("fcn",)
    bottoms = (0, 0)
    tops_allowed = (2, 2)
    defaults: ClassVar[dict[str, Any]] = {"voc_dir": "", "split": "", "mean": (), "randomize": True, "seed": 0}

    def check(self) -> None:
        mean = self.options["mean"]
        if len(mean) != 3 or not all(isinstance(value, (int, float)) for value in mean):
            raise self.error(f"param_str must give a mean of 3 numbers. Received: {mean}", "param_str")
        for field in ("voc_dir", "split", "sbdd_dir"):
            if self.options.get(field) == "":
                raise self.error(f"param_str must give {field}", "param_str")


class SBDDSegDataLayer(VOCSegDataLayer, module="voc_layers", layer="SBDDSegDataLayer"):
    """FCN's Semantic Boundaries Dataset: as VOCSegDataLayer, from sbdd_dir, whose classes lie in .mat files."""

    defaults: ClassVar[dict[str, Any]] = {"sbdd_dir": "", "split": "", "mean": (), "randomize": True, "seed": 0}


class ImageLabelmapData(DataLayer, type="ImageLabelmapData", param="image_data_param"):
    """HED's images (1, 3, H, W) and edge maps (1, 1, H, W), which the caller gives: a feed, or `--shape`."""

    differs = (
        "Its list is not read: how HED's code scales an edge map is not known here. What it gives, the caller does."
    )
    messages: ClassVar[tuple[str, ...]] = ("transform_param",)
    forks = ("hed",)
    tops_allowed = (2, 2)
