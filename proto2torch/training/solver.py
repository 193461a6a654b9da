"""`Solver`: a net trained as Caffe's solver file says, update by update, with its tests, its log and its snapshots."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from proto2torch import precision
from proto2torch.errors import DeviceError, RunError, Where
from proto2torch.layers.variants import check_fork
from proto2torch.prototxt.dialect import written_for
from proto2torch.prototxt.read import read_solver
from proto2torch.prototxt.replace import parse as parse_replacement
from proto2torch.prototxt.text import dump
from proto2torch.solvers import definition as definitions
from proto2torch.solvers.numbers import shown
from proto2torch.solvers.overrides import override
from proto2torch.training import devices, nets, resume, snapshot, test
from proto2torch.training.callbacks import Callback, Callbacks
from proto2torch.training.debug_info import DebugInfo
from proto2torch.training.display import Display
from proto2torch.training.events import Event, History
from proto2torch.training.graphs import Recorded, refusal, with_update
from proto2torch.training.iteration import Found, Iteration
from proto2torch.training.lineage import Lineage
from proto2torch.training.log import Log
from proto2torch.training.out_of_memory import explained
from proto2torch.training.scaling import Scale
from proto2torch.training.signals import Action, Signals
from proto2torch.training.smoothing import SmoothedLoss
from proto2torch.training.snapshot import Names, Taken
from proto2torch.training.trial import CudaClock, Trial
from proto2torch.training.update import Update
from proto2torch.training.watch import Watch
from proto2torch.training.writing import Writer
from proto2torch.weights import solverstate

ON_FULL_DISK = ("stop", "go-on")


class Solver:
    """Trains the net of a solver file.

        solver = Solver("lenet_solver.prototxt", device="cuda:0")
        solver.step(10)
        solver.outputs["loss"]

    Attributes: `net` and `test_nets`, which use its weights; `iter`, the updates done; `outputs`, those of the train
    net's last forward, by name, and `loss`, its objective, on the device; `history`, every display and test; `signals`,
    which is asked each iteration, where it is set; `callbacks`, which are told of what happens; `interrupted`, whether
    a signal ended the last `step`.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        device: str | torch.device | None = None,
        weights: str | Sequence[str] | None = None,
        overrides: Mapping[str, Any] | None = None,
        level: int | None = None,
        stages: Sequence[str] = (),
        data: Mapping[str, Any] | None = None,
        test_data: Mapping[str, Any] | Sequence[Mapping[str, Any]] = (),
        allow_python_layers: bool = False,
        replace: Mapping[str, str] | None = None,
        strict: bool = False,
        log: Log | None = None,
        callbacks: Iterable[Callback] = (),
        watch: bool = True,
        on_full_disk: str = "stop",
        fork: str = "",
        cuda_graph: bool | None = None,
    ) -> None:
        """Read the solver and build its nets.

        Args:
            device: where to train; without it the file's solver_mode decides, and the CPU serves where CUDA is missing.
            weights: weight files to start from, in place of the file's own; several as a list or by commas.
            overrides: fields of the solver to replace, `{"base_lr": 0.001}`.
            level, stages: for the train net's state, as `caffe train --level --stage`.
            data: what feeds the train net, by the name of the data or Input layer whose place it takes: an iterable of
                batches, such as a DataLoader, or a feed.
            test_data: the same for the test nets: one mapping for all, or a list with one each.
            allow_python_layers: whether Python layers of the nets may run, as in `load`.
            replace: layers to train anew, `{"fc8": "fc8_flowers:102"}`: the new name and number of outputs; their
                learning rates are ten times those of the file.
            strict: whether weights must be those of the net, layer by layer.
            log: where the log goes; stderr by default.
            callbacks: told of the training: `Keep`, `Best`, `Patience` of `training.retention`, or your own.
            watch: whether a loss or a gradient that is not finite ends the training with a RunError.
            on_full_disk: "stop" where a snapshot that cannot be written ends the training, "go-on" where it is logged.
            fork: the fork of Caffe that the nets are written for, where their layers do not tell, as in `load`.
            cuda_graph: whether an iteration is recorded once on the device, and played back; None tries it on CUDA,
                where the net allows it, and keeps what is faster.

        Raises:
            SolverError: what is wrong with the solver; NetError, DataError, WeightsError for what it names.
            DeviceError: `device` is not there.
        """
        check_fork(fork)
        if on_full_disk not in ON_FULL_DISK:
            raise ValueError(f"on_full_disk must be one of {', '.join(ON_FULL_DISK)}. Received: {on_full_disk!r}")
        self.log = log or Log()
        document = override(read_solver(os.fspath(path)), overrides or {})
        self.definition = d = definitions.read(document)
        self.device = devices.choose(device, d, self.log)
        self.log(f"Initializing solver from parameters: \n{dump(document.message)}")
        self.prefix = snapshot.prefix(d)
        if d.snapshot:
            snapshot.check_writable(self.prefix, document.where("snapshot_prefix"))
        if d.random_seed is not None:
            torch.manual_seed(d.random_seed)
        start = nets.weight_files(weights, d)
        with written_for(fork):
            self._nets = nets.build(
                d,
                device=self.device,
                weights=start,
                level=level,
                stages=stages,
                allow_python_layers=allow_python_layers,
                data=data,
                test_data=test_data,
                replaced=dict(parse_replacement(f"{old}={new}") for old, new in (replace or {}).items()),
                strict=strict,
                log=self.log,
            )
        self.net, self.test_nets = self._nets.train, self._nets.tests
        self.iter = 0
        self.outputs: dict[str, Tensor] = {}
        self.loss = torch.zeros((), device=self.device)
        self.signals: Signals | None = None
        self.lineage = Lineage.of(d, self.net)
        if d.snapshot and d.snapshot_hdf5:
            snapshot.check_names(self.net.graph.nodes)
        self.history = History()
        self.callbacks = Callbacks(callbacks)
        self.on_full_disk = on_full_disk
        self._lost: RunError | None = None  # why the last snapshot could not be written
        self.images = nets.batch_size(self.net) * d.iter_size
        self._watch = Watch(self.net) if watch else None
        self._scale = Scale(self.device) if precision.scales() else None
        self._debug = DebugInfo(self.net, self.log, self._watch) if d.debug_info else None
        self._display = Display(self.log, d.display, self.images)
        self._update = Update(d, self.net, self._display, self.log)
        self._iteration = Iteration(self.net, self._update, self._scale, self._watch)
        self._at_once = with_update(d)
        self._recorded = self._recording() if cuda_graph else None
        tried = cuda_graph is None and self._at_once and refusal(self.net) is None
        self._trial = Trial(CudaClock(self.device)) if tried else None
        self._smoothed = SmoothedLoss(d.average_loss)
        self._stopping = self._ending = self.interrupted = False
        self._writer, self._keeping = Writer(), 0
        self.log("Solver scaffolding done.")

    @property
    def lr(self) -> float:
        """The learning rate of the next update."""
        return self._update.policy.peek(self.iter)

    def solve(self) -> None:
        """Train up to max_iter, with the last snapshot, display and test, as `caffe train` does."""
        d = self.definition
        if d.snapshot_after_train:
            self._check_snapshots()
        self.log(f"Solving {self.net.name}")
        self.log(f"Learning Rate Policy: {d.lr_policy}")
        try:
            self._solve()
        finally:
            self.callbacks.end(self)

    def _solve(self) -> None:
        d = self.definition
        self.step(d.max_iter - self.iter)
        if d.snapshot_after_train and not self._due(d.snapshot) and not self._ending:
            self.snapshot()
        if self._lost is not None and self._keeping == self.iter:
            raise self._lost  # no later snapshot makes up for it
        if self._stopping:
            self.log("Optimization stopped early.")
            return
        if self._due(d.display):
            self._show_last()
        if self._due(d.test_interval):
            self.test()
        self.log("Optimization Done.")

    def step(self, iterations: int) -> None:
        """Make `iterations` updates, with the tests, displays and snapshots that fall due.

        Raises:
            RunError: the loss or a gradient is not finite, a snapshot cannot be written, or there is not enough memory.
        """
        d = self.definition
        self._stopping = self._ending = self.interrupted = False
        self._smoothed = SmoothedLoss(d.average_loss)
        self._display.restart()
        self.callbacks.start(self)
        try:
            self._steps(iterations)
        finally:
            self._settle()

    def _steps(self, iterations: int) -> None:
        d = self.definition
        for _ in range(iterations):
            self._settle(wait=False)
            if self._due(d.test_interval) and (self.iter > 0 or d.test_initialization):
                self.test()
            if not self._stopping:
                self.update()
                self.callbacks.tell("iterated", self)
                asked = self._asked()
                if (self._due(d.snapshot) or asked is Action.SNAPSHOT) and not self._ending:
                    self._keep()
            if self._ending:
                self._keep()
            if self._stopping:
                break

    def update(self) -> None:
        """Make one update and nothing else that may be due, but its display.

        Raises:
            RunError: it needs more memory than there is, with the batch_size and iter_size that fit.
        """
        with explained(self.net, self.definition):
            self._iterate()

    def stop(self) -> None:
        """End the training after this iteration; for callbacks."""
        self._stopping = True

    def test(self) -> list[dict[str, Tensor]]:
        """Test every test net with the weights of now, and log it; gives the mean outputs of each."""
        results = []
        if self._watch:
            self._watch.settle()
        for i, (net, source) in enumerate(zip(self.test_nets, self.definition.tests, strict=True)):
            self.log(f"Iteration {self.iter}, Testing net (#{i})")
            forward = DebugInfo(net, self.log).forward if self._debug else net
            with explained(net, self.definition):
                version = self.definition.ap_version
                means = test.run(net, source.iterations, go_on=self._goes_on, forward=forward, ap_version=version)
            if means is None:
                self.log("Test interrupted.")
                break
            d = self.definition
            event = self._display.test(self.iter, i, means, d.test_compute_loss, d.show_per_class_result)
            self._tell("tested", event)
            results.append(means.outputs)
        return results

    def snapshot(self, names: Names | None = None) -> str:
        """Write a snapshot of now, to other files than those of its iteration where `names` says so.

        Returns the solverstate's path.

        Raises:
            RunError: a file cannot be written, or the loss was not finite; older snapshots stay as they are.
        """
        names, taken = self._taken(names, copied=False)
        self._writer.settle()
        taken.write()
        self.callbacks.tell("snapshotted", self, names)
        return names.state

    def _taken(self, names: Names | None = None, copied: bool = True) -> tuple[Names, Taken]:
        """A snapshot of now in memory.

        Raises:
            RunError: the loss was not finite.
        """
        d = self.definition
        if self._watch:
            self._watch.settle()
        names = names or snapshot.names(self.prefix, self.iter, d.snapshot_hdf5)
        kept = resume.state(self._nets, self.iter, self.device)
        kept |= {"run": self.lineage.kept(), "policy": self._update.policy.state(), "callbacks": self.callbacks.state()}
        kept |= {"scale": self._scale.state()} if self._scale else {}
        kept["rule"] = divided = resume.divided(self._update.rule)
        progress = snapshot.Progress(self.iter, self._update.policy.current_step, kept)
        taken = snapshot.take(
            names,
            self.net,
            self._update.rule,
            progress,
            diffs=d.snapshot_diff,
            log=self.log,
            copied=copied or bool(divided),
        )
        resume.set_divided(self._update.rule, divided)
        return names, taken

    def restore(self, path: str | os.PathLike[str]) -> None:
        """Go on from a solverstate, Caffe's or ours: its iteration, weights and history.

        Where a `.resume` of ours lies beside it, the data layers and random states go on too; Caffe starts them anew.

        Raises:
            SolverError: it cannot be read, or is the state of another net or another rule.
            WeightsError: its weights are not those of the net, layer by layer.
        """
        path = os.fspath(path)
        state = solverstate.read(path)
        snapshot.check_history(self.net, self._update.rule, state.history, Where(file=path))
        kept = snapshot.read_resume(path, state.iter)
        self.lineage.go_on(kept.get("run") if kept else None, path, self.log)
        self.net.load_weights(snapshot.model_of(state, path), strict=True)
        snapshot.set_history(self.net, self._update.rule, state.history)
        self._update.rule.set_step(state.iter)
        if self._recorded:
            self._recorded.forget()
        self.iter, self._update.policy.current_step = state.iter, state.current_step
        if kept is not None:
            resume.load(self._nets, kept, self.device)
            resume.set_divided(self._update.rule, kept.get("rule", []))
            self._update.policy.load_state(kept.get("policy", {}))
            if self._scale:
                self._scale.load_state(kept.get("scale", {}))
            self.callbacks.load_state(kept.get("callbacks", {}))

    def close(self) -> None:
        """Close what the data layers read."""
        self.callbacks.end(self)
        self._writer.close()
        self._nets.close()

    def _check_snapshots(self) -> None:
        """Refuse snapshots that could not be written, before any work is done."""
        d = self.definition
        snapshot.check_writable(self.prefix, d.document.where("snapshot_prefix"))
        if d.snapshot_hdf5:
            snapshot.check_names(self.net.graph.nodes)

    def _iterate(self) -> None:
        """One iteration; what is not shown of it may be recorded, and is tried so, where nobody has decided."""
        if self._due(self.definition.display):
            self._step_by_step(display=True)
        elif self._trial:
            self._try(self._trial)
        elif self._recorded and self._at_once:
            self._all_at_once(self._recorded)
        else:
            self._step_by_step(display=False)
        self.iter += 1

    def _try(self, trial: Trial) -> None:
        """An iteration of the trial; after its last the faster way is kept."""
        if not trial.recording:
            trial.timed(lambda: self._step_by_step(display=False))
            return
        self._recorded = recorded = self._recorded or self._recording(required=False)
        trial.timed(lambda: self._all_at_once(recorded))
        verdict = trial.verdict()
        if recorded.refused or (verdict and not verdict.record):
            self._recorded = None
        if recorded.refused or verdict:
            self._trial = None
        if verdict and not recorded.refused:
            self.log(str(verdict))

    def _all_at_once(self, recorded: Recorded) -> None:
        self.outputs, self.loss = recorded.run(self._iteration.prepare(self.iter))
        if self.definition.display:
            self._smoothed.add(self.loss)

    def _step_by_step(self, display: bool) -> None:
        """Forward and backward over iter_size batches, the display where due, the update."""
        policy = self._update.policy
        self.outputs, self.loss = self._gradients(self._debug if display else None)
        if self.definition.display or policy.watches_loss:
            self._smoothed.add(self.loss)
        if policy.watches_loss:
            policy.observe(self._smoothed.value())
        if display:
            loss, weights = self._smoothed.value(), self.net.loss_weights
            self._tell("displayed", self._display.progress(self.iter, loss, self.lr, self.outputs, weights))
        if self._scale:
            self._update.unscale(self._scale, check=display)
        elif self._watch:
            self._watch.gradients(self.iter, display)
        self._update.apply(self.iter, display)

    def _gradients(self, debug: DebugInfo | None) -> Found:
        """The outputs and the mean loss of iter_size batches, whose gradients add up; `debug` logs on the way."""
        if self._recorded and not self._at_once and not debug:
            found = self._recorded.run()
            if self._watch:
                self._watch.loss(self.iter, found[1])
            return found
        return self._iteration.gradients(({},) * self.definition.iter_size, self.iter, debug)

    def _recording(self, required: bool = True) -> Recorded:
        reason = refusal(self.net)
        if reason is not None:
            raise DeviceError(f"the training cannot be recorded as a CUDA graph: {reason}")
        work = self._iteration.whole if self._at_once else self._iteration.gradients
        return Recorded(self.net, self.definition.iter_size, work, required=required)

    def _tell(self, what: str, event: Event) -> None:
        self.history.add(event)
        self.callbacks.tell(what, self, event)

    def _keep(self) -> None:
        """A snapshot that is due: taken now, written by a thread while the training goes on."""
        self._settle()
        names, taken = self._taken()
        self._writer.start(taken.write, lambda: self.callbacks.tell("snapshotted", self, names))
        self._keeping = self.iter

    def _settle(self, wait: bool = True) -> None:
        """Take in the snapshot that the thread has written; where it could not, what on_full_disk says."""
        try:
            if self._writer.settle(wait):
                self._lost = None
        except RunError as error:
            if self.on_full_disk == "stop" or error.file is None:
                raise
            self._lost = error
            self.log(f"no snapshot of iteration {self._keeping}: {str(error).splitlines()[0]}")

    def _show_last(self) -> None:
        """One more forward of the train net, whose loss is shown: as in Caffe, it moves BatchNorm's statistics."""
        with torch.no_grad():
            self.outputs = dict(self.net())
        self._smoothed.add(self.net.loss)
        self.log(f"Iteration {self.iter}, loss = {shown(self._smoothed.value())}")

    def _due(self, interval: int) -> bool:
        return bool(interval) and self.iter % interval == 0

    def _goes_on(self) -> bool:
        """Carry out what signals ask for during a test, until they ask for nothing; whether the test goes on."""
        while (asked := self._asked()) is not Action.NONE:
            if asked is Action.SNAPSHOT:
                self._keep()
        return not self._stopping

    def _asked(self) -> Action:
        """What the next signal asks for."""
        asked = self.signals.poll() if self.signals else Action.NONE
        if asked in (Action.STOP, Action.END):
            self._stopping = self.interrupted = True
            self._ending |= asked is Action.END
        return asked
