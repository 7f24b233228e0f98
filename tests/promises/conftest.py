"""The running system, as for the tests of the whole: one for each promise."""

from tests.system.conftest import live

__all__ = ["live"]
