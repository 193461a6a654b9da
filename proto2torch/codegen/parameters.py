"""The parameters of a repeated block: which numbers differ between its instances, and how they hang together.

Numbers that are equal in every instance stay as they are. Widths that are a whole multiple or part of another in every
instance are written so: `4 * width`. What is left becomes a parameter, with torch's default where it has one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from proto2torch.codegen.call import WIDTHS, Call, Parameter
from proto2torch.codegen.names import Names

_Vector = tuple[str, ...]


@dataclass(frozen=True)
class _Slot:
    """One argument of one call of the block, with its value in each instance."""

    call: int
    argument: int
    parameter: Parameter
    vector: _Vector

    @property
    def family(self) -> str:
        """What it may share a parameter with: widths with widths, a stride with strides."""
        whole = self.parameter.kind in WIDTHS and all(v.isdecimal() and v != "0" for v in self.vector)
        return "width" if whole else self.parameter.name or f"{self.call} {self.argument}"


@dataclass(frozen=True)
class Parameters:
    """A block's parameters, its calls written with them, and each instance's values."""

    parameters: tuple[Parameter, ...]
    calls: tuple[Call, ...]
    values: tuple[tuple[str, ...], ...]


def generalize(
    instances: Sequence[Sequence[Call]], attributes: Sequence[str], outer: Collection[int], reserved: Collection[str]
) -> Parameters:
    """The parameters of a block whose instances make these calls.

    `attributes` names the modules that the calls make, `outer` says which of them read what comes into the block.
    """
    slots = [
        _Slot(i, k, parameter, tuple(calls[i].values[k] for calls in instances))
        for i, call in enumerate(instances[0])
        for k, parameter in enumerate(call.parameters)
    ]
    varying = [slot for slot in slots if len(set(slot.vector)) > 1]
    roots = _roots(varying)
    named = _named(roots, varying, attributes, outer, reserved)
    sources = {(s.call, s.argument): _expression(s, named) for s in varying}
    calls = tuple(
        call.with_values([sources.get((i, k), value) for k, value in enumerate(call.values)])
        for i, call in enumerate(instances[0])
    )
    order = sorted(named.values(), key=lambda found: found[0].default is not None)
    values = zip(*(vector for _, vector in order), strict=True) if order else [()] * len(instances)
    return Parameters(tuple(p for p, _ in order), calls, tuple(tuple(v) for v in values))


def _roots(varying: Sequence[_Slot]) -> list[tuple[str, _Vector]]:
    """Family and values of each parameter. Of widths that hang together, the smallest of those that many slots have."""
    count: dict[tuple[str, _Vector], int] = {}
    for slot in varying:
        key = slot.family, slot.vector
        count[key] = count.get(key, 0) + 1
    chosen = {slot.vector for slot in varying if slot.parameter.kind == "out"}
    most = max(count.values(), default=0)

    def order(key: tuple[str, _Vector]) -> tuple[bool, bool, int]:
        common = key[0] == "width" and 2 * count[key] >= most
        return key[1] not in chosen, not common, int(key[1][0]) if common else -count[key]

    roots: list[tuple[str, _Vector]] = []
    for family, vector in sorted(count, key=order):
        if not any(family == f and _relation(vector, v, "") is not None for f, v in roots):
            roots.append((family, vector))
    return roots


def _relation(vector: _Vector, root: _Vector, name: str) -> str | None:
    """The source of `vector` in terms of `root`, a whole multiple or a whole part of it; None where it is neither."""
    if vector == root:
        return name
    if not all(v.isdecimal() and v != "0" for v in (*vector, *root)):
        return None
    pairs = [(int(v), int(r)) for v, r in zip(vector, root, strict=True)]
    ratio = pairs[0][0] // pairs[0][1]
    if ratio > 1 and all(v == ratio * r for v, r in pairs):
        return f"{ratio} * {name}"
    ratio = pairs[0][1] // pairs[0][0]
    if ratio > 1 and all(v * ratio == r for v, r in pairs):
        return f"{name} // {ratio}"
    return None


_Named = dict[tuple[str, _Vector], tuple[Parameter, _Vector]]


def _expression(slot: _Slot, named: _Named) -> str:
    for (family, vector), (parameter, _) in named.items():
        if family == slot.family:
            relation = _relation(slot.vector, vector, parameter.name) if family == "width" else None
            if vector == slot.vector or relation is not None:
                return relation or parameter.name
    raise AssertionError(slot)


def _named(
    roots: Sequence[tuple[str, _Vector]],
    varying: Sequence[_Slot],
    attributes: Sequence[str],
    outer: Collection[int],
    reserved: Collection[str],
) -> _Named:
    """A name, a default and a kind for each root, in the order in which the block uses them."""
    users = {root: [s for s in varying if (s.family, s.vector) == root] for root in roots}
    widths = [root for root in roots if root[0] == "width"]
    incoming = [r for r in widths if any(s.parameter.kind != "out" and s.call in outer for s in users[r])]
    if len(widths) == 1 and any(s.parameter.kind == "out" for s in users[widths[0]]):
        incoming = []
    own = [root for root in widths if root not in incoming]
    keys, kinds = {}, {}
    for root in roots:
        first = next((s for s in users[root] if s.parameter.kind == "out"), users[root][0])
        keys[root], kinds[root] = first.parameter.name or "value", ""
        if root in incoming:
            keys[root], kinds[root] = "channels", "in"
        elif root in own:
            keys[root], kinds[root] = "width" if len(own) == 1 else attributes[first.call], "out"
    repeated = [key for key in keys.values() if list(keys.values()).count(key) > 1]
    for root in roots:
        if keys[root] in repeated and root[0] != "width":
            keys[root] = f"{attributes[users[root][0].call]}_{keys[root]}"
    names = Names("size", reserved)
    given = list(keys.values())
    unique = {root: f"{key} {i}" if key in given[:i] else key for i, (root, key) in enumerate(keys.items())}
    names.give(unique.values())
    ordered = sorted(roots, key=lambda root: (kinds[root] != "in", _place(users[root])))
    return {
        root: (Parameter(names[unique[root]], _default(users[root], root[1]), kinds[root], keyword=False), root[1])
        for root in ordered
    }


def _place(slots: Iterable[_Slot]) -> tuple[int, int]:
    return min((s.call, s.argument) for s in slots)


def _default(slots: Sequence[_Slot], vector: _Vector) -> str | None:
    """torch's default, where some instance has it and every use of the parameter has the same."""
    defaults = {s.parameter.default for s in slots}
    default = defaults.pop() if len(defaults) == 1 else None
    return default if default in vector else None
