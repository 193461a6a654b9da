"""Unique, legal Python names for whatever a prototxt calls its layers and blobs.

A net is untrusted input: its names become identifiers here and nowhere else, and every other use of a name in source
goes through `layers.base.literal`, in a docstring through `prose`. A name that is legal stays as it is; the rest is
spelled with underscores.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterable

_LONGEST = 64

LOCALS = frozenset(keyword.kwlist) | frozenset(
    """self torch nn F torchvision ops math
    abs bool dict float int len list max min print range slice sum tuple zip""".split()  # noqa: SIM905
)
"""Names that a local of `forward` must not take: keywords, and what generated lines themselves use."""

MODULE_ATTRIBUTES = frozenset(keyword.kwlist) | frozenset(
    """T_destination add_module apply bfloat16 buffers call_super_init children compile cpu cuda double
    dump_patches eval extra_repr float forward get_buffer get_extra_state get_parameter get_submodule half ipu
    load_state_dict modules mtia named_buffers named_children named_modules named_parameters parameters
    register_backward_hook register_buffer register_forward_hook register_forward_pre_hook
    register_full_backward_hook register_full_backward_pre_hook register_load_state_dict_post_hook
    register_load_state_dict_pre_hook register_module register_parameter register_state_dict_post_hook
    register_state_dict_pre_hook requires_grad_ set_extra_state set_submodule share_memory
    state_dict to to_empty train training type xpu zero_grad""".split()  # noqa: SIM905
)
"""Names that a submodule must not take: keywords and the attributes of nn.Module. Those with a leading underscore are
kept out by `identifier`."""


def identifier(name: str, kind: str) -> str:
    """`name` as an identifier of plain ASCII: `conv1/7x7_s2` gives `conv1_7x7_s2`, `1` gives `layer_1`."""
    word = re.sub(r"[^A-Za-z0-9_]", "_", name[:_LONGEST]).strip("_")
    if not word:
        return kind
    return word if not word[0].isdigit() else f"{kind}_{word}"


def class_name(name: str) -> str:
    """The net's name as a class name: `ResNet-50` gives `ResNet50`, an empty one `Net`."""
    words = re.findall(r"[A-Za-z0-9]+", name[:_LONGEST])
    joined = "".join(w[0].upper() + w[1:] for w in words)
    if not joined:
        return "Net"
    joined = f"Net{joined}" if joined[0].isdigit() else joined
    return f"{joined}Net" if keyword.iskeyword(joined) or joined in LOCALS else joined


def prose(name: str) -> str:
    """A name within a docstring: plain characters as they are, any that could end the string as `?`."""
    return re.sub(r"[^ !#-\[\]-~]", "?", name)


class Names:
    """Gives each key one unique identifier. Keys that are legal names get themselves, whatever comes before them."""

    def __init__(self, kind: str, reserved: Iterable[str]) -> None:
        self.kind = kind
        self.taken = set(reserved)
        self._given: dict[str, str] = {}

    def give(self, names: Iterable[str]) -> None:
        """Name them all at once, legal ones first."""
        names = list(dict.fromkeys(names))
        for name in sorted(names, key=lambda n: identifier(n, self.kind) != n):
            self._given[name] = self._unique(identifier(name, self.kind))

    def _unique(self, word: str) -> str:
        if word in self.taken:
            word += "_"
        base, n = word.rstrip("_"), 2
        while word in self.taken:
            word, n = f"{base}_{n}", n + 1
        self.taken.add(word)
        return word

    def __getitem__(self, name: str) -> str:
        return self._given[name]
