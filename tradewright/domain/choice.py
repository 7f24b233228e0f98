"""What a person may decide about a difference."""

from enum import StrEnum


class Choice(StrEnum):
    ADOPT = "adopt"
    """The position becomes a trade of ours, with a stop."""
    CLOSE = "close"
    """Leave the market: by the trade that owns the position, or by one that adopts it first."""
    FIX = "fix"
    """The exchange is right: the trade asks it, sets its stop again, an order is cancelled."""
    IGNORE = "ignore"
    """It may stay as it is; anything else than exactly this is asked about again."""
