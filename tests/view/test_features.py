"""`view features`: points that keep neighbours together, and labels from wherever they come."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image
from threadpoolctl import threadpool_limits

from proto2torch.cli import main
from proto2torch.errors import DataError
from proto2torch.view.features import Features, embed, read, sample

ROWS, CLASSES = 60, 3


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Threads that wait for one another over sixty rows take most of the time on a busy machine."""
    with threadpool_limits(1):
        yield


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """f.npz: three clusters of 60 dimensions, far apart, with float labels as a net gives them."""
    drawn = np.random.default_rng(0)
    labels = np.arange(ROWS) % CLASSES
    centres = drawn.normal(size=(CLASSES, 60)) * 10
    rows = (centres[labels] + drawn.normal(size=(ROWS, 60))).astype(np.float32)
    np.savez(tmp_path / "f.npz", fc7=rows, label=labels.astype(np.float32))
    np.save(tmp_path / "f.npy", rows)
    (tmp_path / "labels.txt").write_text("".join(f"class{label}\n" for label in labels))
    (tmp_path / "list.txt").write_text("".join(f"an image {i}.jpg {label}\n" for i, label in enumerate(labels)))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def view(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["view", "features", *arguments])


def test_neighbours_stay_together(folder: Path) -> None:
    features = read("f.npz", labels="label")
    assert (features.name, features.labels) == ("fc7", [str(i % CLASSES) for i in range(ROWS)])
    points = embed(features.rows)
    assert points.shape == (ROWS, 2)
    apart = np.linalg.norm(points[:, None] - points, axis=-1) + np.where(np.eye(ROWS), np.inf, 0)
    assert all(int(nearest) % CLASSES == i % CLASSES for i, nearest in enumerate(apart.argmin(1)))
    np.testing.assert_array_equal(points, embed(features.rows))


@pytest.mark.parametrize(
    ("labels", "first"),
    [("label", ["0", "1", "2"]), ("labels.txt", ["class0", "class1", "class2"]), ("list.txt", ["0", "1", "2"])],
)
def test_labels_from_the_file_a_text_or_a_list(labels: str, first: list[str], folder: Path) -> None:
    found = read("f.npz", "fc7", labels).labels
    assert found is not None
    assert (list(found[:3]), len(found)) == (first, ROWS)


def test_the_picture(folder: Path) -> None:
    done = view("f.npz", "--labels", "label", "-o", "t.png")
    assert done.exit_code == 0, done.stderr
    assert done.stderr == "t.png: 60 rows of fc7\n"
    with Image.open("t.png") as picture:
        assert picture.size == (960, 840)
        colours = {colour for _, colour in picture.convert("RGB").getcolors(1 << 24) or []}
    assert {(31, 119, 180), (255, 127, 14), (44, 160, 44)} <= colours  # the first three of tab10
    again = view("f.npy", "--labels", "labels.txt", "-o", "t.svg")
    assert again.exit_code == 0, again.stderr
    assert "class2" not in again.stderr


def test_fewer_rows_at_random(folder: Path) -> None:
    done = view("f.npz", "--blob", "fc7", "-o", "t.png", "--count", "20")
    assert done.stderr == "20 of 60 rows are drawn; --count draws more\nt.png: 20 rows of fc7\n"
    whole = Features("x", np.arange(60.0)[:, None], [str(i) for i in range(60)])
    part = sample(whole, 20)
    assert [str(int(row[0])) for row in part.rows] == part.labels
    assert len(set(part.labels or ())) == 20


@pytest.mark.parametrize("name", ["$x_{", "_hidden", "\x00", "層"])
def test_labels_are_text_and_no_formulas(name: str, folder: Path) -> None:
    (folder / "odd.txt").write_text(f"{name}\n" * (ROWS // 2) + "other\n" * (ROWS // 2))
    done = view("f.npz", "--blob", "fc7", "--labels", "odd.txt", "-o", "t.svg", "--count", "5")
    assert done.exit_code == 0, done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("f.npz", "-o", "t.png"), "it has several arrays, fc7, label\n  --blob says which"),
        (("f.npz", "--blob", "fc6", "-o", "t.png"), "did you mean 'fc7'?"),
        (("f.npz", "--labels", "lable", "-o", "t.png", "--blob", "fc7"), "did you mean 'label'?"),
        (("f.npz", "--labels", "short.txt", "-o", "t.png", "--blob", "fc7"), "expected a label for each of 60 rows. Received: 2"),
        (("labels.txt", "-o", "t.png"), "labels.txt: it is no .npz or .npy file"),
        (("no.npz", "-o", "t.png"), "no.npz: cannot read it"),
        (("f.npz", "--labels", "label", "-o", "t.gnp"), "the ending of a picture must be one of"),
        (("few.npy", "-o", "t.png"), "a row an image, 5 or more. Received: float64 of shape (2, 2)"),
        (("nan.npy", "-o", "t.png"), "has values that are not finite"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(arguments: tuple[str, ...], message: str, folder: Path) -> None:
    (folder / "short.txt").write_text("a\nb\n")
    np.save(folder / "few.npy", np.zeros((2, 2)))
    np.save(folder / "nan.npy", np.full((9, 2), np.nan))
    done = view(*arguments)
    assert done.exit_code == 2, done.stderr
    assert message in done.stderr
    assert not list(folder.glob("t.*"))


def test_pickles_are_not_run(folder: Path) -> None:
    np.save(folder / "bad.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="Object arrays cannot be loaded"):
        read("bad.npy")


@pytest.mark.parametrize("package", ["sklearn.manifold", "matplotlib.figure"])
def test_without_its_packages_one_line_says_what_to_do(
    package: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    done = view("f.npz", "--labels", "label", "-o", "t.png")
    assert done.exit_code == 2
    assert done.stderr == (
        "error: view features needs the packages scikit-learn and matplotlib: pip install 'proto2torch[view]'\n"
    )
    assert not (folder / "t.png").exists()
