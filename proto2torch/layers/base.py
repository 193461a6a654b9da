"""What a layer is, and the registry that knows every layer by Caffe's name for it."""

from __future__ import annotations

import builtins
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from proto2torch.errors import NetError, UnsupportedError, Where, file_of, shown_path
from proto2torch.ir.graph import Blob, Node, Shape
from proto2torch.prototxt.document import LayerDefinition

PHASES = ("TRAIN", "TEST")
"""Caffe's phases by their numbers."""

REGISTRY: dict[str, type[Layer]] = {}
"""Every layer class by Caffe's type name."""


@dataclass(frozen=True)
class Constant:
    """An array that a layer reads from a BlobProto file into a buffer of its module."""

    buffer: str
    path: str
    where: Where
    """The field that names the file."""


@dataclass(frozen=True)
class Code:
    """The PyTorch of one layer.

    `forward` is an expression: `{0}`, `{1}` … stand for the inputs, `{me}` for the layer's own module. A layer of
    several tops gives a tuple. None says that nothing is computed (Silence).
    """

    forward: str | None
    module: str | None = None
    """The constructor of the layer's module, `nn.Conv2d(3, 96, 11)`; None where it has none."""
    statistics: bool = False
    """The first three Caffe blobs are BatchNorm's sums, and the module keeps running_mean and running_var of them."""
    constants: tuple[Constant, ...] = ()
    """The buffers of the module that files fill."""
    stateful: bool = False
    """The module remembers something between forwards (LSTM): no other layer calls it, and every generation of a net's
    source uses the same one."""
    counts: bool = False
    """Its forward changes its blobs (BatchNorm's sums): a net runs it even where nothing reads its top."""
    imports: tuple[str, ...] = ()
    """Import lines that `module` needs beside torch's (Python layers)."""


