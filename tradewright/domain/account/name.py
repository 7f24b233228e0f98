"""What presets were called before: another name begins nothing anew."""

from collections.abc import Iterable
from datetime import datetime

from pydantic import AwareDatetime, Field

from tradewright.domain.market import Value


class Renamed(Value):
    """A preset bears another name from one moment on."""

    preset: str
    formerly: str
    at: AwareDatetime = Field(description="Market clock; who takes the old name later is another.")
    trades: tuple[str, ...] = Field(default=(), description="Ids of its trades that ran then.")


def name_now(renames: Iterable[Renamed], name: str, trade_id: str, at: datetime | None) -> str:
    """Return what the preset is called by now whose trade *trade_id* was of *name*.

    Args:
        renames: Oldest first.
        name: What the preset was called when the trade began.
        trade_id: Of the trade.
        at: When the trade ended, market clock; None while it runs.

    Example:
        >>> from datetime import UTC
        >>> noon = datetime(2026, 3, 2, 12, tzinfo=UTC)
        >>> renames = [Renamed(preset="b", formerly="a", at=noon, trades=("tw1",))]
        >>> [name_now(renames, "a", trade, None) for trade in ("tw1", "tw2")]
        ['b', 'a']
    """
    for renamed in renames:
        was_its = trade_id in renamed.trades or (at is not None and at <= renamed.at)
        if name == renamed.formerly and was_its:
            name = renamed.preset
    return name
