"""`proto2torch features`, `extract-features`, `classify`, `pixels` and `deploy`, on Caffe's own net and images."""

from __future__ import annotations

import json
from pathlib import Path

import lmdb
import numpy as np
import pytest
from click.testing import CliRunner, Result

import proto2torch as p2t
from proto2torch.cli import main

TOOLS = Path(__file__).parents[1] / "golden/data/tools"
NET, WEIGHTS = str(TOOLS / "net.prototxt"), str(TOOLS / "net.caffemodel")
IMAGES = [line.split()[0] for line in (TOOLS / "list.txt").read_text().splitlines()]


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def caffes(blob: str) -> list[tuple[bytes, bytes]]:
    with lmdb.open(str(TOOLS / f"features_{blob}"), readonly=True, lock=False) as env, env.begin() as transaction:
        return [(bytes(key), bytes(value)) for key, value in transaction.cursor()]


@pytest.fixture
def listed(tmp_path: Path) -> str:
    """The list of Caffe's images, their paths from the list's folder."""
    (tmp_path / "images").symlink_to(TOOLS / "images")
    (tmp_path / "list.txt").write_text("".join(f"images/{name} 1\n" for name in IMAGES))
    return str(tmp_path / "list.txt")


def test_features_of_images_are_those_of_the_database_made_of_them(listed: str, tmp_path: Path) -> None:
    own = run("features", NET, WEIGHTS, "--blobs", "fc,pool", "-o", str(tmp_path / "own.npz"), "--iterations", "3")
    assert own.exit_code == 0, own.stderr
    assert own.stdout == "" and own.stderr.endswith("own.npz: 12 rows of fc, pool\n")
    of_images = run(
        "features",
        NET,
        WEIGHTS,
        "--blobs",
        "pool,fc",
        "-o",
        str(tmp_path / "i.npz"),
        "--images",
        listed,
        "--batch-size",
        "5",
    )
    assert of_images.exit_code == 0, of_images.stderr
    with np.load(tmp_path / "own.npz") as a, np.load(tmp_path / "i.npz") as b:
        for blob in ("fc", "pool"):
            np.testing.assert_allclose(a[blob], b[blob], rtol=1e-5, atol=1e-7)


def test_images_by_file_and_by_folder(listed: str, tmp_path: Path) -> None:
    some = [str(TOOLS / "images" / name) for name in IMAGES[:2]]
    result = run(
        "features",
        NET,
        WEIGHTS,
        "--blobs",
        "fc",
        "-o",
        str(tmp_path / "f.npy"),
        "--images",
        some[0],
        "--images",
        some[1],
    )
    assert result.exit_code == 0, result.stderr
    folder = run(
        "features", NET, WEIGHTS, "--blobs", "fc", "-o", str(tmp_path / "g.npy"), "--images", str(TOOLS / "images")
    )
    assert folder.exit_code == 0, folder.stderr
    assert len(np.load(tmp_path / "g.npy")) == 12
    np.testing.assert_allclose(np.load(tmp_path / "g.npy")[:2], np.load(tmp_path / "f.npy"), rtol=1e-5, atol=1e-7)


