#!/usr/bin/env python3
"""Take the prototxts of a clone of jimgoo/caffe-oxford102: take_prototxts.py CLONE [--drawn-weights]

Each net's files go to data/AlexNet and data/VGG_S as they are, but for the three paths of their author's machine: the
two lists become data/train.txt and data/test.txt, the mean becomes data/mean.binaryproto. With --drawn-weights a file
of drawn weights is written beside each, in place of what was trained on ImageNet.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

DATA = Path(__file__).resolve().parent / "data"
NETS = ("AlexNet", "VGG_S")
FILES = ("train_val.prototxt", "solver.prototxt", "deploy.prototxt")
SOURCE = re.compile(r'"[^"]*/(train|test)\.txt"')
MEAN = re.compile(r'"[^"]*/imagenet_mean\.binaryproto"')


def with_own_paths(text: str) -> str:
    """A prototxt that names the files of this folder."""
    text = SOURCE.sub(lambda found: f'"{DATA}/{found[1]}.txt"', text)
    return MEAN.sub(f'"{DATA}/mean.binaryproto"', text)


def draw_weights(folder: Path) -> None:
    """Weights as a net trained on ImageNet has them: its last layer is fc8, with 1000 outputs."""
    import torch

    import proto2torch as p2t

    text = (folder / "deploy.prototxt").read_text()
    text = re.sub(r'"fc8_oxford_?102"', '"fc8"', text).replace("num_output: 102", "num_output: 1000")
    net = p2t.load(text=text)
    torch.manual_seed(1)
    for blobs in net.params.values():
        torch.nn.init.kaiming_normal_(blobs[0].data, nonlinearity="relu")
    net.save(folder / "pretrained-weights.caffemodel")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clone", type=Path)
    parser.add_argument("--drawn-weights", action="store_true")
    arguments = parser.parse_args()
    for net in NETS:
        folder = DATA / net
        folder.mkdir(parents=True, exist_ok=True)
        for name in FILES:
            (folder / name).write_text(with_own_paths((arguments.clone / net / name).read_text()))
        if arguments.drawn_weights:
            draw_weights(folder)
        print(f"{folder}: {', '.join(FILES)}" + (", drawn weights" if arguments.drawn_weights else ""))


if __name__ == "__main__":
    main()
