"""What data layers draw before the fillers of later layers."""

from __future__ import annotations

import re
from typing import Any

import lmdb
import numpy as np
import pytest
import torch
from google.protobuf import text_format
from torch.nn import functional

from proto2torch.errors import Where
from proto2torch.prototxt import schema
from proto2torch.prototxt.document import LayerDefinition
from proto2torch.weights import fillers
from proto2torch.weights.random import Stream
from proto2torch.weights.seeds import Seeds, data_layer_draws

from .golden import DATA, parsed

WORDS = Stream(7).words(8).tolist()


@pytest.mark.parametrize(
    "text, phase, seeds, used",
    [
        ('type: "Data"', "TRAIN", Seeds(), 1),
        ('type: "Data" transform_param { crop_size: 5 }', "TRAIN", Seeds(transform=WORDS[1]), 3),
        ('type: "Data" transform_param { crop_size: 5 }', "TEST", Seeds(), 1),
        ('type: "Data" phase: TRAIN transform_param { crop_size: 5 }', "TEST", Seeds(transform=WORDS[1]), 3),
        ('type: "Data" transform_param { mirror: true }', "TEST", Seeds(transform=WORDS[1]), 3),
        ('type: "ImageData" image_data_param { shuffle: true }', "TRAIN", Seeds(shuffle=WORDS[0]), 2),
        ('type: "ImageData" image_data_param { rand_skip: 9 }', "TRAIN", Seeds(skip=WORDS[0]), 2),
        (
            'type: "ImageData" transform_param { mirror: true } image_data_param { shuffle: true rand_skip: 3 }',
            "TRAIN",
            Seeds(shuffle=WORDS[1], skip=WORDS[2], transform=WORDS[3]),
            5,
        ),
        ('type: "WindowData" transform_param { crop_size: 5 }', "TEST", Seeds(windows=WORDS[0]), 2),
        (
            'type: "WindowData" transform_param { crop_size: 5 }',
            "TRAIN",
            Seeds(windows=WORDS[1], transform=WORDS[2]),
            4,
        ),
        ('type: "MemoryData" transform_param { mirror: true }', "TEST", Seeds(transform=WORDS[0]), 1),
        ('type: "HDF5Data"', "TRAIN", Seeds(), 0),
        ('type: "Input"', "TRAIN", Seeds(), 0),
        ('type: "Convolution"', "TRAIN", Seeds(), 0),
    ],
)
def test_the_words_that_each_layer_takes(text: str, phase: str, seeds: Seeds, used: int) -> None:
    stream = Stream(7)
    definition = LayerDefinition(text_format.Parse(text, schema.new("LayerParameter")))
    assert data_layer_draws(definition, phase, stream) == seeds
    assert stream.word() == WORDS[used]


def test_lenet_behind_a_data_layer_starts_with_caffes_loss() -> None:
    """Caffe logs the loss of the first batch: with the initial weights one word after the seed it is 2.4218."""
    run = DATA / "runs" / "lenet-inv"
    net = parsed(run / "net.prototxt", "NetParameter")
    stream = Stream(parsed(run / "solver.prototxt", "SolverParameter").random_seed)
    data_layer_draws(LayerDefinition(net.layer[0]), "TRAIN", stream)
    layers = {layer.name: layer for layer in net.layer}

    def weight(name: str, *shape: int) -> torch.Tensor:
        layer: Any = layers[name]
        own = layer.convolution_param if layer.type == "Convolution" else layer.inner_product_param
        return torch.from_numpy(fillers.fill(own.weight_filler, shape, stream, Where()))

    conv1, conv2 = weight("conv1", 20, 1, 5, 5), weight("conv2", 50, 20, 5, 5)
    ip1, ip2 = weight("ip1", 500, 800), weight("ip2", 10, 500)
    images, labels = _first_batch(str(DATA / "runs" / "digits_train_lmdb"), 64)
    x = functional.max_pool2d(functional.conv2d(images / 256, conv1), 2)
    x = functional.max_pool2d(functional.conv2d(x, conv2), 2)
    loss = functional.cross_entropy(torch.relu(x.flatten(1) @ ip1.T) @ ip2.T, labels)
    logged = re.search(r"Train net output #0: loss = ([0-9.]+)", (run / "log.txt").read_text())
    assert logged is not None
    assert loss.item() == pytest.approx(float(logged[1]), abs=5e-5)


def _first_batch(path: str, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    with lmdb.open(path, readonly=True, lock=False) as database, database.begin() as view:
        records = [
            schema.message_class("Datum").FromString(value)
            for _, value in zip(range(size), view.cursor().iternext(keys=False), strict=False)
        ]
    pixels = [np.frombuffer(r.data, np.uint8).reshape(r.channels, r.height, r.width) for r in records]
    return torch.from_numpy(np.stack(pixels).astype(np.float32)), torch.tensor([r.label for r in records])
