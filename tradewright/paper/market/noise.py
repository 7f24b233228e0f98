"""Chance that can be asked for anywhere: the n-th number of a key, without the ones before it.

SplitMix64 over a counter, so that the same key and number give the same chance on any machine
and with any version of a library.
"""

import math
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_MIX_1, _MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_27, _30, _31, _11 = (np.uint64(n) for n in (27, 30, 31, 11))


def key_of(*parts: object) -> int:
    """Return a key for whatever *parts* name."""
    text = "/".join(map(str, parts))
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little")


def uniform(key: int, first: int, count: int) -> Floats:
    """Return numbers *first* to *first + count* of *key*, evenly in [0, 1)."""
    state = np.arange(first + 1, first + count + 1, dtype=np.int64).astype(np.uint64)
    state *= _GAMMA
    state += np.uint64(key)
    state = (state ^ (state >> _30)) * _MIX_1
    state = (state ^ (state >> _27)) * _MIX_2
    state ^= state >> _31
    return (state >> _11).astype(np.float64) * 2.0**-53


def normal(key: int, first: int, count: int) -> Floats:
    """Return numbers *first* to *first + count* of *key*, normal with mean 0 and deviation 1."""
    even = uniform(key, 2 * first, 2 * count)
    radius = np.sqrt(-2.0 * np.log1p(-even[::2]))
    return radius * np.cos(2 * math.pi * even[1::2])


def smooth(key: int, first: int, count: int, every: int) -> Floats:
    """Return *count* values of a curve through a normal number at each multiple of *every*."""
    at = np.arange(first, first + count)
    knot = at // every
    knots = normal(key, int(knot[0]), int(knot[-1] - knot[0]) + 2)
    share = (at - knot * every) / every
    weight = share * share * (3 - 2 * share)
    left = knots[knot - knot[0]]
    curve: Floats = left + weight * (knots[knot - knot[0] + 1] - left)
    return curve
