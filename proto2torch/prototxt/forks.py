"""What a message says in the words of Caffe's forks: fields and enum values that BVLC Caffe does not have."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from proto2torch.errors import UnsupportedError, Where
from proto2torch.prototxt import schema


def refused(
    message: Any, where: Callable[[str], Where], understood: Collection[str] = (), skip: Collection[str] = ()
) -> list[UnsupportedError]:
    """An error for each fork's field or enum value that is set in a message, or in the messages within it.

    `where` gives the place of a field by its path, `include[1].phase`. `understood` has the paths that are no error,
    without indices: `pooling_param.ceil_mode` a field with its values, `pooling_param.pool=DEF` a value of a field of
    Caffe's own. What a field's message says is looked at whether the field is understood or Caffe's own; `skip` names
    fields that are not looked into.
    """
    return [UnsupportedError(text, where=where(path)) for path, text in _found(message, "", "", understood, skip)]


@dataclass(frozen=True)
class _Field:
    """What there is to know of a field that may say something of a fork."""

    forks: str
    """`its forks ssd, yolo`; empty where the field is Caffe's."""
    values: dict[int, tuple[str, str]]
    """An enum's values of forks by number: the name, and the forks as above."""
    message: bool


def _found(
    message: Any, path: str, plain: str, understood: Collection[str], skip: Collection[str] = ()
) -> Iterator[tuple[str, str]]:
    """The path and the text of each error; `path` and `plain` are the message's own, with indices and without."""
    scope, fields = message.DESCRIPTOR.name, _fields(message.DESCRIPTOR.full_name)
    for descriptor, value in message.ListFields():
        name = descriptor.name
        field = fields.get(name)
        if field is None or name in skip:
            continue
        here, place = plain + name, path + name
        if field.forks and here not in understood:
            yield place, f"field {name!r} of {scope} is not Caffe's but of {field.forks}: not supported"
            continue
        many = hasattr(value, "extend")
        for index, one in enumerate(value) if many else ((0, value),):
            at = f"{place}[{index}]" if many else place
            if field.message:
                yield from _found(one, f"{at}.", f"{here}.", understood)
            elif not field.forks and one in field.values and f"{here}={field.values[one][0]}" not in understood:
                text, forks = field.values[one]
                yield at, f"value {text} of {scope}.{name} is not Caffe's but of {forks}: not supported"


@cache
def _fields(scope: str) -> dict[str, _Field]:
    """The fields of a message, by its full name, that are a fork's, or that may have something of a fork in them."""
    known = {}
    for field in schema.message_class(scope.partition(".")[2]).DESCRIPTOR.fields:
        forks, values = _words(scope, field.name), _values(field.enum_type)
        message = field.message_type is not None and bool(_fields(field.message_type.full_name))
        if forks or values or message:
            known[field.name] = _Field(forks, values, message)
    return known


def _values(enum: Any) -> dict[int, tuple[str, str]]:
    """The values of forks of an enum, if there is one; of two names of one value, the first."""
    named = [(v.number, v.name, _words(enum.full_name, v.name)) for v in enum.values] if enum is not None else []
    return {number: (name, forks) for number, name, forks in reversed(named) if forks}


def _words(scope: str, name: str) -> str:
    """`its fork ssd`, `its forks ssd, yolo`, or nothing, for a field or an enum value."""
    forks = schema.forks(scope.partition(".")[2], name)
    return f"its fork{'s' if len(forks) > 1 else ''} {', '.join(forks)}" if forks else ""
