"""Whether OpenCV reads what `export --format onnx` writes: nets of the zoo, each run in every version of OpenCV.

Weights and inputs are drawn. The nets are exported here; each version of OpenCV runs them in an environment of its own
and compares with what the net gives.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VERSIONS = ("4.14.0.94", "5.0.0.93")
TOLERANCE = 1e-4  # OpenCV chooses its own order of sums, over hundreds of layers
NETS = (
    "BVLC+caffe/examples/mnist/lenet.prototxt",
    "BVLC+caffe/examples/cifar10/cifar10_full.prototxt",
    "BVLC+caffe/models/bvlc_alexnet/deploy.prototxt",
    "BVLC+caffe/models/bvlc_reference_caffenet/deploy.prototxt",
    "BVLC+caffe/models/bvlc_googlenet/deploy.prototxt",
    "KaimingHe+deep-residual-networks/prototxt/ResNet-50-deploy.prototxt",
    "KaimingHe+deep-residual-networks/prototxt/ResNet-152-deploy.prototxt",
    "soeaver+caffe-model/cls/vgg/deploy_vgg16-pytorch.prototxt",
    "soeaver+caffe-model/cls/inception/deploy_inception-v3.prototxt",
    "soeaver+caffe-model/cls/inception/deploy_xception.prototxt",
    "hujie-frank+SENet/models/SE-ResNet-50.prototxt",
    "hujie-frank+SENet/models/SE-BN-Inception.prototxt",
    "GilLevi+AgeGenderDeepLearning/age_net_definitions/deploy.prototxt",
    "kpzhang93+MTCNN_face_detection_alignment/code/codes/MTCNNv1/model/det3.prototxt",
    "s9xie+hed/examples/hed/deploy.prototxt",
)

RUN = """
import sys
import cv2
import numpy as np

file = sys.argv[1]
stored = np.load(file[:-5] + ".npz")
names = [key[4:] for key in stored if key.startswith("out_")]
net = cv2.dnn.readNetFromONNX(file)
for key in stored:
    if key.startswith("in_"):
        net.setInput(stored[key], key[3:])
found = net.forward(names) if len(names) > 1 else [net.forward(names[0])]
worst = 0.0
for name, value in zip(names, found):
    expected = stored["out_" + name]
    worst = max(worst, np.abs(value.reshape(expected.shape) - expected).max() / max(1, np.abs(expected).max()))
print(float(worst))
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("zoo", type=Path, help="the folder of published prototxts")
    parser.add_argument("--work", type=Path, default=ROOT / ".opencv", help="for environments and files")
    parser.add_argument("--nets", nargs="*", default=NETS)
    given = parser.parse_args()
    files = given.work / "onnx"
    files.mkdir(parents=True, exist_ok=True)
    for old in files.iterdir():
        old.unlink()
    for net in given.nets:
        _export(given.zoo / net, files / net.replace("/", "__").removesuffix(".prototxt"))
    results = {version: _run(_environment(given.work / version, version), files) for version in VERSIONS}
    print(f"| net | {' | '.join(f'OpenCV {v}' for v in VERSIONS)} |\n|---|{'---|' * len(VERSIONS)}")
    for name in sorted(set().union(*results.values())):
        print(f"| {name.removesuffix('.onnx').replace('__', '/')} | {' | '.join(r[name] for r in results.values())} |")
    return int(any(_fails(text) for found in results.values() for text in found.values()))


def _export(prototxt: Path, stem: Path) -> None:
    """Write stem.onnx, and stem.npz with inputs and what the net makes of them."""
    import numpy as np

    from proto2torch.exporting import self_check, write
    from proto2torch.exporting.inputs import draw_weights
    from proto2torch.exporting.job import Job

    job = Job(str(prototxt))
    net, source = job.net(), job.source()
    draw_weights(net.learned)
    print(prototxt, *write.FORMATS["onnx"](net, source, f"{stem}.onnx", True), file=sys.stderr)
    expected = self_check.reference(net, source)
    arrays = {f"in_{name}": tensor.numpy() for name, tensor in expected.inputs.items()}
    arrays |= {f"out_{name}": tensor.numpy() for name, tensor in expected.outputs.items()}
    np.savez(f"{stem}.npz", **arrays)


def _environment(folder: Path, version: str) -> Path:
    """The Python of an environment with this version of OpenCV and nothing else."""
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
        packages = [f"opencv-python-headless=={version}", "numpy"]
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *packages], check=True)
    return python


def _run(python: Path, files: Path) -> dict[str, str]:
    """The largest difference of each file as OpenCV runs it, each in a process of its own; or why there is none."""
    found = {}
    for file in sorted(files.glob("*.onnx")):
        done = subprocess.run([str(python), "-c", RUN, str(file)], capture_output=True, text=True, check=False)
        last = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
        found[file.name] = last if done.returncode else f"{float(done.stdout):.0e}"
    return found


def _fails(text: str) -> bool:
    try:
        return not float(text) <= TOLERANCE
    except ValueError:
        return True


if __name__ == "__main__":
    sys.exit(main())
