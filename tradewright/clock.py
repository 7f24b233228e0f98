"""The two clocks. Wall: signatures, deadlines, snapshots. Market: candles, executions, days.

On a real venue they agree. On the paper exchange the market clock runs from an anchor at a
speed, or stands still between the steps of a lockstep.
"""

from datetime import datetime, timedelta

from pydantic import AwareDatetime, Field

from tradewright.domain.market import Value


class MarketClock(Value):
    """Where market time stands: ``market + (wall - anchor) * speed``.

    `speed` 1 with equal anchors is a real venue; 0 is a lockstep, whose `market` is renewed
    at each step.
    """

    anchor: AwareDatetime
    market: AwareDatetime
    speed: float = Field(default=1.0, ge=0)

    def at(self, wall: datetime) -> datetime:
        """Return market time at *wall* time.

        Example:
            >>> from datetime import UTC
            >>> start = datetime(2022, 1, 1, tzinfo=UTC)
            >>> clock = MarketClock(anchor=start, market=start, speed=60)
            >>> clock.at(start + timedelta(seconds=1)).isoformat()
            '2022-01-01T00:01:00+00:00'
        """
        return self.market + timedelta(seconds=(wall - self.anchor).total_seconds() * self.speed)
