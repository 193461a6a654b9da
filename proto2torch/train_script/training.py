"""The constants, the class `Training` and the command line of a script, written for what its solver asks."""

from __future__ import annotations

from proto2torch.layers.base import literal
from proto2torch.train_script import iteration, keeping
from proto2torch.train_script.objective import Objective
from proto2torch.train_script.parts import Parts, indented, listed, method
from proto2torch.train_script.text import constant, laid_out

SHOW = '''\
def show(kind, outputs):
    """Print a net's outputs as Caffe logs them."""
    values = [(name, x) for name, y in outputs.items() for x in y.flatten().tolist()]
    for number, (name, value) in enumerate(values):
        print(f"    {kind} net output #{number}: {name} = {value:.6g}")'''


def constants(parts: Parts) -> str:
    """The numbers of the solver, at the top of the script."""
    d = parts.definition
    counts = [test.iterations for test in d.tests]
    lines = [f"MAX_ITER = {d.max_iter}"]
    lines += [f"DISPLAY = {d.display}"] * bool(d.display)
    lines += [f"ITER_SIZE = {d.iter_size}  # batches of an update"] * parts.accumulates
    lines += [f"AVERAGE_LOSS = {d.average_loss}  # iterations"] * parts.smooths
    lines += [f"TEST_INTERVAL = {d.test_interval}"] * bool(counts)
    lines += [f"TEST_ITER = {counts[0] if len(counts) == 1 else listed(counts)}"] * bool(counts)
    lines += [f"SNAPSHOT = {d.snapshot}"] * bool(d.snapshot)
    return "\n".join([*lines, constant("PREFIX", parts.prefix)])


def functions(parts: Parts) -> list[str]:
    """The function `objective` where there is one, and `show`."""
    return [*filter(None, [Objective(parts).function()]), SHOW]


def training(parts: Parts) -> str:
    """The class `Training`."""
    objective = Objective(parts)
    methods = [_init(parts), *_batches(parts), iteration.update(parts, objective), *iteration.test(parts)]
    methods += [keeping.snapshot(parts), keeping.LOAD, keeping.restore(parts), _run(parts, objective)]
    head = 'class Training:\n    """The net, its optimizer, and how far they have come."""\n\n'
    return laid_out(head + "\n\n".join(methods))


def _init(parts: Parts) -> str:
    lines = ["self.device, self.seed, self.workers = device, seed, workers", "torch.manual_seed(seed)"]
    lines += [
        f"self.net = {parts.train.name}()",
        *["initialize(self.net)"] * (not parts.weights),
        "self.net.to(device)",
    ]
    for name, test in zip(parts.test_nets, parts.tests, strict=True):
        lines += [f"self.{name} = {test.name}()", f"self.{name}.to(device).eval()"]
    lines += [*_sharing(parts), f"self.optimizer = {parts.optimizer}", "self.iteration = 0"]
    lines += ["self.tests = 0"] * bool(parts.tests)
    lines += ["self.losses = deque(maxlen=AVERAGE_LOSS)"] * parts.smooths
    return method("__init__(self, device, seed, workers)", "", lines)


def _sharing(parts: Parts) -> list[str]:
    """The test nets take the train net's tensors for their own, and with them what it gathers."""
    if not parts.tests:
        return []
    keys = [set(model.source.keys.values()) for model in (parts.train, *parts.tests)]
    strict = "" if all(of_test == keys[0] for of_test in keys) else ", strict=False"
    lines = ["weights = self.net.state_dict()  # the same tensors for all nets"]
    lines += [f"self.{name}.load_state_dict(weights, assign=True{strict})" for name in parts.test_nets]
    for name, test in zip(parts.test_nets, parts.tests, strict=True):
        if test.switched:
            lines += [
                f"for module in self.{name}.modules():",
                "    if isinstance(module, BatchNorm):",
                "        module.use_global_stats = True  # those that training gathers",
            ]
    return lines


