"""Caffe's messages as protobuf classes, from the compiled descriptors beside this file.

`caffe.binpb` is schemas/caffe.proto, compiled by scripts/build-schema. It is loaded into a pool of its own, so that a
`caffe_pb2` imported elsewhere in the process does not clash with it, and no generated code ties it to one version of
the protobuf runtime. `caffe.forks`, made of the same source, says what in it is not BVLC Caffe's. Nothing is loaded
before it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cache
from importlib.resources import files
from typing import Any


def message_class(name: str) -> type[Any]:
    """The class of the message `name`, such as "NetParameter"; KeyError where there is none."""
    return _classes()[name]


def new(name: str) -> Any:
    """An empty message `name`."""
    return message_class(name)()


def forks(scope: str, name: str) -> tuple[str, ...]:
    """The forks that have the field `name` of the message `scope`, or the value `name` of the enum `scope`.

    Scopes are "PoolingParameter" and "PoolingParameter.PoolMethod". Empty for what BVLC Caffe has, and for what nobody
    has.
    """
    return _forks().get(scope, {}).get(name, ())


def fork_names() -> frozenset[str]:
    """The names of all forks that have a field or a value of their own."""
    return frozenset(fork for names in _forks().values() for forks in names.values() for fork in forks)


@cache
def _forks() -> dict[str, dict[str, tuple[str, ...]]]:
    """The forks by message or enum, and by name."""
    table: dict[str, dict[str, tuple[str, ...]]] = {}
    for line in files(__package__).joinpath("caffe.forks").read_text("utf-8").splitlines():
        whose, scope, names = line.split("\t")
        table.setdefault(scope, {}).update(dict.fromkeys(names.split(" "), tuple(whose.split(","))))
    return table


def classes_of(fork: str) -> dict[str, type[Any]]:
    """All classes by name with the fields, values and numbers of one fork: those of BVLC Caffe and its own."""
    return _classes(fork)


@cache
def _numbers() -> dict[tuple[str, str, str], int]:
    """The number of a name in a fork, by fork, message or enum, and name, where it is not that of the schema."""
    table = {}
    for line in files(__package__).joinpath("caffe.numbers").read_text("utf-8").splitlines():
        fork, scope, pairs = line.split("\t")
        for pair in pairs.split(" "):
            name, _, number = pair.partition("=")
            table[fork, scope, name] = int(number)
    return table


def _as_in(file: Any, fork: str) -> None:
    """Leave of a file's descriptors what Caffe and one fork have, under the numbers of that fork."""

    def messages(found: Any, outer: str) -> None:
        for message in found:
            scope = outer + message.name
            messages(message.nested_type, f"{scope}.")
            enums(message.enum_type, f"{scope}.")
            kept(message.field, scope)

    def enums(found: Any, outer: str) -> None:
        for enum in found:
            kept(enum.value, outer + enum.name)

    def kept(found: Any, scope: str) -> None:
        own = {}
        for one in found:
            if fork in forks(scope, one.name):
                own[one.name] = one.number = _numbers().get((fork, scope, one.name), one.number)
            if hasattr(one, "default_value"):
                one.ClearField("default_value")  # what is not set is not translated
        for at in reversed(range(len(found))):
            others = found[at].name not in own and bool(forks(scope, found[at].name))
            taken = found[at].name not in own and found[at].number in own.values()
            if (others or taken) and len(found) > 1:  # an enum needs a value
                del found[at]

    messages(file.message_type, "")
    enums(file.enum_type, "")


@cache
def _classes(fork: str = "") -> dict[str, type[Any]]:
    """All classes by name; with a fork as that fork has them.

    They are held together because protobuf 4.22 to 4.24 keep a class only as long as somebody refers to it, and crash
    when a field's class is gone.
    """
    from google.protobuf import descriptor_pb2, descriptor_pool

    compiled = descriptor_pb2.FileDescriptorSet.FromString(files(__package__).joinpath("caffe.binpb").read_bytes())
    pool = descriptor_pool.DescriptorPool()
    make, classes = _class_maker(pool), {}
    for file in compiled.file:
        if fork:
            _as_in(file, fork)
        pool.AddSerializedFile(file.SerializeToString())
        top_level = pool.FindFileByName(file.name).message_types_by_name.values()
        for descriptor in _with_nested(top_level):
            classes[descriptor.full_name.removeprefix(f"{file.package}.")] = make(descriptor)
    return classes


def _class_maker(pool: Any) -> Callable[[Any], type[Any]]:
    """The function of this protobuf runtime that makes a class from a descriptor of `pool`."""
    from google.protobuf import message_factory

    if hasattr(message_factory, "GetMessageClass"):  # from 4.22 on
        return message_factory.GetMessageClass  # type: ignore[no-any-return]
    return message_factory.MessageFactory(pool).GetPrototype  # type: ignore[no-any-return]


def _with_nested(descriptors: Iterable[Any]) -> Iterator[Any]:
    """The descriptors, each followed by those that are nested in it."""
    for descriptor in descriptors:
        yield descriptor
        yield from _with_nested(descriptor.nested_types)
