"""A solver file as checked, typed values: every field understood, or refused with its line, all problems at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from proto2torch.errors import Proto2TorchError, SolverError, did_you_mean, raise_problems
from proto2torch.prototxt import forks
from proto2torch.prototxt.document import Document
from proto2torch.solvers import checks, sources
from proto2torch.solvers.numbers import float32
from proto2torch.solvers.policies import POLICIES, Policy
from proto2torch.solvers.sources import NetSource

HYPERPARAMETERS: dict[str, tuple[str, ...]] = {
    "SGD": ("momentum",),
    "Nesterov": ("momentum",),
    "AdaGrad": ("delta",),
    "RMSProp": ("rms_decay", "delta"),
    "AdaDelta": ("momentum", "delta"),
    "Adam": ("momentum", "momentum2", "delta"),
}
"""The solver fields that each update rule reads, beside base_lr and the regularisation."""

_POLICY_FIELDS: dict[str, tuple[str, ...]] = {
    "fixed": (),
    "step": ("gamma", "stepsize"),
    "exp": ("gamma",),
    "inv": ("gamma", "power"),
    "multistep": ("gamma", "stepvalue"),
    "poly": ("power", "max_iter"),
    "sigmoid": ("gamma", "stepsize"),
    "multifixed": ("stagelr", "stageiter"),
    "plateau": ("gamma", "plateau_winsize"),
}
_OF_FORKS = ("stagelr", "stageiter", "plateau_winsize", "eval_type", "ap_version", "show_per_class_result")
"""Fields of forks that are understood: those of their learning-rate policies, and of SSD's tests."""
_NETS = ("net_param", "train_net_param", "test_net_param")
"""The fields that hold whole nets, which are checked where they are read."""


@dataclass(frozen=True)
class SolverDefinition:
    """A solver file, checked. Fields have Caffe's names, meanings and defaults."""

    document: Document
    train: NetSource
    tests: tuple[NetSource, ...]
    type: str
    hyperparameters: tuple[str, ...]
    """The fields that the update rule takes, named as its arguments."""
    lr_policy: str
    base_lr: float
    gamma: float
    power: float
    stepsize: int
    stepvalue: tuple[int, ...]
    stagelr: tuple[float, ...]
    stageiter: tuple[int, ...]
    plateau_winsize: tuple[int, ...]
    momentum: float
    momentum2: float
    rms_decay: float
    delta: float
    weight_decay: float
    regularization_type: str
    clip_gradients: float | None
    """The norm to clip at; None where gradients are not clipped."""
    iter_size: int
    average_loss: int
    max_iter: int
    display: int
    test_interval: int
    test_initialization: bool
    test_compute_loss: bool
    snapshot: int
    snapshot_prefix: str
    snapshot_hdf5: bool
    snapshot_diff: bool
    snapshot_after_train: bool
    random_seed: int | None
    """32 bits; None where Caffe takes a seed from the system."""
    gpu: int | None
    """The device_id where the file itself says solver_mode GPU; None for the CPU."""
    weights: tuple[str, ...]
    debug_info: bool
    ap_version: str
    """How a test takes the average precision of a DetectionEvaluate layer's detections."""
    show_per_class_result: bool

    @property
    def path(self) -> str | None:
        return self.document.path

    def policy(self) -> Policy:
        """The learning-rate policy, at its start."""
        fields = {name: getattr(self, name) for name in _POLICY_FIELDS[self.lr_policy]}
        return POLICIES[self.lr_policy](base_lr=self.base_lr, **fields)


def read(document: Document) -> SolverDefinition:
    """Check a solver's message, upgraded before, and give it as typed values.

    Raises:
        SolverError: fields that Caffe would refuse or that make no sense.
        UnsupportedError: what a fork added.
        Problems: several of these, in the order of their lines.
    """
    problems: list[Proto2TorchError] = []

    def report(field: str, text: str, known: Any = (), received: str = "") -> None:
        problems.append(SolverError(text, where=document.where(field), hint=did_you_mean(received, known)))

    problems.extend(forks.refused(document.message, document.where, _OF_FORKS, skip=_NETS))
    checks.run(document.message, report, rules=HYPERPARAMETERS, policies=POLICIES)
    train = sources.train(document, report)
    tests = sources.tests(document, report)
    raise_problems(problems)
    assert train is not None
    return _definition(document, train, tests)


def _definition(document: Document, train: NetSource, tests: tuple[NetSource, ...]) -> SolverDefinition:
    p = document.message
    same = {
        name: getattr(p, name)
        for name in (
            *("type", "lr_policy", "base_lr", "gamma", "power", "stepsize", "momentum", "momentum2", "rms_decay"),
            *("delta", "weight_decay", "regularization_type", "iter_size", "average_loss", "max_iter", "display"),
            *("test_interval", "test_initialization", "test_compute_loss", "snapshot", "snapshot_prefix"),
            *("snapshot_after_train", "snapshot_diff", "debug_info", "ap_version", "show_per_class_result"),
        )
    }
    return SolverDefinition(
        document=document,
        train=train,
        tests=tests,
        hyperparameters=HYPERPARAMETERS[p.type],
        stepvalue=tuple(p.stepvalue),
        stagelr=tuple(p.stagelr),
        stageiter=tuple(p.stageiter),
        plateau_winsize=tuple(p.plateau_winsize),
        clip_gradients=float32(p.clip_gradients) if p.clip_gradients >= 0 else None,
        snapshot_hdf5=p.snapshot_format == p.HDF5,
        random_seed=p.random_seed & 0xFFFFFFFF if p.random_seed >= 0 else None,
        gpu=p.device_id if p.HasField("solver_mode") and p.solver_mode == p.GPU else None,
        weights=tuple(part.strip() for entry in p.weights for part in entry.split(",") if part.strip()),
        **same,
    )
