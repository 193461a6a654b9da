"""Type names that Caffe's forks give several meanings: which one a layer means, its own fields decide, or the user."""

from __future__ import annotations

from typing import Any, ClassVar

from proto2torch.errors import UnsupportedError, UsageError, did_you_mean
from proto2torch.layers.base import REGISTRY, Layer
from proto2torch.prototxt import schema
from proto2torch.prototxt.document import LayerDefinition


class Variants(Layer):
    """A type of several meanings, each a class of its own:

        class BN(Variants, type="BN", variants=(SegNetBN, PSPNetBN)):

    The variant of the net's fork is meant where one is named; else the one variant that finds evidence in the layer;
    else the one that `otherwise` names, if any does.
    """

    variants: ClassVar[tuple[type[Layer], ...]]
    otherwise: ClassVar[type[Layer] | None] = None

    def __init_subclass__(cls, variants: tuple[type[Layer], ...], **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.variants = variants
        cls.forks = tuple(dict.fromkeys(fork for variant in variants for fork in variant.forks))
        for variant in variants:
            variant.type = cls.type

    @classmethod
    def is_open(cls, message: Any, fork: str) -> bool:
        """Whether nothing says which variant a layer means."""
        return cls.otherwise is None and not any(fork in v.forks or v.evidence(message) for v in cls.variants)

    @classmethod
    def chosen(cls, definition: LayerDefinition, fork: str) -> type[Layer]:
        """The variant that a layer means.

        Raises UnsupportedError where nothing decides it, or where the layer's fields speak for several.
        """
        named = [variant for variant in cls.variants if fork in variant.forks]
        if named:
            return named[0]
        reasons = {variant: variant.evidence(definition.message) for variant in cls.variants}
        likely = [variant for variant, reason in reasons.items() if reason] or [v for v in (cls.otherwise,) if v]
        if len(likely) == 1:
            return likely[0]
        found = "; ".join(f"{reasons[v]}: {_forks(v)}" for v in likely) or "no field that decides it"
        names = " or ".join(f"--fork {variant.forks[0]}" for variant in cls.variants)
        raise UnsupportedError(
            f"{cls.type!r} is another layer in each of {', '.join(_forks(v) for v in cls.variants)}. Received: {found}",
            where=definition.where("type"),
            hint=f"{names} says which (fork= in Python)",
        )


def check_fork(fork: str) -> None:
    """Refuse the name of a fork that nothing is known of.

    Raises UsageError.
    """
    if not fork:
        return
    known = {*schema.fork_names(), *(name for layer in REGISTRY.values() for name in layer.forks)}
    if fork not in known:
        hint = did_you_mean(fork, known) or f"the forks are {', '.join(sorted(known))}"
        raise UsageError(f"there is no fork of this name. Received: fork {fork!r}", hint=hint)


def _forks(variant: type[Layer]) -> str:
    return "/".join(variant.forks) or "caffe"


def understood(param: str, *names: str) -> frozenset[str]:
    """Fields of a message of a layer, or values of its fields, as `fork_fields` has them: `flip_param.flip_width`."""
    return frozenset(f"{param}.{name}" for name in names)


def fields_given(message: Any, param: str, *names: str) -> str:
    """The fields of a layer's own message that are set, of those named, for use as evidence: `bn_mode, scale_filler`.

    A repeated field is set where it has a value.
    """
    if not message.HasField(param):
        return ""
    given = {field.name for field, _ in getattr(message, param).ListFields()}
    return ", ".join(name for name in names if name in given)
