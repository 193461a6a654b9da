"""A Caffe net as an nn.Module: built from its definition, filled, run, its blobs under Caffe's names."""

from proto2torch.net.loading import load, load_definition
from proto2torch.net.net import LayerInfo, Net

__all__ = ["LayerInfo", "Net", "load", "load_definition"]
