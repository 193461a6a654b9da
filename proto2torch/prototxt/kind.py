"""What a prototxt is, by what it says: a net or a solver."""

from __future__ import annotations

import re
from pathlib import Path

from proto2torch.errors import unreadable
from proto2torch.prototxt import binary

_COMMENT = re.compile(rb"#[^\n]*")
_OF_A_SOLVER = re.compile(
    rb"\b(base_lr|lr_policy|max_iter|solver_mode|solver_type|snapshot_prefix|test_iter|train_net|net)\s*:"
)
_OF_A_NET = re.compile(rb"\b(layers?|input|input_dim|input_shape)\s*[:{]")
_INLINE = re.compile(rb"\b(net_param|train_net_param|test_net_param)\s*:?\s*\{")


def is_solver(path: str) -> bool:
    """Whether a file is a solver: it has a solver's fields and, outside of inline nets, no layers before them."""
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        unreadable(path, error)
    if binary.is_binary(content):
        return False
    content = _COMMENT.sub(b"", content)
    solver, net = _OF_A_SOLVER.search(content), _OF_A_NET.search(content)
    return bool(_INLINE.search(content)) or (solver is not None and (net is None or solver.start() < net.start()))
