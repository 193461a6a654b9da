"""Caffe's messages as protobuf classes, from the compiled descriptors beside this file.

`caffe.binpb` is schemas/caffe.proto, compiled by scripts/build-schema. It is loaded into a pool of its own, so that a
`caffe_pb2` imported elsewhere in the process does not clash with it, and no generated code ties it to one version of
the protobuf runtime. Nothing is loaded before the first class is asked for.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

_PACKAGE = "caffe"


@cache
def message_class(name: str) -> type[Any]:
    """The class of the message `name`, such as "NetParameter"; KeyError where there is none."""
    from google.protobuf import message_factory

    pool = _pool()
    descriptor = pool.FindMessageTypeByName(f"{_PACKAGE}.{name}")
    if hasattr(message_factory, "GetMessageClass"):  # protobuf >= 4.22
        return message_factory.GetMessageClass(descriptor)  # type: ignore[no-any-return]
    return _prototypes().GetPrototype(descriptor)  # type: ignore[no-any-return]


def new(name: str) -> Any:
    """An empty message `name`."""
    return message_class(name)()


@cache
def _pool() -> Any:
    """The descriptors, in a pool that nothing else uses."""
    from google.protobuf import descriptor_pb2, descriptor_pool

    compiled = descriptor_pb2.FileDescriptorSet.FromString(files(__package__).joinpath("caffe.binpb").read_bytes())
    pool = descriptor_pool.DescriptorPool()
    for file in compiled.file:
        pool.AddSerializedFile(file.SerializeToString())
    return pool


@cache
def _prototypes() -> Any:
    """The factory that protobuf 4.21 makes classes with; one, so that a class is made once."""
    from google.protobuf import message_factory

    return message_factory.MessageFactory(_pool())