def _batches(parts: Parts) -> list[str]:
    """The methods that give the batches."""
    train, *tests = parts.batches
    first = "self.iteration * ITER_SIZE" if parts.accumulates else "self.iteration"
    methods = [method("train_batches(self)", "The batches that are still to be trained with.", train.lines(first))]
    for i, feed in enumerate(tests):
        name, count = (f"test_batches_{i}", f"TEST_ITER[{i}]") if len(tests) > 1 else ("test_batches", "TEST_ITER")
        said = "The batches that are still to be tested with."
        methods.append(method(f"{name}(self)", said, feed.lines(f"self.tests * {count}")))
    return methods


def _run(parts: Parts, objective: Objective) -> str:
    """The method `run`: what falls due, in Caffe's order, and what Caffe does at the end."""
    d, tests = parts.definition, len(parts.tests)
    due = "self.iteration % TEST_INTERVAL == 0"
    body = [f"if {due}:" if d.test_initialization else f"if self.iteration and {due}:"] * bool(tests)
    body += ["    self.test(test_batches)"] * bool(tests) + ["self.update(batches)"]
    body += ["if self.iteration % SNAPSHOT == 0:", "    self.snapshot()"] * bool(d.snapshot)
    lines = ["batches = self.train_batches()"]
    if tests > 1:
        lines.append(f"test_batches = [{', '.join(f'self.test_batches_{i}()' for i in range(tests))}]")
    elif tests:
        lines.append("test_batches = self.test_batches()")
    lines += ["while self.iteration < MAX_ITER:", *indented(body)]
    if d.snapshot_after_train and not (d.snapshot and d.max_iter % d.snapshot == 0):
        lines.append("self.snapshot()")
    if d.display and d.max_iter % d.display == 0:
        lines += _last(parts, objective)
    if tests and d.max_iter % d.test_interval == 0:
        lines.append("self.test(test_batches)")
    return method("run(self)", "Train up to MAX_ITER.", lines)


def _last(parts: Parts, objective: Objective) -> list[str]:
    """The loss once more, after the last update."""
    lines = ["with torch.no_grad():", *indented(objective.forward())]
    if parts.smooths:
        lines += ["self.losses.append(loss)", f"mean = {iteration.MEAN_LOSS}"]
    shown = "mean" if parts.smooths else "loss"
    return [*lines, f'print(f"Iteration {{self.iteration}}, loss = {{{shown}:.6g}}")']


def command_line(parts: Parts) -> str:
    """The function `newest`, and `main` with its call."""
    d = parts.definition
    device = f'"cuda:{d.gpu}" if torch.cuda.is_available() else "cpu"' if d.gpu is not None else '"cpu"'
    beside = f", default=str(Path(__file__).with_name({literal(parts.weights)}))" if parts.weights else ""
    seed = "" if d.random_seed is None else f", default={d.random_seed}"
    lines = [
        "parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])",
        f'parser.add_argument("--device", default={device})',
        f'parser.add_argument("--weights", metavar="FILE"{beside}, help="begin with them")',
        'parser.add_argument("--resume", metavar="FILE", nargs="?", const="newest", help="from it, or the newest")',
        f'parser.add_argument("--seed", type=int{seed})',
        'parser.add_argument("--workers", type=int, default=0, help="processes that read data")',
        "args = parser.parse_args()",
        "torch.backends.cudnn.allow_tf32 = False  # convolutions in float32, as Caffe",
        'os.makedirs(os.path.dirname(PREFIX) or ".", exist_ok=True)',
    ]
    if d.random_seed is None:
        lines.append("seed = torch.seed() % 2**32 if args.seed is None else args.seed")
    lines += [
        f"training = Training(args.device, {'seed' if d.random_seed is None else 'args.seed'}, args.workers)",
        "if args.weights:",
        "    training.load(args.weights)",
        'snapshot = newest() if args.resume == "newest" else args.resume',
        "if snapshot:",
        "    training.restore(snapshot)",
        "training.run()",
    ]
    call = 'if __name__ == "__main__":\n    main()'
    return laid_out("\n".join([keeping.NEWEST, "", "", "def main():", *indented(lines), "", "", call]))