def test_extract_features_with_caffes_arguments(tmp_path: Path) -> None:
    paths = [str(tmp_path / "fc_db"), str(tmp_path / "pool_db")]
    result = run("extract-features", WEIGHTS, NET, "fc,pool", ",".join(paths), "3", "lmdb", "CPU")
    assert result.exit_code == 0, result.stderr
    assert "Extracted features of 12 query images for feature blob pool\nSuccessfully extracted" in result.stderr
    for path, blob in zip(paths, ("fc", "pool"), strict=True):
        with lmdb.open(path, readonly=True, lock=False) as env, env.begin() as transaction:
            keys = [bytes(key) for key, _ in transaction.cursor()]
        assert keys == [key for key, _ in caffes(blob)]
    again = run("extract-features", WEIGHTS, NET, "fc", paths[0], "3", "lmdb")
    assert again.exit_code == 2 and "there is something already" in again.stderr
    assert run("extract-features", WEIGHTS, NET, "fc,pool", paths[0], "3", "lmdb").exit_code == 2
    assert run("extract-features", WEIGHTS, NET, "fc").exit_code == 2


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--blobs", "fcc", "-o", "f.npy"], "did you mean 'fc'?"),
        (["--blobs", "fc", "-o", "f.jpg"], "expected a name that ends in .txt, .npy, "),
        (["--blobs", "fc", "-o", "f.npy", "--size", "256"], "go with --images"),
        (["--blobs", "fc", "-o", "f.npy", "--images", "none.jpg"], "none.jpg: no such image, folder or list"),
        (["--blobs", "fc", "-o", "f.npy", "--images", "x", "--iterations", "3"], "--iterations counts batches"),
        (
            ["--blobs", "fc", "-o", "f.npy", "--images", "x", "--size", "big"],
            "expected 1 or 2 whole numbers. Received: 'big'",
        ),
    ],
)
def test_what_cannot_be(arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = run("features", NET, WEIGHTS, *arguments)
    assert result.exit_code == 2 and message in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_classify_gives_what_the_net_says_of_the_same_records() -> None:
    files = [str(TOOLS / "images" / name) for name in IMAGES]
    result = run("classify", NET, WEIGHTS, *files, "--top", "2", "--json")
    assert result.exit_code == 0, result.stderr
    net = p2t.load(NET, WEIGHTS)
    scores = np.concatenate([net.features("fc")["fc"].detach().numpy() for _ in range(3)]).astype(np.float64)
    net.close()
    probabilities = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    for found, path, row in zip(json.loads(result.stdout), files, probabilities, strict=True):
        order = np.argsort(-row)[:2]
        assert found["image"] == path
        assert [c["class"] for c in found["classes"]] == order.tolist()
        assert [c["score"] for c in found["classes"]] == pytest.approx(row[order].tolist(), rel=1e-5)


def test_classify_names_classes_and_averages_ten_crops(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("n1 one\nn2 two\nn3 three\nn4 four\n")
    image = str(TOOLS / "images" / IMAGES[0])
    common = ["classify", NET, WEIGHTS, image, "--labels", str(tmp_path / "labels.txt")]
    result = run(*common, "--top", "1")
    assert result.exit_code == 0, result.stderr
    head, line = result.stdout.splitlines()
    assert head == f"---------- Prediction for {image} ----------"
    assert line[:9].startswith("0.") and line.split('"')[1] in ("n1 one", "n2 two", "n3 three", "n4 four")
    ten = json.loads(run(*common, "--oversample", "--json").stdout)[0]["classes"]
    assert sum(c["score"] for c in ten) == pytest.approx(1, rel=1e-5)
    (tmp_path / "labels.txt").write_text("one\ntwo\n")
    refused = run(*common)
    assert refused.exit_code == 2 and "expected a label for each of 4 classes. Received: 2" in refused.stderr


def test_ten_crops_need_room(tmp_path: Path) -> None:
    deploy = str(tmp_path / "deploy.prototxt")
    assert run("deploy", NET, "-o", deploy).exit_code == 0
    image = str(TOOLS / "images" / IMAGES[0])
    result = run("classify", deploy, WEIGHTS, image, "--oversample")
    assert result.exit_code == 2 and "--size 256" in result.stderr
    assert run("classify", deploy, WEIGHTS, image, "--oversample", "--size", "40x48").exit_code == 0


def test_a_deploy_net_with_the_same_transform_classifies_as_the_training_net(tmp_path: Path) -> None:
    deploy, image = str(tmp_path / "deploy.prototxt"), str(TOOLS / "images" / IMAGES[1])
    assert run("deploy", NET, "-o", deploy).exit_code == 0
    a = run("classify", NET, WEIGHTS, image, "--mean", "100,110,120", "--json")
    b = run(
        "classify", deploy, WEIGHTS, image, "--mean", "100,110,120", "--scale", "0.0078125", "--size", "40x48", "--json"
    )
    assert a.exit_code == b.exit_code == 0, b.stderr
    assert json.loads(a.stdout) == json.loads(b.stdout)


def test_pixels_says_what_is_done() -> None:
    result = run("pixels", NET)
    assert result.exit_code == 0, result.stderr
    assert result.stdout.splitlines() == [
        "decode to 8 bits a channel, BGR",
        "resize to 40 x 48, bilinear, as OpenCV",
        "cut out the middle 32 x 32",
        "subtract the mean image of 40 x 48 at the pixel's place (channels 127.086, 127.017, 126.625)",
        "multiply by 0.0078125",
        "give it to data, 3 x 32 x 32",
    ]
    plain = json.loads(run("pixels", NET, "--rgb", "--mean", "1,2,3", "--json").stdout)
    assert plain["order"] == "RGB" and plain["mean"] == [1, 2, 3] and plain["crop"] == [32, 32]


def test_deploy_prints_a_net_that_trained_weights_fit(tmp_path: Path) -> None:
    result = run("deploy", NET)
    assert result.exit_code == 0, result.stderr
    net = p2t.load(text=result.stdout)
    assert list(net.inputs) == ["data"] and net.inputs["data"] == (1, 3, 32, 32) and net.outputs == ("prob",)
    report = net.load_weights(WEIGHTS, strict=True)
    assert list(report.matched) == ["conv", "fc"]
    assert "filler" not in result.stdout and "lr_mult" not in result.stdout
