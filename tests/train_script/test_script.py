"""The file itself: what a formatter, a linter and a reader find, whatever the names in it."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from proto2torch.cli import main
from proto2torch.errors import SolverError, UnsupportedError
from proto2torch.train_script.script import Script

from .cases import GOLDEN, ROOT, executed, solved, written

INPUT = """layer {{ name: {name} type: "Input" top: {data} top: {label}
  input_param {{ shape {{ dim: 2 dim: 3 dim: 6 dim: 6 }} shape {{ dim: 2 }} }} }}
"""
SMALL = (
    "name: {net}\n"
    + INPUT
    + """
layer {{ name: {conv} type: "Convolution" bottom: {data} top: {conv} param {{ lr_mult: 0.5 }} param {{ lr_mult: 2 }}
  convolution_param {{ num_output: 4 kernel_size: 3 weight_filler {{ type: "msra" }} }} }}
layer {{ name: {norm} type: "BatchNorm" bottom: {conv} top: {conv} }}
layer {{ name: {fc} type: "InnerProduct" bottom: {conv} top: {fc} inner_product_param {{ num_output: 5 weight_filler {{ type: "xavier" }} }} }}
layer {{ name: {loss} type: "SoftmaxWithLoss" bottom: {fc} bottom: {label} top: {loss} loss_weight: 0.5 }}
layer {{ name: {accuracy} type: "Accuracy" bottom: {fc} bottom: {label} top: {accuracy} include {{ phase: TEST }} }}
"""
)
NAMES = ("net", "name", "data", "label", "conv", "norm", "fc", "loss", "accuracy")
SOLVER = """base_lr: 0.01 lr_policy: "inv" gamma: 0.1 power: 0.5 max_iter: 4 weight_decay: 0.001 momentum: 0.5
  average_loss: 2 iter_size: 2 clip_gradients: 3 test_iter: 2 test_interval: 2 display: 1 random_seed: 3 """


@pytest.fixture
def digits(here: Path) -> str:
    """The digits example's solver, its databases where the net expects them."""
    folder = here / "examples/digits"
    folder.mkdir(parents=True)
    for path in (ROOT / "examples/digits").glob("*.prototxt"):
        shutil.copy(path, folder)
    for name in ("digits_train_lmdb", "digits_test_lmdb"):
        (folder / name).symlink_to(GOLDEN / "runs" / name)
    return "examples/digits/lenet_solver.prototxt"


def quoted(name: str) -> str:
    """A name as prototxt, every byte that is not plain as an octal escape."""
    plain = "".join(chr(b) if 48 <= b < 123 and chr(b).isalnum() else f"\\{b:03o}" for b in name.encode())
    return f'"{plain}"'


def small(names: dict[str, str]) -> str:
    return SMALL.format(**{name: quoted(names.get(name, name)) for name in NAMES})


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def clean(path: Path) -> None:
    """As ruff's formatter leaves it, by ruff's default rules, and for mypy."""
    tools = (["ruff", "check", "--isolated"], ["ruff", "format", "--diff", "--isolated"])
    for tool in (*tools, ["mypy", "--follow-imports=skip"]):
        done = subprocess.run([sys.executable, "-m", *tool, path.name], capture_output=True, text=True, cwd=path.parent)
        assert done.returncode == 0, done.stdout + done.stderr


CASES = [
    ("solver", lambda: written(GOLDEN / "solvers/01-Nesterov-exp/solver.prototxt")),
    ("adam", lambda: written(GOLDEN / "solvers/11-Adam-step/solver.prototxt")),
    ("norm", lambda: written(GOLDEN / "runs/bn-step/solver.prototxt", fold=False)),
]


def test_scripts_are_as_formatter_linter_and_mypy_want_them(here: Path) -> None:
    made = [make().text for _, make in CASES]
    made.append(solved(here, small({}), SOLVER + 'snapshot_prefix: "s"').text)
    long = {name: f"{name}_" + "n" * 16 for name in NAMES}
    made.append(solved(here, small(long), SOLVER + f'snapshot_prefix: "{"p" * 90}"').text)
    for i, text in enumerate(made):
        (here / f"train_{i}.py").write_text(text)
    for i in range(len(made)):
        assert compile(made[i], "train.py", "exec")
    joined = " ".join(f"train_{i}.py" for i in range(len(made))).split()
    for tool in (
        ["ruff", "check", "--isolated"],
        ["ruff", "format", "--diff", "--isolated"],
        ["mypy", "--follow-imports=skip"],
    ):
        done = subprocess.run([sys.executable, "-m", *tool, *joined], capture_output=True, text=True, cwd=here)
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_same_solver_gives_the_same_bytes(digits: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "proto2torch", "export", digits],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONHASHSEED": "1", "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == export(digits).stdout


