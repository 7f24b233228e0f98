"""Minutes of the day and days of the week, in any time zone."""

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

MINUTE = 60_000
QUARTER = 15 * MINUTE
"""Milliseconds within which no time zone changes its offset."""


def local_minutes(at_ms: NDArray[np.int64], zone: str) -> NDArray[np.int64]:
    """Return the minutes since 1970 on the clocks of *zone*, for milliseconds since 1970."""
    if zone == "UTC":
        return at_ms // MINUTE
    quarters, where = np.unique(at_ms // QUARTER, return_inverse=True)
    offsets = np.array([offset(int(quarter), zone) for quarter in quarters], dtype=np.int64)
    return at_ms // MINUTE + offsets[where]


def local_minute(at_ms: int, zone: str) -> int:
    """Return the minutes since 1970 on the clocks of *zone*."""
    return at_ms // MINUTE + (0 if zone == "UTC" else offset(at_ms // QUARTER, zone))


@lru_cache(maxsize=4096)
def offset(quarter: int, zone: str) -> int:
    """Return the minutes that *zone* is ahead of UTC in the *quarter*th quarter since 1970."""
    ahead = datetime.fromtimestamp(quarter * QUARTER / 1000, UTC).astimezone(ZoneInfo(zone))
    return (ahead.utcoffset() or timedelta()) // timedelta(minutes=1)
