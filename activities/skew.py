"""How far the exchange's clock and this machine's are apart."""

from collections import deque
from datetime import UTC, datetime, timedelta
from typing import Final

KEPT: Final = 8


class ClockSkew:
    """Estimates from what answers say of the time; the quickest of the last answers is believed.

    The exchange wrote its time between our sending and our receiving; half the way is the estimate,
    and half of how long it took is how wrong that can be.
    """

    def __init__(self) -> None:
        self._samples: deque[tuple[timedelta, timedelta]] = deque(maxlen=KEPT)

    @property
    def value(self) -> timedelta | None:
        """How far the exchange's clock is ahead of ours; None before any answer."""
        samples = self._samples
        return min(samples)[1] if samples else None

    def add(self, server_ms: int, sent: datetime, answered: datetime) -> None:
        """Take one answer: the exchange's time in it, and when it was asked and received."""
        took = answered - sent
        said = datetime.fromtimestamp(server_ms / 1000, UTC)
        self._samples.append((took, said - (sent + took / 2)))