def test_it_names_nothing_of_proto2torch(here: Path) -> None:
    text = solved(here, small({}), SOLVER + 'snapshot_prefix: "s"').text
    imported = {
        name.split(".")[0]
        for node in ast.walk(ast.parse(text))
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names])
    }
    own = imported - set(sys.stdlib_module_names)
    assert own == {"numpy", "torch", "safetensors"} and "proto2torch" not in text


# Names


class _Shape(ast.NodeTransformer):
    """A tree without its names and its strings."""

    def visit_Constant(self, node: ast.Constant) -> ast.Constant:
        return ast.Constant("" if isinstance(node.value, str) else node.value)

    def generic_visit(self, node: ast.AST) -> ast.AST:
        for field in ("id", "name", "attr", "arg"):
            if isinstance(getattr(node, field, None), str):
                setattr(node, field, "_")
        return super().generic_visit(node)


def shape(text: str) -> str:
    """The tree of all but the nets' own classes, whose lines depend on how long names are."""
    tree = ast.parse(text)
    own = [node for node in tree.body if not isinstance(node, ast.ClassDef) or node.name == "Training"]
    assert len(tree.body) - len(own) == 4  # Arrays, BatchNorm and the nets
    dump = ast.dump(_Shape().visit(ast.Module(own, [])))
    return f"{len(dump)} {zlib.crc32(dump.encode())}"


HARMLESS = {name: f"{name}_x" for name in NAMES}
WORST = [
    "class",
    "__class__",
    "training",
    "Database",
    "Training",
    "MEAN",
    "PREFIX",
    "ValueError",
    "Path",
    "torch",
    "print",
    'x"""\nimport os\nos.abort()\n"""',
    "'); import os; os.abort() #",
    "\\",
    "{name}",
    "ßimage",
    "é\u2028\x00\ufeff",
    "learning_rate",
    "Image",
    "self",
]
text_names = st.one_of(
    st.sampled_from(WORST), st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=30)
)


@st.composite
def names(draw: st.DrawFn) -> dict[str, str]:
    drawn = draw(st.lists(text_names, min_size=len(NAMES), max_size=len(NAMES), unique=True))
    return dict(zip(NAMES, drawn, strict=True))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    yield tmp_path_factory.mktemp("names")


def sums(made: Script) -> list[float]:
    """What two updates make of the first weights, which are drawn alike whatever the names."""
    training = executed(made)["Training"]("cpu", 3, 0)
    draw = torch.Generator().manual_seed(1)
    batches = iter([[torch.rand(2, 3, 6, 6, generator=draw), torch.tensor([1.0, 4.0])] for _ in range(4)])
    training.update(batches)
    training.update(batches)
    return [float(parameter.detach().abs().sum()) for parameter in training.net.parameters()]


@pytest.fixture(scope="module")
def harmless(folder: Path) -> tuple[str, list[float]]:
    """The shape of the script with plain names, and what its updates make."""
    made = solved(folder, small(HARMLESS), SOLVER + 'snapshot_prefix: "s"')
    return shape(made.text), sums(made)


@settings(max_examples=8, deadline=None)
@given(drawn=names())
def test_no_name_becomes_code(drawn: dict[str, str], folder: Path, harmless: tuple[str, list[float]]) -> None:
    made = solved(folder, small(drawn), SOLVER + 'snapshot_prefix: "s"')
    assert (shape(made.text), sums(made)) == harmless


@pytest.mark.parametrize("name", ["net", "loss", "conv", "data"])
def test_the_worst_names_one_by_one(name: str, folder: Path, harmless: tuple[str, list[float]]) -> None:
    for word in WORST:
        made = solved(folder, small({**HARMLESS, name: word}), SOLVER + 'snapshot_prefix: "s"')
        assert shape(made.text) == harmless[0], word
    long = solved(folder, small({**HARMLESS, name: "x" * 300}), SOLVER + 'snapshot_prefix: "s"')
    assert sums(long) == harmless[1]


