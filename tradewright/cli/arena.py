"""How the C library shares out memory: in few places, so that one thread reuses another's."""

import ctypes
import os
from typing import Final

MOST: Final = 2
_ARENA_MAX: Final = -8
"""`M_ARENA_MAX` of glibc's malloc.h."""


def few() -> bool:
    """Let all threads share `MOST` arenas; return whether the C library knows of such a thing.

    Each of a worker's dozens of threads would have one of its own, up to eight for each core, and
    what it frees there nobody else gets. An operator's own `MALLOC_ARENA_MAX` stays as it is.
    """
    if "MALLOC_ARENA_MAX" in os.environ:
        return False
    try:
        return bool(ctypes.CDLL(None).mallopt(_ARENA_MAX, MOST))
    except (OSError, TypeError, AttributeError):
        return False
