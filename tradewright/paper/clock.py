"""The market clock of the paper exchange: at a speed from an anchor, or standing in lockstep."""

import time
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta

from tradewright.clock import MarketClock

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def wall() -> datetime:
    return datetime.now(UTC)


def wall_ms() -> int:
    return time.time_ns() // 1_000_000


def ms(moment: datetime) -> int:
    """Return epoch milliseconds, exactly."""
    since = moment - EPOCH
    return (since.days * 86_400 + since.seconds) * 1000 + since.microseconds // 1000


skew_ms: ContextVar[int] = ContextVar("skew_ms", default=0)
"""How wrong the exchange's clock is for the present request; only a fault sets it."""


def told() -> datetime:
    """Return the wall time that clients are told, and by which their signatures are judged."""
    return wall() + timedelta(milliseconds=skew_ms.get())


def told_ms() -> int:
    return wall_ms() + skew_ms.get()


def moment(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, UTC)


class PaperClock:
    """Market time: of the anchor while a speed market runs, else where `stand` put it."""

    def __init__(self, anchor: MarketClock) -> None:
        self.anchor = anchor
        self._stands: datetime | None = anchor.market if anchor.speed == 0 else None

    def now(self) -> datetime:
        return self._stands or self.anchor.at(wall())

    def now_ms(self) -> int:
        return ms(self.now())

    def stand(self, at_ms: int) -> None:
        """Stop at *at_ms*: the next step of a lockstep, or the end of a recording."""
        self._stands = moment(at_ms)

    def wall_seconds_until(self, at_ms: int) -> float:
        """Return how long until market time is *at_ms*; negative if it is past."""
        return (at_ms - ms(self.anchor.at(wall()))) / 1000 / self.anchor.speed