def test_hostile_paths_stay_strings(here: Path) -> None:
    odd = "a\"'{b}\\n ß\n.npz"
    made = solved(here, small({}), SOLVER + f"snapshot_prefix: {quoted(odd)}", stem='tr"ain')
    assert executed(made)["PREFIX"] == odd


# Nets


def test_one_class_serves_both_nets_and_the_statistics_are_shared(here: Path) -> None:
    made = solved(here, small({}), SOLVER + 'snapshot_prefix: "s"')
    assert "class NetTest(Net):" in made.text
    training = executed(made)["Training"]("cpu", 3, 0)
    ours, theirs = training.net.state_dict(), training.test_net.state_dict()
    assert ours.keys() == theirs.keys()
    training.update(iter([[torch.rand(2, 3, 6, 6), torch.tensor([1.0, 4.0])]] * 2))
    for key, value in ours.items():
        assert value.data_ptr() == theirs[key].data_ptr() and torch.equal(value, theirs[key])
    assert float(ours["norm.scale"]) == pytest.approx(1.999, abs=1e-6) and not training.test_net.training
    before = ours["norm.mean_sum"].clone()
    training.test(iter([[torch.rand(2, 3, 6, 6), torch.tensor([1.0, 4.0])]] * 2))
    assert torch.equal(ours["norm.mean_sum"], before)


def test_several_tests_and_a_net_that_tests_more_than_it_trains(here: Path) -> None:
    net = (
        small({})
        + 'layer { name: "prob" type: "Softmax" bottom: "fc" top: "prob" include { phase: TEST stage: "more" } }'
    )
    fields = SOLVER.replace("test_iter: 2", 'test_iter: 2 test_iter: 1 test_state {} test_state { stage: "more" }')
    made = solved(here, net, fields + 'snapshot_prefix: "s"')
    training = executed(made)["Training"]("cpu", 3, 0)
    batch = [torch.rand(2, 3, 6, 6), torch.tensor([1.0, 4.0])]
    training.test([iter([batch] * 2), iter([batch])])
    assert training.tests == 1
    outputs = training.test_net_1(*batch)
    assert outputs.keys() == {"accuracy", "loss", "prob"} and training.test_net_0(*batch).keys() == {"accuracy", "loss"}


