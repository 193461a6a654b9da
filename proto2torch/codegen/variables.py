"""Which variable holds which value in `forward`, so that none outlives its last use.

A value that dies in the line that makes the next one leaves its variable to it: `x = self.res3(x)`. What dies otherwise
is deleted where that frees memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from proto2torch.codegen.names import Names
from proto2torch.codegen.titles import shared
from proto2torch.ir.graph import Value

TRUNK = "x"
"""The variable of the longest chain."""

_NEAR = 12  # lines


@dataclass(frozen=True)
class Statement:
    """One line: what it sets, and the values that its right side reads."""

    targets: tuple[Value, ...]
    text: str
    """The right side, with a place for each value."""
    reads: tuple[Value, ...]


@dataclass
class _Variable:
    """The values that one variable holds, one after another, from line `start` to line `end`."""

    values: list[Value]
    start: int
    end: int
    argument: bool = False

    @property
    def owned(self) -> bool:
        """Whether an argument's name holds what was made of it, which nobody else holds."""
        return self.argument and len(self.values) > 1


@dataclass(frozen=True)
class Variables:
    """Names for values, and the names that are deleted behind a line."""

    names: Mapping[Value, str]
    dead: Mapping[int, list[str]] = field(default_factory=dict)


def assign(
    statements: Sequence[Statement],
    arguments: Sequence[Value],
    titles: Mapping[Value, str],
    reserved: set[str],
    in_block: bool,
    by_blob: bool = False,
) -> Variables:
    """A variable for each value of a body, the last statement being its return.

    `titles` says what each value is called where it stands alone. Within a block a value that several lines read keeps
    its own variable, and nothing is deleted: a block ends soon. With `by_blob` each blob has a variable of its own.
    """
    lines: dict[Value, list[int]] = {}
    for at, statement in enumerate(statements):
        for value in statement.reads:
            lines.setdefault(value, []).append(at)
    end = len(statements)
    variables = [_Variable([v], -1, end if not in_block else max(lines.get(v, [0])), True) for v in arguments]
    of = {v: variable for variable in variables for v in variable.values}
    last = statements[-1]
    listed = set(last.reads) if last.text.startswith("return {") else set()  # a dict is read by blob names
    for at, statement in enumerate(statements):
        renewed = _renewed(statement, of, lines, by_blob)
        if renewed is not None:
            renewed.values.append(statement.targets[0])
            renewed.start, renewed.end = at, max(lines.get(statement.targets[0], [at]))
            of[statement.targets[0]] = renewed
            continue
        heir = _heir(statement, at, lines, of, in_block)
        if heir is not None and by_blob and heir.values[-1].blob != statement.targets[0].blob:
            heir = None
        if heir is not None and statement.targets[0] not in listed:
            heir.values.append(statement.targets[0])
            heir.end = max(lines.get(statement.targets[0], [at]))
            of[statement.targets[0]] = heir
            continue
        for value in statement.targets:
            of[value] = _Variable([value], at, max(lines.get(value, [at])))
            variables.append(of[value])
    names = _named(variables, titles, reserved, in_block or by_blob)
    dead: dict[int, list[str]] = {}
    set_at = {(variable.start, names[variable.values[0]]) for variable in variables}
    for variable in variables:
        name = names[variable.values[0]]
        ours = variable.owned or not variable.argument
        ends = ours and not (in_block or by_blob) and variable.start < variable.end < end - 2
        if ends and (variable.end, name) not in set_at:  # else its last line gives the name another value
            dead.setdefault(variable.end, []).append(name)
    return Variables(names, dead)


def _renewed(
    statement: Statement, of: Mapping[Value, _Variable], lines: Mapping[Value, list[int]], by_blob: bool
) -> _Variable | None:
    """The argument whose name goes on for its blob laid out otherwise: `data = data.to(…)`; not where the next line
    alone reads it, which is better the first of a chain."""
    if len(statement.targets) != 1 or len(statement.reads) != 1:
        return None
    (made,), (read,) = statement.targets, statement.reads
    again = made.blob == read.blob and of[read].argument and not of[read].owned
    return of[read] if again and (by_blob or len(lines.get(made, ())) > 1) else None


def _heir(
    statement: Statement, at: int, lines: Mapping[Value, list[int]], of: Mapping[Value, _Variable], in_block: bool
) -> _Variable | None:
    """The variable that this line's value takes over: of those that end here, the one with the longest history."""
    if len(statement.targets) != 1:
        return None
    ending = [of[v] for v in statement.reads if of[v].end == at and _passes_on(of[v], lines[v], statement, in_block)]
    return max(ending, key=lambda variable: len(variable.values), default=None)


def _passes_on(variable: _Variable, lines: Sequence[int], statement: Statement, in_block: bool) -> bool:
    """Whether a name that ends in a line may go on in it: one whose value branched off long before may not."""
    if in_block:
        return len(lines) == 1
    return not variable.argument and (len(statement.reads) > 1 or lines[-1] - lines[0] < _NEAR)


def _named(
    variables: Sequence[_Variable], titles: Mapping[Value, str], reserved: set[str], in_block: bool
) -> dict[Value, str]:
    """A chain is called after what its values' names have in common, else after its last; the longest is the trunk."""
    chains = [v for v in variables if len(v.values) > 1 and not v.argument]
    trunk = None if in_block else max(chains, key=lambda v: len(v.values), default=None)
    held: dict[str, int] = {}
    keys = []
    for variable in sorted(variables, key=lambda v: v.start):
        key = TRUNK if variable is trunk else _title([titles[v] for v in variable.values], variable.argument)
        while held.get(key, -2) > variable.start:
            key += " 2"
        held[key] = variable.end
        keys.append((variable, key))
    names = Names("blob", reserved)
    names.give([key for variable, key in keys if variable.argument])
    names.give([key for variable, key in keys if not variable.argument])
    return {value: names[key] for variable, key in keys for value in variable.values}


def _title(values: Sequence[str], argument: bool) -> str:
    return values[0] if argument else shared(values) or values[-1]
