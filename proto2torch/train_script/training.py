"""The class that trains and the command line of a script, written for what its solver asks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from proto2torch.errors import SolverError
from proto2torch.ir.graph import Net, Param, Value
from proto2torch.layers.base import literal, number
from proto2torch.solvers.definition import SolverDefinition
from proto2torch.train_script.models import Model, Models
from proto2torch.train_script.text import constant, docstring, laid_out

SHOW = '''\
def show(kind, outputs):
    """Print a net's outputs as Caffe logs them."""
    values = [(name, x) for name, y in outputs.items() for x in y.flatten().tolist()]
    for number, (name, value) in enumerate(values):
        print(f"    {kind} net output #{number}: {name} = {value:.6g}")'''
LOAD = '''
    def load(self, path):
        """Begin with the weights of a .safetensors file, or of a .pt that torch saved."""
        if path.endswith(".safetensors"):
            from safetensors.torch import load_file

            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
        self.net.load_state_dict(state.get("model", state))'''


@dataclass(frozen=True)
class Batches:
    """What feeds one net: Datasets with the size of a batch, None where they give whole batches."""

    datasets: tuple[tuple[str, int | None], ...]
    places: tuple[int, ...] | None
    """Which of their tops the net reads, in its order; None for all as they come."""

    def lines(self, first: str) -> list[str]:
        """The body of a method that gives the batches from number `first` on."""
        names = ["data"] if len(self.datasets) == 1 else [f"data_{i}" for i in range(len(self.datasets))]
        lines = [f"{name} = {dataset}" for name, (dataset, _) in zip(names, self.datasets, strict=True)]
        made = [
            f"batches({name}, {size}, {f'{size} * ' if size else ''}{first}, self.device, self.workers)"
            for name, (_, size) in zip(names, self.datasets, strict=True)
        ]
        feed = made[0] if len(made) == 1 else f"joined({', '.join(made)})"
        return [*lines, f"return {feed if self.places is None else f'picked({feed}, {list(self.places)})'}"]


@dataclass(frozen=True)
class Parts:
    """What the loop is written of."""

    definition: SolverDefinition
    prefix: str
    """What the names of snapshots begin with."""
    models: Models
    batches: tuple[Batches, ...]
    """Those of the train net and of each test net."""
    optimizer: str
    seed: int | None
    weights: str
    """The file beside the script that it begins with; empty where it draws its weights."""


class Writer:
    """Writes the class `Training` and the function `main`."""

    def __init__(self, parts: Parts) -> None:
        self.parts, self.d = parts, parts.definition
        self.train, self.tests = parts.models.train, parts.models.tests
        self.stateful = bool(self.train.source.stateful)
        self.smooth, self.batches = self.d.average_loss > 1, self.d.iter_size > 1
        self.terms = list(self.train.graph.objective)
        if not any(term.back_propagates for term in self.terms):
            raise SolverError(
                f"the net {self.train.graph.name!r} has no loss to train by", where=self.d.document.where()
            )

    def constants(self) -> str:
        """The numbers of the solver, at the top of the script."""
        d = self.d
        lines = [f"MAX_ITER = {d.max_iter}"]
        lines += [f"DISPLAY = {d.display}"] * bool(d.display)
        lines += [f"ITER_SIZE = {d.iter_size}  # batches of an update"] * self.batches
        lines += [f"AVERAGE_LOSS = {d.average_loss}  # iterations"] * (self.smooth and bool(d.display))
        lines += [f"TEST_INTERVAL = {d.test_interval}"] * bool(self.tests)
        counts = [test.iterations for test in d.tests]
        lines += [f"TEST_ITER = {counts[0] if len(counts) == 1 else literal(list(counts))}"] * bool(counts)
        lines += [f"SNAPSHOT = {d.snapshot}"] * bool(d.snapshot)
        return "\n".join([*lines, constant("PREFIX", self.parts.prefix)])

    # Functions

    def objective(self) -> str:
        """The function `objective`; empty where the net gives its loss itself."""
        if self._gives_loss():
            return ""
        lines = ["def objective(outputs):", '    """The loss: what Caffe adds up, by its weights."""']
        learned, still = ({t.value.blob: t.weight for t in self.terms if t.back_propagates == b} for b in (True, False))
        added = "sum(weight * outputs[name].sum() for name, weight in weights.items())"
        lines += [f"    weights = {_dict(learned)}", f"    {'loss =' if still else 'return'} {added}"]
        if still:
            added = added.replace(".sum() for", ".detach().sum() for").replace("weights", "others")
            lines += [f"    others = {_dict(still)}  # without a gradient", f"    return loss + {added}"]
        return laid_out("\n".join(lines))

    def _gives_loss(self) -> bool:
        only = len(self.train.source.returns) == 1 and len(self.terms) == 1
        return only and self.terms[0].weight == 1 and not self.terms[0].value.shape

    def _forward(self) -> list[str]:
        """The lines that make `loss`, and `outputs` where they are shown and are not the loss."""
        if self._gives_loss():
            return ["loss = self.net(*next(batches))"]
        return [f"outputs = {_as_dict(self.train, 'self.net(*next(batches))')}", "loss = objective(outputs)"]

    def _show(self) -> list[str]:
        """The lines that show the outputs of the train net after a forward."""
        returns = self.train.source.returns
        if self._gives_loss():
            return [f'show("Train", {{{literal(returns[0])}: loss}})']
        names = [v.blob for v in self.train.graph.outputs]
        if list(returns) == names:
            return ['show("Train", outputs)']
        return [f"shown = {_list(names)}", 'show("Train", {name: outputs[name] for name in shown})']

    # The class

    def training(self) -> str:
        """The class `Training`."""
        methods = [self._init(), self._train_batches(), *self._test_batches(), self._update(), *self._test()]
        methods += [self._snapshot(), LOAD.lstrip("\n"), self._restore(), self._run()]
        head = ["class Training:", '    """The net, its optimizer, and how far they have come."""', ""]
        return laid_out("\n".join(head) + "\n" + "\n\n".join(methods))

    def _init(self) -> str:
        lines = ["self.device, self.seed, self.workers = device, seed, workers", "torch.manual_seed(seed)"]
        lines += [f"self.net = {self.train.name}()"] + ["initialize(self.net)"] * (not self.parts.weights)
        lines += ["self.net.to(device)"]
        for name, test in zip(self._test_names(), self.tests, strict=True):
            lines.append(f"self.{name} = {test.name}().to(device).eval()")
        lines += self._sharing()
        lines += [f"self.optimizer = {self.parts.optimizer}", "self.iteration = 0"]
        lines += ["self.tests = 0"] * bool(self.tests)
        lines += ["self.losses = deque(maxlen=AVERAGE_LOSS)"] * (self.smooth and bool(self.d.display))
        return _method("__init__(self, device, seed, workers)", "", lines)

    def _several(self) -> bool:
        return len(self.tests) > 1

    def _test_names(self) -> list[str]:
        return ["test_net"] if len(self.tests) == 1 else [f"test_net_{i}" for i in range(len(self.tests))]

    def _sharing(self) -> list[str]:
        """The test nets take the train net's tensors for their own, and what it gathers."""
        if not self.tests:
            return []
        mine = _state(self.train)
        strict = "" if all(_state(test) == mine for test in self.tests) else ", strict=False"
        lines = ["weights = self.net.state_dict()  # the same tensors for all nets"]
        lines += [f"self.{name}.load_state_dict(weights, assign=True{strict})" for name in self._test_names()]
        switched = [name for name, test in zip(self._test_names(), self.tests, strict=True) if test.switched]
        for name in switched:
            lines += [
                f"for module in self.{name}.modules():",
                "    if isinstance(module, BatchNorm):",
                "        module.use_global_stats = True  # those that training gathers",
            ]
        return lines

    def _train_batches(self) -> str:
        first = "self.iteration * ITER_SIZE" if self.batches else "self.iteration"
        said = "The batches that are still to be trained with."
        return _method("train_batches(self)", said, self.parts.batches[0].lines(first))

    def _test_batches(self) -> list[str]:
        said = "The batches that are still to be tested with."
        if not self._several():
            feeds = self.parts.batches[1:]
            return [_method("test_batches(self)", said, feed.lines("self.tests * TEST_ITER")) for feed in feeds]
        return [
            _method(f"test_batches_{i}(self)", said, feed.lines(f"self.tests * TEST_ITER[{i}]"))
            for i, feed in enumerate(self.parts.batches[1:])
        ]

    def _update(self) -> str:
        d, shows = self.d, bool(self.d.display)
        lines = ["self.optimizer.zero_grad()"]
        if not _reached(self.train.graph):
            lines = [
                "for parameter in self.net.parameters():",
                "    parameter.grad = torch.zeros_like(parameter)  # what no loss reaches decays",
            ]
        body = [*self._forward(), "loss.backward()"]
        if self.batches:
            body += ["losses.append(loss.detach())"] * shows
            lines += ["losses = []"] * shows + ["for _ in range(ITER_SIZE):", *(f"    {line}" for line in body)]
        else:
            lines += body
        lines += self._display() if shows else []
        lines += self._clipping()
        lines += ["step(self.optimizer, self.iteration)", "self.iteration += 1"]
        count = f"the gradients of {d.iter_size} batches" if self.batches else "the gradients of a batch"
        return _method("update(self, batches)", f"One iteration: {count}, and an update.", lines)

    def _display(self) -> list[str]:
        loss = "torch.stack(losses).mean()" if self.batches else "loss.detach()"
        lines = [f"self.losses.append({loss})"] if self.smooth else []
        shown = "sum(self.losses) / len(self.losses)" if self.smooth else loss if self.batches else "loss"
        lines.append("if self.iteration % DISPLAY == 0:")
        if shown != "loss":
            lines.append(f"    mean = {shown}")
        mean = "loss" if shown == "loss" else "mean"
        return [
            *lines,
            f'    print(f"Iteration {{self.iteration}}, loss = {{{mean}:.6g}}")',
            *(f"    {line}" for line in self._show()),
            "    rate = learning_rate(self.iteration)",
            '    print(f"Iteration {self.iteration}, lr = {rate:.6g}")',
        ]

    def _clipping(self) -> list[str]:
        """What happens to the summed gradients before the rule: Caffe clips first, then divides by iter_size."""
        clip, size = self.d.clip_gradients, self.d.iter_size
        if clip is None and size == 1:
            return []
        lines = ["gradients = [p.grad for p in self.net.parameters() if p.grad is not None]"]
        scale = "1 / ITER_SIZE"
        if clip is not None:
            lines += ["norm = torch.nn.utils.get_total_norm(gradients)"]
            scale = f"({number(clip)} / norm).clamp(max=1)" + (" / ITER_SIZE" if size > 1 else "")
        return [*lines, f"scale = {scale}", "for gradient in gradients:", "    gradient *= scale"]

    def _test(self) -> list[str]:
        """The method `test`, where there are test nets."""
        if not self.tests:
            return []
        if not self._several():
            lines = ['print(f"Iteration {self.iteration}, Testing net (#0)")']
            lines += self._mean([f"outputs = {_as_dict(self.tests[0], 'self.test_net(*next(batches))')}"], "TEST_ITER")
        else:
            lines = self._test_each()
        said = "Print the mean of each output over the test's batches."
        return ["    @torch.no_grad()\n" + _method("test(self, batches)", said, [*lines, "self.tests += 1"])]

    def _test_each(self) -> list[str]:
        """The loop over several test nets; of one that gives a value alone, the value's name goes with it."""
        names = ["" if len(test.source.returns) > 1 else test.source.returns[0] for test in self.tests]
        lines = [f"nets = [{', '.join(f'self.{name}' for name in self._test_names())}]"]
        lines += [f"only = {_list(names)}  # the name of what a net gives alone"] * any(names)
        zipped = "nets, only, batches, TEST_ITER" if any(names) else "nets, batches, TEST_ITER"
        each = "net, alone, feed, count" if any(names) else "net, feed, count"
        body = ['print(f"Iteration {self.iteration}, Testing net (#{number})")']
        run = ["outputs = net(*next(feed))"]
        run += ["outputs = {alone: outputs} if alone else outputs"] * any(names)
        body += self._mean(run, "count")
        lines += [f"zipped = zip({zipped})", f"for number, ({each}) in enumerate(zipped):"]
        return [*lines, *(f"    {line}" for line in body)]

    @staticmethod
    def _mean(run: Sequence[str], count: str) -> list[str]:
        """Lines that add up the outputs that `run` makes over `count` batches, and show their means."""
        return [
            "sums = {}",
            f"for _ in range({count}):",
            *(f"    {line}" for line in run),
            "    for name, value in outputs.items():",
            "        sums[name] = sums.get(name, 0) + value",
            f'show("Test", {{name: total / {count} for name, total in sums.items()}})',
        ]

    # Snapshots

    def _snapshot(self) -> str:
        lines = ['path = f"{PREFIX}_iter_{self.iteration}.pt"', "state = {", '    "iteration": self.iteration,']
        lines += ['    "tests": self.tests,'] * bool(self.tests)
        lines += [
            '    "seed": self.seed,',
            '    "model": self.net.state_dict(),',
            '    "optimizer": self.optimizer.state_dict(),',
        ]
        lines += [f'    "memories": [dict(net.named_buffers()) for net in {self._remembering()}],'] * self.stateful
        lines += ['    "random": torch.get_rng_state(),', '    "cuda": torch.cuda.get_rng_state_all(),', "}"]
        lines += [
            'torch.save(state, path + ".tmp")',
            'os.replace(path + ".tmp", path)',
            'print(f"Snapshotting to {path}")',
        ]
        return _method("snapshot(self)", "Write all that the training needs to go on.", lines)

    def _remembering(self) -> str:
        return "[" + ", ".join(["self.net", *(f"self.{name}" for name in self._test_names() if self.tests)]) + "]"

    def _restore(self) -> str:
        lines = [
            'state = torch.load(path, map_location="cpu", weights_only=True)',
            'self.iteration, self.seed = state["iteration"], state["seed"]',
        ]
        lines += ['self.tests = state["tests"]'] * bool(self.tests)
        lines += ['self.net.load_state_dict(state["model"])', 'self.optimizer.load_state_dict(state["optimizer"])']
        if self.stateful:
            lines += [
                f'for net, memory in zip({self._remembering()}, state["memories"]):',
                "    for name, value in memory.items():",
                '        owner, _, buffer = name.rpartition(".")',
                "        setattr(net.get_submodule(owner), buffer, value.to(self.device))",
            ]
        lines += [
            'torch.set_rng_state(state["random"])',
            'if len(state["cuda"]) == torch.cuda.device_count():',
            '    torch.cuda.set_rng_state_all(state["cuda"])',
        ]
        return _method("restore(self, path)", "Go on where a snapshot was written.", lines)

    def _run(self) -> str:
        d = self.d
        lines = ["batches = self.train_batches()"]
        if self._several():
            feeds = ", ".join(f"self.test_batches_{i}()" for i in range(len(self.tests)))
            lines.append(f"test_batches = [{feeds}]")
        elif self.tests:
            lines.append("test_batches = self.test_batches()")
        lines.append("while self.iteration < MAX_ITER:")
        if self.tests:
            due = "self.iteration % TEST_INTERVAL == 0"
            lines.append(f"    if {due}:" if d.test_initialization else f"    if self.iteration and {due}:")
            lines.append("        self.test(test_batches)")
        lines.append("    self.update(batches)")
        if d.snapshot:
            lines += ["    if self.iteration % SNAPSHOT == 0:", "        self.snapshot()"]
        if d.snapshot_after_train and not (d.snapshot and d.max_iter % d.snapshot == 0):
            lines.append("self.snapshot()")
        if d.display and d.max_iter % d.display == 0:
            lines += self._last()
        if self.tests and d.max_iter % d.test_interval == 0:
            lines.append("self.test(test_batches)")
        return _method("run(self)", "Train up to MAX_ITER.", lines)

    def _last(self) -> list[str]:
        """The loss once more, after the last update."""
        lines = ["with torch.no_grad():", *(f"    {line}" for line in self._forward())]
        shown = "loss"
        if self.smooth:
            lines += ["    self.losses.append(loss)"]
            shown = "sum(self.losses) / len(self.losses)"
            return [*lines, f"mean = {shown}", 'print(f"Iteration {self.iteration}, loss = {mean:.6g}")']
        return [*lines, f'print(f"Iteration {{self.iteration}}, loss = {{{shown}:.6g}}")']

    # The command line

    def main(self) -> str:
        """The function `newest`, and `main` with the call of it."""
        d, parts = self.d, self.parts
        device = f'"cuda:{d.gpu}" if torch.cuda.is_available() else "cpu"' if d.gpu is not None else '"cpu"'
        weights = f", default=str(Path(__file__).with_name({literal(parts.weights)}))" if parts.weights else ""
        seed = "" if parts.seed is None else f", default={parts.seed}"
        newest = [
            "def newest():",
            '    """The snapshot of the most iterations, or None."""',
            '    paths = glob.glob(glob.escape(PREFIX) + "_iter_*.pt")',
            '    return max(paths, key=lambda path: int(path[:-3].rpartition("_")[2]), default=None)',
        ]
        lines = [
            "def main():",
            "    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])",
            f'    parser.add_argument("--device"{f", default={device}"})',
            f'    parser.add_argument("--weights", metavar="FILE"{weights})',
            '    parser.add_argument("--resume", metavar="FILE", nargs="?", const="newest")',
            f'    parser.add_argument("--seed", type=int{seed})',
            '    parser.add_argument("--workers", type=int, default=0, help="that read data")',
            "    args = parser.parse_args()",
            "    torch.backends.cudnn.allow_tf32 = False  # convolutions in float32, as Caffe",
            '    os.makedirs(os.path.dirname(PREFIX) or ".", exist_ok=True)',
        ]
        lines += ["    seed = torch.seed() % 2**32 if args.seed is None else args.seed"] * (parts.seed is None)
        given = "seed" if parts.seed is None else "args.seed"
        lines += [
            f"    training = Training(args.device, {given}, args.workers)",
            "    if args.weights:",
            "        training.load(args.weights)",
            '    snapshot = newest() if args.resume == "newest" else args.resume',
            "    if snapshot:",
            "        training.restore(snapshot)",
            "    training.run()",
            "",
            "",
            'if __name__ == "__main__":',
            "    main()",
        ]
        return laid_out("\n".join([*newest, "", "", *lines]))


def _method(signature: str, said: str, lines: Sequence[str]) -> str:
    doc = docstring(said, 8) if said else []
    return "\n".join([f"    def {signature}:", *doc, *(f"        {line}" for line in lines)])


def _as_dict(model: Model, call: str) -> str:
    """A call of a net, its one value in a dict."""
    names = model.source.returns
    return f"{{{literal(names[0])}: {call}}}" if len(names) == 1 else call


def _dict(values: Mapping[str, float]) -> str:
    return "{" + ", ".join(f"{literal(name)}: {number(value)}" for name, value in values.items()) + "}"


def _list(names: Sequence[str]) -> str:
    """Names as a list, of equal ones too."""
    return "[" + ", ".join(literal(name) for name in names) + "]"


def _state(model: Model) -> set[str]:
    return set(model.source.keys.values())


def _reached(net: Net) -> bool:
    """Whether every parameter that learns gets a gradient."""
    reached: set[Value] = {term.value for term in net.objective if term.back_propagates}
    found: set[tuple[int, int]] = set()
    for node in reversed(net.nodes):
        if node.needs_backward and any(v in reached for v in node.outputs):
            reached.update(v for v, back in zip(node.inputs, node.propagate, strict=True) if back)
            found.update(_owner(p) for p in node.params)
    return all(_owner(p) in found for p in net.owners if p.requires_grad)


def _owner(param: Param) -> tuple[int, int]:
    return param.owner or (param.node, param.index)
