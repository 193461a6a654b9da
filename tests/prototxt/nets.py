"""Nets as text for the tests of this folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from proto2torch.errors import Problems, Proto2TorchError
from proto2torch.prototxt import text, upgrade
from proto2torch.prototxt.document import Document, NetDefinition

GOLDEN = Path(__file__).parents[1] / "golden" / "data" / "nets"


def document(source: str, path: str | None = "net.prototxt") -> Document:
    return text.parse(source, "NetParameter", path)


def upgraded(source: str, path: str | None = "net.prototxt") -> NetDefinition:
    """The upgraded net; reading it again shows that the document itself stays as it is."""
    given = document(source, path)
    before = given.message.SerializeToString(deterministic=True)
    net = upgrade.net(given)
    assert given.message.SerializeToString(deterministic=True) == before
    return net


def layers(source: str) -> list[Any]:
    """The LayerParameter messages of a net in the newest format, as the text says them."""
    return list(document(source).message.layer)


def messages(net: NetDefinition) -> list[Any]:
    return [layer.message for layer in net.layers]


def problems(call: Any, *args: Any, **kwargs: Any) -> list[Proto2TorchError]:
    """Every problem that the call raises."""
    with pytest.raises(Proto2TorchError) as raised:
        call(*args, **kwargs)
    return list(raised.value.problems) if isinstance(raised.value, Problems) else [raised.value]
