"""Fields of a solver replaced from outside: `overrides={"base_lr": 0.001}`, or `--set base_lr=0.001`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from proto2torch.errors import Proto2TorchError, SolverError, did_you_mean, raise_problems
from proto2torch.prototxt import upgrade
from proto2torch.prototxt.document import Document, Mark
from proto2torch.prototxt.tables import Field, Kind, table


def override(document: Document, overrides: Mapping[str, Any]) -> Document:
    """The solver with some fields replaced; what stood in the text for them is gone.

    A value is what Python has for it, or the word that would stand in the prototxt. A repeated field takes a sequence,
    or words separated by commas, and is replaced as a whole.

    Raises:
        SolverError: no such field, or a value that it does not take; Problems, if several.
    """
    if not overrides:
        return document
    message = type(document.message)()
    message.CopyFrom(document.message)
    fields = table(message.DESCRIPTOR).fields
    problems: list[Proto2TorchError] = []
    for name, value in overrides.items():
        try:
            _set(message, _field(fields, name), value)
        except SolverError as error:
            problems.append(error)
    raise_problems(problems)
    mark = document.mark
    if mark is not None:
        mark = Mark(mark.offset, {name: marks for name, marks in mark.fields.items() if name not in overrides})
    return upgrade.solver(Document(message, mark, document.source))


def _field(fields: dict[str, Field], name: str) -> Field:
    field = fields.get(name)
    if field is None:
        raise SolverError(f"a solver has no field {name!r}", hint=did_you_mean(name, fields))
    if field.kind is Kind.MESSAGE:
        raise SolverError(f"the solver field {name!r} holds a message and cannot be replaced from outside")
    return field


def _set(message: Any, field: Field, value: Any) -> None:
    try:
        if field.repeated:
            words = value.split(",") if isinstance(value, str) else value
            parts = [_converted(field, word) for word in (words if isinstance(words, Sequence) else [words])]
            message.ClearField(field.name)
            getattr(message, field.name).extend(parts)
        else:
            setattr(message, field.name, _converted(field, value))
    except (ValueError, TypeError) as error:
        raise SolverError(f"the solver field {field.name!r} takes {field.takes}. Received: {value!r}") from error


def _converted(field: Field, value: Any) -> Any:
    """The value as the message keeps it: a string as it is, all else by the word that a prototxt would have."""
    if field.kind is Kind.TEXT:
        if not isinstance(value, str):
            raise TypeError(value)
        return value
    word = value.strip() if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value)
    return field.convert(word)
