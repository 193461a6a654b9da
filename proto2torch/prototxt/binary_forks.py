"""Binary nets of forks: each gives its fields numbers of its own, and one number is another field in another fork."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from proto2torch.errors import UnsupportedError, Where
from proto2torch.prototxt import dialect, forks, schema


def understood(net: Any, where: Where) -> Any | None:
    """A NetParameter that was parsed by the schema's own numbers, as the fork means it that wrote it; without blobs.

    The net itself where it has fields of Caffe alone; None where its bytes fit the numbers of no fork. A fork that the
    user has named is the only one that is tried.

    Raises:
        UnsupportedError: the bytes fit several forks, and do not mean the same in each; or not the one named.
    """
    bare = _copy(net)
    for layer in (*bare.layer, *bare.layers):
        layer.ClearField("blobs")
    if not discards(_copy(bare)) and not forks.refused(bare, lambda _: where):
        return net
    data = bare.SerializeToString()
    named = dialect.said()
    known = schema.fork_names()
    found = readings(data, [named] if named in known else sorted(known))
    least = min(map(_strangers, found.values()), default=0)
    meanings: dict[bytes, list[str]] = {}
    for fork, message in found.items():
        if _strangers(message) > least:
            continue
        meanings.setdefault(message.SerializeToString(deterministic=True), []).append(fork)
    if len(meanings) > 1:
        each = " or of ".join("/".join(names) for names in meanings.values())
        text = f"the numbers of its fields are those of {each}, and do not mean the same there"
        raise UnsupportedError(text, where=where, hint="--fork NAME says which (fork= in Python)")
    if not meanings and named in known:
        raise UnsupportedError(f"its fields do not have the numbers of {named}", where=where)
    return next((message for message in found.values() if _strangers(message) == least), None)


def _strangers(net: Any) -> int:
    """How many of its layers have a message of a fork that does not have the name of their type, as flip_param has that
    of Flip."""
    count = 0
    for layer in net.layer:
        kind = layer.type.lower()
        for descriptor, _ in layer.ListFields():
            stem = descriptor.name.removesuffix("_param").replace("_", "")
            own = descriptor.message_type is None or not schema.forks("LayerParameter", descriptor.name)
            count += not (own or kind.startswith(stem))
    return count


def readings(data: bytes, names: Iterable[str]) -> dict[str, Any]:
    """The NetParameter of the bytes in the schema's own numbers, by each fork whose numbers leave nothing over."""
    from google.protobuf.message import DecodeError

    found = {}
    for fork in names:
        parsed = schema.classes_of(fork)["NetParameter"]()
        try:
            parsed.ParseFromString(data)
        except DecodeError:
            continue
        if not discards(parsed):
            found[fork] = schema.new("NetParameter")
            _translate(parsed, found[fork])
    return found


def discards(message: Any) -> bool:
    """Drop what the message has beyond its schema; whether there was anything."""
    before = message.ByteSize()
    message.DiscardUnknownFields()
    return bool(message.ByteSize() != before)


def _copy(message: Any) -> Any:
    copy = type(message)()
    copy.CopyFrom(message)
    return copy


def _translate(source: Any, target: Any) -> None:
    """Set the fields of a message from those of the same names, and enums from their values' names."""
    for descriptor, value in source.ListFields():
        name = descriptor.name
        many = hasattr(value, "append") or hasattr(value, "add")
        for one in value if many else (value,):
            if descriptor.message_type is not None:
                _translate(one, getattr(target, name).add() if many else _begun(getattr(target, name)))
                continue
            if descriptor.enum_type is not None:
                word = descriptor.enum_type.values_by_number[one].name
                one = target.DESCRIPTOR.fields_by_name[name].enum_type.values_by_name[word].number
            if many:
                getattr(target, name).append(one)
            else:
                setattr(target, name, one)


def _begun(message: Any) -> Any:
    message.SetInParent()
    return message