class Layer:
    """One layer type: what it accepts, the shapes it makes, the blobs it learns, and the PyTorch that computes it.

    A subclass is registered by its class line:

        class Convolution(Layer, type="Convolution", param="convolution_param"):

    Attributes: `p` is the type's parameter message (with Caffe's defaults), `net_phase` is TRAIN or TEST, `phase` the
    layer's own where it sets one, `tops` the number of tops listed, `inplace` whether top 0 is bottom 0.
    """

    type: ClassVar[str]
    param: ClassVar[str | None] = None
    messages: ClassVar[tuple[str, ...]] = ()
    """The messages of the layer that it reads beside `param`: loss_param, transform_param."""
    differs: ClassVar[str] = ""
    """What its values or gradients have that plain torch's do not, or what is refused, and why; for docs/layers.md."""
    forks: ClassVar[tuple[str, ...]] = ()
    """The forks of Caffe that have it, by their names in schemas/caffe.proto; none where it is Caffe's own."""
    stored_blobs: ClassVar[int | None] = None
    """How many blobs a weight file has for it, where that tells it from other variants of its type."""
    fork_fields: ClassVar[frozenset[str]] = frozenset()
    """What it understands of forks, by path: `pooling_param.ceil_mode` a field, `pooling_param.pool=DEF` a value."""
    bottoms: ClassVar[tuple[int, int | None]] = (1, 1)
    """Fewest and most bottoms; None where there is no most."""
    tops_allowed: ClassVar[tuple[int, int | None]] = (1, 1)
    loss: ClassVar[bool] = False
    """Loss layers weigh 1 by default, make an automatic top, and refuse a gradient to their labels."""
    counted_tops: ClassVar[tuple[int, ...]] = ()
    """Tops of a data layer that have as many rows as there are: no net is laid out anew for another number."""
    data: bool = False
    """Data layers make the inputs of the module; what is in their tops is read by proto2torch.data."""
    labels: tuple[int, ...] = ()
    """The bottoms that are labels; where one would need a gradient, Caffe aborts and we refuse."""
    indices: tuple[int, ...] = ()
    """The bottoms that take no gradient either, but are no labels: an index, a selector."""
    unforced: ClassVar[tuple[int, ...]] = ()
    """Which of `indices` force_backward passes over, as it does labels; Caffe aborts on the others."""
    differentiable: ClassVar[bool] = True
    """False where Caffe has no backward (Accuracy, ArgMax, Threshold)."""
    allows_inplace: ClassVar[bool] = False
    """Whether Caffe computes it rightly when its top is its bottom."""
    backward_reads: frozenset[str] = frozenset()
    """Which of `bottom` and `top` Caffe's backward reads, where it does not keep a copy of its own."""
    alias: ClassVar[bool] = False
    """Every top is the bottom itself (Split): no code, only names."""
    starts_statement: ClassVar[bool] = False
    """Source reads best when a line begins here (Convolution, InnerProduct)."""

    def __init_subclass__(cls, type: str | None = None, param: str | None = None, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if type is None:
            cls.param = param or cls.param
            return
        if type in REGISTRY:
            both = " and ".join(
                f"{c.__qualname__} of {shown_path(file_of(c) or c.__module__)}" for c in (REGISTRY[type], cls)
            )
            raise TypeError(f"layer type {type!r} is registered twice. Received: {both}")
        cls.type, cls.param = type, param
        REGISTRY[type] = cls

    def __init__(self, definition: LayerDefinition, phase: str) -> None:
        message = definition.message
        self.definition = definition
        self.name = definition.name
        self.p: Any = getattr(message, self.param) if self.param else None
        self.net_phase = phase
        self.phase = PHASES[message.phase] if message.HasField("phase") else phase
        self.tops = len(message.top)
        self.inplace = bool(message.bottom and message.top and message.bottom[0] == message.top[0])

    # What a subclass says

    @classmethod
    def chosen(cls, definition: LayerDefinition, fork: str) -> builtins.type[Layer]:
        """The class for a layer of this type in a net of `fork`, or of no known one: itself, where forks do not give
        the type several meanings (layers/variants.py)."""
        return cls

    @classmethod
    def evidence(cls, message: Any) -> str:
        """What in a layer says that this variant of its type is meant, in words; empty where nothing does."""
        return ""

    def check(self) -> None:
        """Refuse fields that Caffe refuses, or that are not understood, whatever the shapes."""

    def shapes(self, *x: Shape) -> Sequence[Shape]:
        """The shape of each top, by Caffe's formula, from the shapes of the bottoms."""
        return [x[0]]

    def blobs(self, *x: Shape) -> Sequence[Blob]:
        """The learnable blobs in Caffe's stored order."""
        return []

    def multiply_adds(self, *x: Shape) -> int:
        """The products of its learned filters and matrices with bottoms of these shapes; sums of a bias, and what only
        compares, adds or scales elements, count for nothing."""
        return 0

    def code(self, node: Node) -> Code:
        """The PyTorch that computes it at this place."""
        raise self.error(f"the class {type(self).__name__} of layer type {self.type!r} does not say its code")

    def in_memory(self) -> tuple[str, str] | None:
        """For a layer whose memory a later one overwrites: its function, and its slope as a function of what the memory
        holds in the end. None where that is not so simple, which refuses to train it."""
        return None

    def overwrites(self) -> bool:
        """Whether it changes the values when it works in place."""
        return self.inplace

    def shares_memory(self) -> bool:
        """Whether in Caffe its top is its bottom's own memory (Flatten): who writes over one writes over both."""
        return self.alias

    def survives(self, later: Layer) -> bool:
        """Whether its gradient is the same when `later` has written over the memory that it reads."""
        return False

    def kept(self) -> Any:
        """The module that stands in the net in place of the one that its code makes; None where that one does."""
        return None

    def fixes_extent(self) -> bool:
        """Whether a learnable blob's shape depends on the spatial extent of the bottom (InnerProduct)."""
        return False

    def absorbs_extent(self) -> bool:
        """Whether the tops have the same extent whatever the bottom's (global pooling)."""
        return False

    # What a subclass uses

    def error(self, message: str, field: str = "", hint: str | None = None) -> NetError:
        """A NetError at the field of this layer, `pad` of its own message or `transform_param.scale`."""
        return NetError(message, where=self._where(field), hint=hint)

    def refuse(self, message: str, field: str = "", hint: str | None = None) -> UnsupportedError:
        """An UnsupportedError at the field: Caffe computes it, proto2torch does not."""
        return UnsupportedError(message, where=self._where(field), hint=hint)

    def _where(self, field: str) -> Any:
        own = self.p is not None and field.split("[")[0].split(".")[0] in self.p.DESCRIPTOR.fields_by_name
        return self.definition.where(f"{self.param}.{field}" if own else field)

    def axis(self, axis: int, x: Shape, field: str = "axis") -> int:
        """A Caffe axis, negative from the end, as an index into `x`."""
        if not -len(x) <= axis < len(x):
            text = f"{field} must lie in [{-len(x)}, {len(x)}) for a bottom of shape {x}. Received: {axis}"
            raise self.error(text, field)
        return axis % len(x)


def call(function: str, *args: Any, **kwargs: Any) -> str:
    """The source of a call: `call("nn.Conv2d", 3, 96, (11, 11), stride=4)` gives `nn.Conv2d(3, 96, 11, stride=4)`.

    Equal tuples collapse to one number, arguments that are None are left out, every value goes through `literal`.
    Callers leave out arguments at torch's default with `unless`.
    """
    parts = [literal(a) for a in args] + [f"{k}={literal(v)}" for k, v in kwargs.items() if v is not None]
    return f"{function}({', '.join(parts)})"


def arguments(**kwargs: Any) -> str:
    """What follows the inputs of a call: `arguments(axis=2, ignore_label=None)` gives `, axis=2`."""
    return "".join(f", {k}={literal(v)}" for k, v in kwargs.items() if v is not None)


def unless(default: Any, value: Any) -> Any:
    """None, which `call` leaves out, where `value` is torch's default, or the float32 nearest to it."""
    value = collapse(value)
    if isinstance(value, float) and isinstance(default, float):
        return None if number(value) == number(default) else value
    return None if value == default else value


def collapse(value: Any) -> Any:
    """`(3, 3)` as 3: torch takes one number for equal extents."""
    if isinstance(value, tuple) and value and all(v == value[0] for v in value):
        return value[0]
    return value


class Raw(str):
    """Source text that `literal` passes through: `{0}` or `x.shape[0]`, never anything a file says."""


def literal(value: Any) -> str:
    """The source of a value. float32 fields print as the shortest decimal that is the same float32."""
    if isinstance(value, Raw):
        return str(value)
    value = collapse(value)
    if isinstance(value, float):
        return number(value)
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, (list, tuple)):
        inner = ", ".join(literal(v) for v in value)
        return f"[{inner}]" if isinstance(value, list) else f"({inner},)" if len(value) == 1 else f"({inner})"
    if value is None or isinstance(value, (bool, int)):
        return repr(value)
    raise TypeError(f"no literal for a value of type {type(value).__name__}. Received: {value!r}")


def _string(value: str) -> str:
    """A string in ASCII, between the quotes that need fewer escapes, double ones for equal counts, as a formatter."""
    body = value.encode("unicode_escape", "surrogatepass").decode("ascii")
    quote = "'" if value.count('"') > value.count("'") else '"'
    return quote + body.replace(quote, f"\\{quote}") + quote


def number(value: float) -> str:
    """A protobuf float, which is a float32, as the shortest source that reads back as that float32."""
    if value != value or value in (float("inf"), float("-inf")):
        return f'float("{value}")'
    short = value
    for digits in range(1, 18):
        short = float(f"{value:.{digits}g}")
        if struct.pack("f", short) == struct.pack("f", value):
            break
    return repr(int(short)) if short == int(short) and abs(short) < 1e15 else repr(short)
