"""The benches of weights and features: nets of CaffeNet's and VGG16's size, written here, with drawn weights."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import torch
from bench_sides import Check, Found

import proto2torch as p2t
from proto2torch.training import feature_files
from proto2torch.training.features import extract
from proto2torch.weights import caffemodel

MEGABYTE = 2**20
_CAFFENET = [
    ("conv1", "num_output: 96 kernel_size: 11 stride: 4", "pool1"),
    ("conv2", "num_output: 256 kernel_size: 5 pad: 2 group: 2", "pool2"),
    ("conv3", "num_output: 384 kernel_size: 3 pad: 1", ""),
    ("conv4", "num_output: 384 kernel_size: 3 pad: 1 group: 2", ""),
    ("conv5", "num_output: 256 kernel_size: 3 pad: 1 group: 2", "pool5"),
]
_VGG16 = [
    (f"conv{block}_{i}", f"num_output: {width} kernel_size: 3 pad: 1", f"pool{block}" if i == count else "")
    for block, width, count in ((1, 64, 2), (2, 128, 2), (3, 256, 3), (4, 512, 3), (5, 512, 3))
    for i in range(1, count + 1)
]


def _text(extent: int, convolutions: list[tuple[str, str, str]], pool: str) -> str:
    """A net of convolutions, poolings and three layers of 4096, 4096 and 1000 outputs."""
    layers = [
        f'name: "data" type: "Input" top: "data" input_param {{ shape {{ dim: 8 dim: 3 {2 * f"dim: {extent} "}}} }}'
    ]
    at = "data"
    for name, param, pooled in convolutions:
        layers.append(
            f'name: "{name}" type: "Convolution" bottom: "{at}" top: "{name}" convolution_param {{ {param} }}'
        )
        layers.append(f'name: "relu_{name}" type: "ReLU" bottom: "{name}" top: "{name}"')
        at = name
        if pooled:
            layers.append(f'name: "{pooled}" type: "Pooling" bottom: "{at}" top: "{pooled}" pooling_param {{ {pool} }}')
            at = pooled
    for name, outputs in (("fc6", 4096), ("fc7", 4096), ("fc8", 1000)):
        param = f"inner_product_param {{ num_output: {outputs} }}"
        layers.append(f'name: "{name}" type: "InnerProduct" bottom: "{at}" top: "{name}" {param}')
        at = name
        if name != "fc8":
            layers.append(f'name: "relu_{name}" type: "ReLU" bottom: "{name}" top: "{name}"')
    layers.append('name: "prob" type: "Softmax" bottom: "fc8" top: "prob"')
    return "".join(f"layer {{ {layer} }}\n" for layer in layers)


CAFFENET = _text(227, _CAFFENET, "kernel_size: 3 stride: 2")
VGG16 = _text(224, _VGG16, "kernel_size: 2 stride: 2")


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="proto2torch-bench-")


def _drawn(text: str, device: str, seal: bool = False) -> tuple[p2t.net.Net, str]:
    """The net with drawn weights, and the file of them: as Caffe writes it, or with our checksum."""
    net = p2t.load(text=text, device=device)
    draw = torch.Generator(device).manual_seed(1701)
    for blob in net.learned:
        torch.nn.init.normal_(blob.data, std=0.05, generator=draw)
    path = os.path.join(_folder().name, "sealed.caffemodel" if seal else "net.caffemodel")
    caffemodel.write(path, "net", net.layer_messages(), seal=seal)
    return net, path


def weights(device: str, seal: bool = False) -> Found:
    """A 240 MB .caffemodel into a net, and the same bytes copied by numpy from the mapped file into an array each."""
    net, path = _drawn(CAFFENET, device, seal)
    stored = caffemodel.read(path)
    places = [(blob.data.cpu().numpy(), _offset(stored, blob)) for blob in net.learned]

    def by_numpy() -> None:
        file = np.memmap(path, np.uint8, mode="r")
        for array, start in places:
            np.copyto(array.reshape(-1).view(np.uint8), file[start : start + array.nbytes])

    return lambda: net.load_weights(path), by_numpy, _loaded(net, path)


def vgg16(device: str) -> Found:
    """A VGG16 .caffemodel into its parameters, and copy_ of tensors in memory into the same parameters."""
    net, path = _drawn(VGG16, device)
    pairs = [(blob.tensor.detach(), blob.tensor.detach().clone()) for blob in net.learned]

    def by_copy() -> None:
        for parameter, tensor in pairs:
            parameter.copy_(tensor)

    return lambda: net.load_weights(path), by_copy, _loaded(net, path)


def _offset(stored: object, blob: object) -> int:
    """Where the values of a blob begin in the file."""
    array = stored.layers[blob.layer].blobs[blob.index].array
    return array.ctypes.data - np.frombuffer(stored.data, np.uint8).ctypes.data


def _loaded(net: p2t.net.Net, path: str) -> Check:
    """Ends the run where a value of the file is not in the net."""

    def check() -> None:
        for blob in net.learned:
            blob.tensor.detach().zero_()
        net.load_weights(path)
        for layer, arrays in p2t.read_weights(path).items():
            for blob, array in zip(net.params[layer], arrays, strict=True):
                if not np.array_equal(blob.data.cpu().numpy(), array):
                    sys.exit(f"error: the weights of {layer} are not those of the file")

    return check


def features(device: str) -> Found:
    """The last blob of CaffeNet for four batches of 8, into a .npy, and the plain forward of the same batches."""
    net, _ = _drawn(CAFFENET, device)
    batches = [torch.randn(8, 3, 227, 227, generator=torch.Generator().manual_seed(i)) for i in range(4)]
    module, path = net.module.eval(), os.path.join(_folder().name, "f.npy")

    def written() -> None:
        with feature_files.writing([path], ["prob"]) as sink:
            for found in extract(net, ["prob"], ({"data": batch} for batch in batches)):
                sink.add(found)

    def plain() -> torch.Tensor:
        with torch.inference_mode():
            return torch.cat([module(batch.to(device)) for batch in batches])

    def check() -> None:
        written()
        if not np.array_equal(np.load(path), plain().cpu().numpy()):
            sys.exit("error: the features are not what the net gives")

    return written, plain, check


def peak() -> dict[str, object]:
    """What loading a 240 MB .caffemodel takes at its peak beyond the net, in a process of its own."""
    _, path = _drawn(CAFFENET, "cpu")
    found = subprocess.run([sys.executable, __file__, path], capture_output=True, text=True, check=True)
    return {"bench": "weights_peak", "mb": round(float(found.stdout), 1), "target": 64}


def _own_peak(path: str) -> float:
    """MB beyond the net's own parameters, at the most, while they are loaded (Linux)."""
    net = p2t.load(text=CAFFENET)
    for blob in net.learned:
        blob.tensor.detach().fill_(1)  # the memory of parameters is theirs from here on
    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here on
    before = _status("VmRSS")
    net.load_weights(path)
    return (_status("VmHWM") - before) / MEGABYTE


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(name)).split()[1])


if __name__ == "__main__":
    print(_own_peak(sys.argv[1]))