def test_a_test_net_that_gives_one_value_beside_others(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    net = small({}).replace("phase: TEST", 'phase: TEST stage: "more"')
    fields = SOLVER.replace("test_iter: 2", 'test_iter: 2 test_iter: 1 test_state {} test_state { stage: "more" }')
    training = executed(solved(here, net, fields + 'snapshot_prefix: "s"'))["Training"]("cpu", 3, 0)
    batch = [torch.rand(2, 3, 6, 6), torch.tensor([1.0, 4.0])]
    training.test([iter([batch] * 2), iter([batch])])
    lines = capsys.readouterr().out.splitlines()
    assert [re.sub(r"[\d.]+$", "", line) for line in lines] == [
        "Iteration 0, Testing net (#0)",
        "    Test net output #0: loss = ",
        "Iteration 0, Testing net (#1)",
        "    Test net output #0: accuracy = ",
        "    Test net output #1: loss = ",
    ]


def test_weights_of_the_test_net_alone_are_refused(here: Path) -> None:
    net = small({}).replace('"InnerProduct"', '"InnerProduct" include { phase: TRAIN }', 1)
    net += """layer { name: "other" type: "InnerProduct" bottom: "conv" top: "fc" include { phase: TEST } inner_product_param { num_output: 5 } }"""
    order = net.splitlines()
    order.insert(order.index(next(line for line in order if line.startswith('layer { name: "loss"'))), order.pop())
    with pytest.raises(UnsupportedError, match="learnable blobs that the train net has not") as refused:
        solved(here, "\n".join(order), SOLVER + 'snapshot_prefix: "s"')
    assert refused.value.layer == "other"


def test_what_changes_no_weight_and_is_left_out_is_said(here: Path) -> None:
    made = solved(here, small({}), SOLVER + 'snapshot_prefix: "s" debug_info: true test_compute_loss: true')
    assert [re.sub(".*without ", "", note) for note in made.notes] == [
        "debug_info, the lines of each layer's values",
        "test_compute_loss, the line with the loss of a test",
    ]


def test_python_layers_are_refused(here: Path) -> None:
    net = (
        small({}) + 'layer { name: "py" type: "Python" bottom: "fc" top: "py" python_param { module: "m" layer: "L" } }'
    )
    with pytest.raises(UnsupportedError, match="Python"):
        solved(here, net, SOLVER + 'snapshot_prefix: "s"')


def test_a_test_net_without_outputs_is_refused(here: Path) -> None:
    net = small({}).replace("loss_weight: 0.5", "loss_weight: 0.5 include { phase: TRAIN }")
    net += 'layer { name: "hush" type: "Silence" bottom: "accuracy" include { phase: TEST } }'
    with pytest.raises(SolverError, match="has no output to show"):
        solved(here, net, SOLVER + 'snapshot_prefix: "s"')


# The command


def export(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["export", *arguments])


def test_the_command_writes_the_script_and_what_lies_beside_it(here: Path) -> None:
    shutil.copytree(GOLDEN / "tools/lmdb_raw", here / "base")
    shutil.copy(GOLDEN / "tools/mean.binaryproto", here)
    source = (
        'data_param { source: "base" batch_size: 2 backend: LMDB } transform_param { mean_file: "mean.binaryproto" }'
    )
    net = 'layer { name: "data" type: "Data" top: "data" top: "label" ' + source + " }\n"
    net += small({}).split("\n", 1)[1].split("\n\n", 1)[1]
    solved(here, net, SOLVER + 'snapshot_prefix: "s"')
    stdout = export("solver.prototxt")
    assert stdout.exit_code == 2 and "the mean image goes beside the script" in stdout.stderr
    done = export("solver.prototxt", "-o", "out.py")
    assert done.exit_code == 0 and "out.py: written" in done.stderr and "out_mean.npy: written" in done.stderr
    text = (here / "out.py").read_text()
    assert 'with_name("out_mean.npy")' in text and "python out.py" in text
    clean(here / "out.py")


def test_weights_beside_the_script(here: Path) -> None:
    for path in (GOLDEN / "solvers/00-SGD-fixed").iterdir():
        shutil.copy(path, here)
    refused = export("solver.prototxt", "--weights", "init.caffemodel")
    assert refused.exit_code == 2 and "give -o FILE as well" in refused.stderr
    done = export("solver.prototxt", "--weights", "init.caffemodel", "-o", "train.py")
    assert done.exit_code == 0 and sorted(path.name for path in here.glob("train.*py*")) == ["train.py"]
    assert (here / "train.safetensors").exists() and "initialize" not in (here / "train.py").read_text()
    (here / "named.prototxt").write_text((here / "solver.prototxt").read_text() + 'weights: "init.caffemodel"')
    again = export("named.prototxt", "-o", "other.py")
    assert again.exit_code == 0
    assert (here / "other.safetensors").read_bytes() == (here / "train.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("solver.prototxt", "--format", "safetensors"), "exported as a training script"),
        (("solver.prototxt", "-o", "none/train.py"), "the folder"),
        (("missing.prototxt",), "cannot read it"),
    ],
)
def test_what_goes_wrong_is_said_and_leaves_nothing(arguments: tuple[str, ...], said: str, here: Path) -> None:
    solved(here, small({}), SOLVER + 'snapshot_prefix: "s"')
    before = sorted(os.listdir(here))
    done = export(*arguments)
    assert done.exit_code == 2 and said in done.stderr
    assert sorted(os.listdir(here)) == before


def test_the_page_shows_lenets_script_of_today(digits: str) -> None:
    """`proto2torch export examples/digits/lenet_solver.prototxt -o docs/exported/lenet/train.py` writes it anew."""
    assert export(digits, "-o", "train.py").exit_code == 0
    text = Path("train.py").read_text(encoding="utf-8")
    assert text == (ROOT / "docs/exported/lenet/train.py").read_text(encoding="utf-8")
    section = (ROOT / "docs/export.md").read_text(encoding="utf-8").split("## Training scripts")[1].split("\n## ")[0]
    blocks = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    assert len(blocks) == 2 and all(block in text for block in blocks)
