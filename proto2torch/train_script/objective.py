"""The loss that a script trains by, and the outputs that it shows beside."""

from __future__ import annotations

from collections.abc import Mapping

from proto2torch.errors import SolverError
from proto2torch.layers.base import literal, number
from proto2torch.train_script.parts import Parts, as_dict, listed
from proto2torch.train_script.text import laid_out

_SHORT = 40  # characters of a name that stands within a line


class Objective:
    """The train net's loss: what it gives alone, one of its outputs, or a weighted sum of them.

    Raises:
        SolverError: it has none.
    """

    def __init__(self, parts: Parts) -> None:
        self.train = parts.train
        self.terms = list(self.train.graph.objective)
        if not any(term.back_propagates for term in self.terms):
            where = parts.definition.document.where()
            raise SolverError(f"the net {self.train.graph.name!r} has no loss to train by", where=where)
        term = self.terms[0]
        self._plain = len(self.terms) == 1 and term.weight == 1 and not term.value.shape
        self._alone = self._plain and len(self.train.source.returns) == 1
        self._named = self._plain and len(term.value.blob) <= _SHORT

    def function(self) -> str:
        """The function `objective`; empty where none is needed."""
        if self._alone or self._named:
            return ""
        lines = ["def objective(outputs):", '    """The loss: what Caffe adds up, by its weights."""']
        learned, still = ({t.value.blob: t.weight for t in self.terms if t.back_propagates == b} for b in (True, False))
        added = "sum(weight * outputs[name].sum() for name, weight in weights.items())"
        lines += [f"    weights = {_dict(learned)}", f"    {'loss =' if still else 'return'} {added}"]
        if still:
            added = added.replace(".sum() for", ".detach().sum() for").replace("weights", "others")
            lines += ["    # without a gradient:", f"    others = {_dict(still)}", f"    return loss + {added}"]
        return laid_out("\n".join(lines))

    def forward(self) -> list[str]:
        """The lines that make `loss` of the next batch, and `outputs` where that is more."""
        if self._alone:
            return ["loss = self.net(*next(batches))"]
        run = f"outputs = {as_dict(self.train, 'self.net(*next(batches))')}"
        return [
            run,
            f"loss = outputs[{literal(self.terms[0].value.blob)}]" if self._named else "loss = objective(outputs)",
        ]

    def show(self) -> list[str]:
        """The lines that show the outputs behind a forward."""
        returns = self.train.source.returns
        if self._alone:
            return [f'show("Train", {{{literal(returns[0])}: loss}})']
        names = [v.blob for v in self.train.graph.outputs]
        if list(returns) == names:
            return ['show("Train", outputs)']
        return [f"shown = {listed(names)}", 'show("Train", {name: outputs[name] for name in shown})']


def _dict(values: Mapping[str, float]) -> str:
    return "{" + ", ".join(f"{literal(name)}: {number(value)}" for name, value in values.items()) + "}"
