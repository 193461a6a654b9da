"""What the parser asks of a message's descriptor, as plain dictionaries, made once a message."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from functools import cache, cached_property, partial
from typing import Any

from proto2torch.prototxt import values

# protobuf's numbers of the types that a field's value has in C++
_RANGES = {1: (-(2**31), 2**31 - 1), 2: (-(2**63), 2**63 - 1), 3: (0, 2**32 - 1), 4: (0, 2**64 - 1)}
_REALS = (5, 6)
# and of the types and labels that a .proto file gives it; early runtimes have no names for these on a descriptor
_STRING, _BYTES = 9, 12
_LABELS = {"required": 2, "repeated": 3}


class Kind(Enum):
    """What a field's value looks like in text."""

    WORD = "word"  # a number, a truth value, the name of an enum's value
    TEXT = "text"  # a quoted string
    BYTES = "bytes"  # a quoted string, of any bytes
    MESSAGE = "message"


@dataclass
class Field:
    """One field of a message."""

    name: str
    kind: Kind
    repeated: bool
    convert: values.Converter
    """The value of a bare word; ValueError where the field does not take it."""
    takes: str
    """What it takes, in words: "an integer from 0 to 4294967295"."""
    choices: tuple[str, ...] = ()
    """An enum's names."""
    message: Any = None
    """A message's descriptor."""

    @cached_property
    def table(self) -> Table:
        """The table of the message that this field holds."""
        return table(self.message)


@dataclass
class Table:
    """A message's fields by name."""

    descriptor: Any
    fields: dict[str, Field] = field(default_factory=dict)
    required: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return str(self.descriptor.name)

    @cached_property
    def messages(self) -> tuple[Field, ...]:
        """The fields that hold a message."""
        return tuple(f for f in self.fields.values() if f.kind is Kind.MESSAGE)

    def sibling(self, name: str) -> Table | None:
        """The table of another message of the same schema, if it has one of this name."""
        descriptor = self.descriptor.file.message_types_by_name.get(name)
        return table(descriptor) if descriptor is not None else None


@cache
def table(descriptor: Any) -> Table:
    """The table of a message's descriptor."""
    return Table(
        descriptor,
        {f.name: _field(f) for f in descriptor.fields},
        tuple(f.name for f in descriptor.fields if _labelled(f, "required")),
    )


def _labelled(descriptor: Any, label: str) -> bool:
    """Whether a field is repeated, or required. protobuf 7 has no `label`, protobuf 4 nothing else."""
    says = getattr(descriptor, f"is_{label}", None)
    return bool(descriptor.label == _LABELS[label] if says is None else says)


def _field(f: Any) -> Field:
    """The field of a descriptor."""
    name, repeated = f.name, _labelled(f, "repeated")
    if f.message_type is not None:
        takes = f"{{ }}, a {f.message_type.name}"
        return Field(name, Kind.MESSAGE, repeated, values.refuse, takes, message=f.message_type)
    if f.type == _STRING:
        return Field(name, Kind.TEXT, repeated, values.refuse, "a string in quotes")
    if f.type == _BYTES:
        return Field(name, Kind.BYTES, repeated, values.refuse, "a string in quotes")
    if f.enum_type is not None:
        choices = tuple(f.enum_type.values_by_name)
        takes = f"a {f.enum_type.name}, such as {choices[0]}"
        return Field(name, Kind.WORD, repeated, _enum(f.enum_type), takes, choices)
    convert, takes = _number(f.cpp_type)
    return Field(name, Kind.WORD, repeated, convert, takes)


@cache
def _enum(descriptor: Any) -> values.Converter:
    return values.remembered(partial(values.choice, numbers={v.name: v.number for v in descriptor.values}))


@cache
def _number(cpp_type: int) -> tuple[values.Converter, str]:
    """The converter of a number's or truth value's type, and what it takes in words."""
    if cpp_type not in _RANGES:
        real = cpp_type in _REALS
        return values.remembered(values.number if real else values.truth), "a number" if real else "true or false"
    lowest, highest = _RANGES[cpp_type]
    convert = partial(values.integer, lowest=lowest, highest=highest)
    return values.remembered(convert), f"an integer from {lowest} to {highest}"
