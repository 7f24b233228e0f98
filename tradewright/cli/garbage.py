"""When garbage is looked for: hardly while much is imported, which is kept and leaves none."""

import gc
from typing import Final

HARDLY: Final = 100_000
"""New objects between two looks; each of the usual ones would go through all that is there."""
_USUAL: Final = gc.get_threshold()


def hardly() -> None:
    """Look seldom from now on: for what starts, and for what ends soon."""
    gc.set_threshold(HARDLY)


def as_usual() -> None:
    """Look as often as Python does, and never again through what is there by now."""
    gc.freeze()
    gc.set_threshold(*_USUAL)
