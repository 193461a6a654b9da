"""Standard normal numbers from 32-bit words by the ziggurat method, as Boost's `normal_distribution<float>` makes them.

The area under f(x) = exp(-x²/2) is covered by 128 layers of equal area V: layer i spans 0 ≤ x < X[i] and
Y[i] ≤ y < Y[i+1], and layer 0 is the base with the tail beyond X[1]. A word gives a layer (bits 1 to 7), a sign (bit 0)
and a position in it (the upper 24 bits), so that 98.8 % of the words are a number by themselves. The others lie on the
edge of a layer, which takes one word more, or in the tail, which takes several.

Everything is float32, in Boost's order of operations, and happens for whole arrays of words at once: the words that
start a number follow from those that need more than themselves, and only the tail (1 in 1700) is made one by one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
_Curve = Callable[[float], float]

_NORMAL_EDGE = 3.4426198558966521214  # X[1] of 128 layers
_EXPONENTIAL_EDGE = 7.69711747013104972  # X[1] of 256 layers
_ONE = np.float32(1)


def _layers(count: int, edge: float, area: float, curve: _Curve, inverse: _Curve) -> tuple[Array, Array]:
    """X and Y of `count` layers of equal area: X[0] = V/f(X[1]), X[i+1] = f⁻¹(f(X[i]) + V/X[i]), Y = f(X)."""
    x = [area / curve(edge), edge]
    while len(x) < count:
        x.append(inverse(curve(x[-1]) + area / x[-1]))
    y = [0.0] + [curve(v) for v in x[1:]]
    return np.array([*x, 0.0]), np.array([*y, 1.0])


def _above(bounds: Array) -> Array:
    """The smallest float32 at or above each double, so that float32 compares with it as with the double."""
    rounded = bounds.astype(np.float32)
    return np.where(rounded < bounds, np.nextafter(rounded, np.float32(np.inf)), rounded)


def _bell(x: float) -> float:
    return math.exp(-x * x / 2)


_NORMAL_AREA = _NORMAL_EDGE * _bell(_NORMAL_EDGE) + math.sqrt(math.pi / 2) * math.erfc(_NORMAL_EDGE / math.sqrt(2))
_EXPONENTIAL_AREA = (_EXPONENTIAL_EDGE + 1) * math.exp(-_EXPONENTIAL_EDGE)
X, Y = _layers(128, _NORMAL_EDGE, _NORMAL_AREA, _bell, lambda y: math.sqrt(-2 * math.log(y)))
EXPONENTIAL_X, EXPONENTIAL_Y = _layers(
    256, _EXPONENTIAL_EDGE, _EXPONENTIAL_AREA, lambda x: math.exp(-x), lambda y: -math.log(y)
)

# By the low byte of a word: the signed width of its layer in steps of 2^-24, and below what it is accepted at once.
_SCALE = (np.repeat(X[:-1].astype(np.float32), 2) * np.tile([-1, 1], 128) * 2.0**-24).astype(np.float32)
_BOUND = np.repeat(_above(X[1:]), 2)

# By the layer, for the edges: widths, heights and differences, each rounded to float32 once.
_WIDTH, _STEP = X.astype(np.float32), (X[:-1] - X[1:]).astype(np.float32)
_HEIGHT, _RISE = Y.astype(np.float32), (Y[1:] - Y[:-1]).astype(np.float32)
_CONVEX = X[:-1] >= 1  # f is convex beyond its inflection at 1
_EXP_WIDTH, _EXP_STEP = EXPONENTIAL_X.astype(np.float32), (EXPONENTIAL_X[:-1] - EXPONENTIAL_X[1:]).astype(np.float32)
_EXP_HEIGHT, _EXP_RISE = EXPONENTIAL_Y.astype(np.float32), (EXPONENTIAL_Y[1:] - EXPONENTIAL_Y[:-1]).astype(np.float32)


def normals(words: Array, wanted: int) -> tuple[Array, int]:
    """As many standard normal float32 numbers as `words` (uint32) hold, `wanted` at most, and how many words they took.

    A number that would need words beyond the last one is left to the next call.
    """
    low = (words & 255).astype(np.uint8)
    z = (words >> 8).astype(np.float32)
    z *= _SCALE[low]
    bad = np.flatnonzero(np.abs(z) >= _BOUND[low])
    starts = np.ones(len(words), bool)
    accepted = np.ones(len(words), bool)
    end = _settle(words, z, bad, starts, accepted) if len(bad) else len(words)
    starts[end:] = False
    chosen = np.flatnonzero(starts & accepted)
    if len(chosen) < wanted:
        return z[chosen], end
    after = int(chosen[wanted - 1]) + 1 if wanted else 0
    later = starts[after:end]  # the last number takes the words up to the next that starts one
    return z[chosen[:wanted]], after + (int(np.argmax(later)) if later.any() else len(later))


def _settle(words: Array, z: Array, bad: Array, starts: Array, accepted: Array) -> int:
    """Decide the words `bad` that are no number by themselves; gives the first word that cannot be decided yet.

    Clears `starts` where a word was used up by the number before it, `accepted` where a start gives no number, and
    puts the tail's numbers into `z`.
    """
    order = np.arange(len(bad))
    opens_run = np.diff(bad, prepend=-2) != 1
    in_turn = (order - np.maximum.accumulate(np.where(opens_run, order, 0))) % 2 == 0  # each uses up the next word
    following = bad[in_turn] + 1
    starts[following[following < len(words)]] = False

    second = _unit(words[np.minimum(bad + 1, len(words) - 1)])
    layer = (words[bad] >> 1) & 127
    accepted[bad] = _under_bell(np.abs(z[bad]), layer, second)
    single = (layer == 0) | (second >= _ONE) | (bad + 1 == len(words))  # made one by one
    edges = set(bad[~single].tolist())
    for position in bad[single].tolist():
        if not starts[position]:
            continue
        try:
            value, after = _one(words, position, abs(z[position]), int(layer[np.searchsorted(bad, position)]))
        except IndexError:
            return int(position)
        accepted[position] = value is not None
        if value is not None:
            z[position] = math.copysign(value, z[position])
        starts[position + 1 : after] = False
        while after in edges:  # the run of edge words that it ended in is counted anew from there
            starts[after], starts[after + 1] = True, False
            after += 2
        if after < len(words):
            starts[after] = True
    return len(words)


def _unit(words: Array) -> Array:
    """Words as float32 in [0, 1]; 1 where rounding gets there, which is drawn again."""
    return words.astype(np.float32) * np.float32(2.0**-32)


def _under_bell(x: Array, layer: Array, second: Array) -> Array:
    """Whether the point (x, y) lies under f, y being `second` of the way up the layer.

    A chord and a tangent of the layer bound f, and decide most points without the exponential.
    """
    y = _HEIGHT[layer] + second * _RISE[layer]
    chord = _STEP[layer] * second - (_WIDTH[layer] - x)
    tangent = y - (_HEIGHT[layer] + (_WIDTH[layer] - x) * _HEIGHT[layer] * _WIDTH[layer])
    above, below = np.where(_CONVEX[layer], chord, tangent), np.where(_CONVEX[layer], tangent, chord)
    curve = np.exp((-(x * x / np.float32(2))).astype(np.float64)).astype(np.float32)
    return (above < 0) & ((below < 0) | (y < curve))


def _one(words: Array, position: int, x: np.float32, layer: int) -> tuple[np.float32 | None, int]:
    """One number that starts at `position` and is no simple edge: its magnitude or None, and the word after it."""
    if layer == 0:
        return _tail(words, position + 1)
    second, after = _uniform(words, position + 1)
    under = _under_bell(np.array([x]), np.array([layer]), np.array([second]))
    return (x if under[0] else None), after


def _tail(words: Array, position: int) -> tuple[np.float32, int]:
    """A number beyond X[1]: X[1] + a, a = E1/X[1], once 2·E2 > a² for two unit exponentials."""
    while True:
        first, position = _exponential(words, position)
        second, position = _exponential(words, position)
        beyond = first / _WIDTH[1]
        if second * np.float32(2) > beyond * beyond:
            return beyond + _WIDTH[1], position


def _exponential(words: Array, position: int) -> tuple[np.float32, int]:
    """A unit exponential, by the ziggurat of 256 layers; its tail is the same curve again, X[1] further."""
    shift = np.float32(0)
    while True:
        word = int(words[position])
        position += 1
        layer, x = word & 255, np.float32(word >> 8) * np.float32(2.0**-24) * _EXP_WIDTH[word & 255]
        if x < _EXP_WIDTH[layer + 1]:
            return shift + x, position
        if layer == 0:
            shift += _EXP_WIDTH[1]
            continue
        second, position = _uniform(words, position)
        y = _EXP_HEIGHT[layer] + second * _EXP_RISE[layer]
        chord = _EXP_STEP[layer] * second - (_EXP_WIDTH[layer] - x)
        tangent = y - (_EXP_HEIGHT[layer + 1] + (_EXP_WIDTH[layer + 1] - x) * _EXP_HEIGHT[layer + 1])
        if chord < 0 and (tangent < 0 or y < np.float32(math.exp(-x))):
            return shift + x, position


def _uniform(words: Array, position: int) -> tuple[np.float32, int]:
    """A float32 in [0, 1); a word that rounds to 1 is drawn again."""
    while True:
        value = np.float32(int(words[position])) * np.float32(2.0**-32)
        position += 1
        if value < _ONE:
            return value, position
