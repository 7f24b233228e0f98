"""How the C library shares out memory: in few places, from which it goes back to the system."""

import ctypes
import os
from typing import Final

MOST: Final = 2
MOST_KEPT: Final = 128 * 1024
_TRIM_THRESHOLD, _ARENA_MAX = -1, -8
"""`M_TRIM_THRESHOLD` and `M_ARENA_MAX` of glibc's malloc.h."""


def few() -> bool:
    """Let all threads share `MOST` arenas; return whether the C library knows of such a thing.

    Each of a worker's dozens of threads would have one of its own, up to eight for each core, and
    what it frees there nobody else gets. An operator's own `MALLOC_ARENA_MAX` stays as it is.
    """
    return _set(_ARENA_MAX, MOST, "MALLOC_ARENA_MAX")


def give_back() -> bool:
    """Let free memory at an arena's end beyond `MOST_KEPT` go; return as `few` does.

    That is the C library's own threshold, but unless it is set it grows with what is freed, up to
    64 MiB. An operator's own `MALLOC_TRIM_THRESHOLD_` stays as it is.
    """
    return _set(_TRIM_THRESHOLD, MOST_KEPT, "MALLOC_TRIM_THRESHOLD_")


def _set(parameter: int, value: int, variable: str) -> bool:
    if variable in os.environ:
        return False
    try:
        return bool(ctypes.CDLL(None).mallopt(parameter, value))
    except (OSError, TypeError, AttributeError):
        return False
