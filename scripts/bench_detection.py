"""The sides of the benches of detection: SSD's output layer, and a whole net that ends in it."""

from __future__ import annotations

from pathlib import Path

import torch
from bench_sides import Found
from torch import Tensor
from torchvision import ops

import proto2torch as p2t
from proto2torch.runtime.detection import decoded, detections

ROOT = Path(__file__).resolve().parents[1]
MOBILENET = ROOT.parent / "shared/zoo/chuanqi305+MobileNet-SSD/deploy.prototxt"

PRIORS, CLASSES = 8732, 21  # SSD300 on PASCAL VOC
THRESHOLD, OVERLAP, TOP, KEEP = 0.01, 0.45, 400, 200


def detection(device: str) -> Found:
    """SSD300's detections of an image, and torchvision's batched_nms over the boxes that stay after top_k."""
    draw = torch.Generator().manual_seed(1)
    centre, size = torch.rand(PRIORS, 2, generator=draw), torch.rand(PRIORS, 2, generator=draw) * 0.3 + 0.02
    priors = torch.cat([centre - size / 2, centre + size / 2], 1)
    spread = torch.tensor([0.1, 0.1, 0.2, 0.2]).expand(PRIORS, 4)
    codes = torch.randn(PRIORS, 4, generator=draw) * 0.5
    scores = torch.softmax(torch.randn(PRIORS, CLASSES, generator=draw), 1)
    given = [
        t.to(device)
        for t in (codes.reshape(1, -1), scores.reshape(1, -1), torch.stack([priors, spread])[None].flatten(2))
    ]
    boxes, best, labels = _after_top_k(decoded(codes, priors, spread, "CENTER_SIZE"), scores)
    boxes, best, labels = boxes.to(device), best.to(device), labels.to(device)

    def ours() -> Tensor:
        options = {"threshold": THRESHOLD, "overlap": OVERLAP, "top_k": TOP, "keep": KEEP}
        return detections(*given, CLASSES, code="CENTER_SIZE", **options)

    def theirs() -> Tensor:
        return ops.batched_nms(boxes, best, labels, OVERLAP)

    def check() -> None:
        kept = theirs()[:KEEP]
        assert torch.equal(ours()[0, 0, :, 2].sort().values, best[kept].sort().values)

    return ours, theirs, check


def _after_top_k(boxes: Tensor, scores: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Boxes, scores and labels of the best of each class."""
    parts = []
    for label in range(1, CLASSES):
        likely = (scores[:, label] > THRESHOLD).nonzero().flatten()
        likely = likely[scores[likely, label].argsort(descending=True, stable=True)[:TOP]]
        parts.append((boxes[likely], scores[likely, label], torch.full((len(likely),), label)))
    together = [torch.cat(column) for column in zip(*parts, strict=True)]
    return together[0], together[1], together[2]


def mobilenet_ssd(device: str) -> Found:
    """MobileNet-SSD's forward, and the same net without its output layer, then that layer by itself."""
    net = p2t.load(str(MOBILENET), device=device)
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for blob in net.learned:
            fan_in = max(1, blob.tensor[0].numel()) if blob.tensor.dim() > 1 else 1
            blob.tensor.copy_(torch.randn(blob.tensor.shape, generator=draw) * (2 / fan_in) ** 0.5)
            if blob.tensor.dim() == 1:
                blob.tensor.abs_()  # variances
    images = torch.randn(1, 3, 300, 300, generator=draw).to(device)
    node = next(node for node in net.graph.nodes if node.type == "DetectionOutput")
    blobs = [value.blob for value in node.inputs]

    @torch.inference_mode()
    def ours() -> Tensor:
        return net(images)[node.outputs[0].blob]

    @torch.inference_mode()
    def theirs() -> Tensor:
        found = net.features(*blobs, data=images)
        options = {"threshold": 0.25, "overlap": OVERLAP, "top_k": 100, "keep": 100}
        return detections(*(found[blob] for blob in blobs), CLASSES, code="CENTER_SIZE", **options)

    def check() -> None:
        assert torch.equal(ours(), theirs())

    return ours, theirs, check
