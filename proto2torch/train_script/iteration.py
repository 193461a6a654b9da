"""One iteration of a script: the gradients, what is shown of it, the update; and the test of a net."""

from __future__ import annotations

from collections.abc import Sequence

from proto2torch.ir.graph import Net, Param, Value
from proto2torch.layers.base import number
from proto2torch.train_script.objective import Objective
from proto2torch.train_script.parts import Parts, as_dict, indented, listed, method

MEAN_LOSS = "sum(self.losses) / len(self.losses)"
"""The loss over the last iterations."""


def update(parts: Parts, objective: Objective) -> str:
    """The method `update`."""
    d = parts.definition
    lines = ["self.optimizer.zero_grad()"] if _all_reached(parts.train.graph) else _zeros()
    body = [*objective.forward(), "loss.backward()"]
    if parts.accumulates:
        keep = bool(d.display)
        body += ["losses.append(loss.detach())"] * keep
        lines += ["losses = []"] * keep + ["for _ in range(ITER_SIZE):", *indented(body)]
    else:
        lines += body
    lines += _display(parts, objective) if d.display else []
    lines += [*_scaling(parts), "step(self.optimizer, self.iteration)", "self.iteration += 1"]
    said = f"One iteration: the gradients of {'ITER_SIZE batches' if parts.accumulates else 'a batch'}, and an update."
    return method("update(self, batches)", said, lines)


def _zeros() -> list[str]:
    """Gradients for parameters that no loss reaches: in Caffe they decay."""
    return [
        "for parameter in self.net.parameters():",
        "    parameter.grad = torch.zeros_like(parameter)  # what no loss reaches decays",
    ]


def _display(parts: Parts, objective: Objective) -> list[str]:
    lines, shown = list[str](), "loss"
    loss = "torch.stack(losses).mean()" if parts.accumulates else "loss.detach()"
    if parts.smooths:
        lines.append(f"self.losses.append({loss})")
    body = [f"mean = {MEAN_LOSS if parts.smooths else loss}"] * (parts.smooths or parts.accumulates)
    shown = "mean" if body else "loss"
    body += [f'print(f"Iteration {{self.iteration}}, loss = {{{shown}:.6g}}")', *objective.show()]
    body += ["rate = learning_rate(self.iteration)", 'print(f"Iteration {self.iteration}, lr = {rate:.6g}")']
    return [*lines, "if self.iteration % DISPLAY == 0:", *indented(body)]


def _scaling(parts: Parts) -> list[str]:
    """What happens to the summed gradients before the rule: Caffe clips first, then divides by iter_size."""
    clip = parts.definition.clip_gradients
    if clip is None and not parts.accumulates:
        return []
    lines = ["gradients = [p.grad for p in self.net.parameters() if p.grad is not None]"]
    scale = "1 / ITER_SIZE"
    if clip is not None:
        lines.append("norm = torch.nn.utils.get_total_norm(gradients)")
        scale = f"({number(clip)} / norm).clamp(max=1)" + " / ITER_SIZE" * parts.accumulates
    return [*lines, f"scale = {scale}", "for gradient in gradients:", "    gradient *= scale"]


def _all_reached(net: Net) -> bool:
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


# Tests


def test(parts: Parts) -> list[str]:
    """The method `test`, where there are test nets."""
    if not parts.tests:
        return []
    if len(parts.tests) == 1:
        run = [f"outputs = {as_dict(parts.tests[0], 'self.test_net(*next(batches))')}"]
        lines = ['print(f"Iteration {self.iteration}, Testing net (#0)")', *_mean(run, "TEST_ITER")]
    else:
        lines = _test_each(parts)
    said = "Print the mean of each output over the test's batches."
    return ["    @torch.no_grad()\n" + method("test(self, batches)", said, [*lines, "self.tests += 1"])]


def _test_each(parts: Parts) -> list[str]:
    """The loop over several test nets; of one that gives a value alone, the value's name goes with it."""
    alone = ["" if len(test.source.returns) > 1 else test.source.returns[0] for test in parts.tests]
    zipped, each = "nets, batches, TEST_ITER", "net, feed, count"
    lines = [f"nets = [{', '.join(f'self.{name}' for name in parts.test_nets)}]"]
    run = ["outputs = net(*next(feed))"]
    if any(alone):
        lines.append(f"values = {listed(alone)}")
        run.append("outputs = {value: outputs} if value else outputs  # what it gives alone")
        zipped, each = "nets, values, batches, TEST_ITER", "net, value, feed, count"
    body = ['print(f"Iteration {self.iteration}, Testing net (#{number})")', *_mean(run, "count")]
    return [*lines, f"zipped = zip({zipped})", f"for number, ({each}) in enumerate(zipped):", *indented(body)]


def _mean(run: Sequence[str], count: str) -> list[str]:
    """Lines that add up the outputs that `run` makes over `count` batches, and show their means."""
    return [
        "sums = {}",
        f"for _ in range({count}):",
        *indented(run),
        "    for name, output in outputs.items():",
        "        sums[name] = sums.get(name, 0) + output",
        f'show("Test", {{name: total / {count} for name, total in sums.items()}})',
    ]
