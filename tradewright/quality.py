"""What is wrong with market data, before anything is decided on it.

Pure; every flaw found has a code of its own. Exchanges do send such data, and so do broken
connections and caches: a strategy that believes it trades on what never happened.
"""

from datetime import datetime, timedelta
from typing import NamedTuple

import numpy as np

from tradewright.book import Book
from tradewright.domain.account.refusal import RefusalCode
from tradewright.domain.market import Timeframe
from tradewright.plugin import Candles

_MS = timedelta(milliseconds=1)
_EPOCH_MS = "datetime64[ms]"


class Flaw(NamedTuple):
    """One thing that is wrong with the data."""

    code: RefusalCode
    detail: str


def candle_flaws(
    candles: Candles,
    timeframe: Timeframe,
    *,
    at: datetime,
    max_flat: int,
    max_empty: int,
) -> list[Flaw]:
    """Return what is wrong with *candles* of *timeframe*, whose last one should close at *at*.

    Args:
        candles: As they were received, in that order.
        timeframe: Their length.
        at: The last close of that length; market clock.
        max_flat: So many candles in a row without any movement are no market.
        max_empty: So many in a row without any volume are none either.
    """
    if not len(candles):
        return [Flaw(RefusalCode.DATA_EMPTY, "there are no candles")]
    return [
        *_flaws_of_times(candles, timeframe.length // _MS, round(at.timestamp() * 1000)),
        *_flaws_of_prices(candles, max_flat, max_empty),
    ]


def _flaws_of_times(candles: Candles, step: int, at_ms: int) -> list[Flaw]:
    times, found = candles.open_time, list[Flaw]()
    late = times > at_ms - step
    if late.any():
        detail = f"the candle of {_spelled(times[late.argmax()])} has not closed"
        found.append(Flaw(RefusalCode.DATA_FUTURE, detail))
    steps = np.diff(times)
    if (steps == step).all():
        return found
    for code, wrong, what in (
        (RefusalCode.DATA_DUPLICATE, steps == 0, "comes twice"),
        (RefusalCode.DATA_OUT_OF_ORDER, steps < 0, "comes after a later one"),
        (RefusalCode.DATA_GAP, steps > step, "comes after a gap"),
        (RefusalCode.DATA_OUT_OF_ORDER, (steps > 0) & (steps < step), "begins within another"),
    ):
        if wrong.any():
            first = times[1 + int(wrong.argmax())]
            found.append(Flaw(code, f"the candle of {_spelled(first)} {what}"))
    return found


def _flaws_of_prices(candles: Candles, max_flat: int, max_empty: int) -> list[Flaw]:
    opened, high, low, close = candles.open, candles.high, candles.low, candles.close
    volume, found = candles.volume, list[Flaw]()
    # A comparison with NaN is false, so that all these hold for numbers alone
    sound = (
        (low > 0)
        & (low <= opened)
        & (low <= close)
        & (high >= opened)
        & (high >= close)
        & (high < np.inf)
        & (volume >= 0)
        & (volume < np.inf)
    )
    if not sound.all():
        first = candles.open_time[int((~sound).argmax())]
        found.append(
            Flaw(RefusalCode.DATA_MALFORMED, f"the candle of {_spelled(first)} has no true prices")
        )
    last = slice(-max_flat, None)
    if len(candles) >= max_flat and high[last].max() == low[last].min():
        detail = f"the last {max_flat} candles have not moved from {close[-1]:.10g}"
        found.append(Flaw(RefusalCode.DATA_FLAT, detail))
    if len(candles) >= max_empty and not volume[-max_empty:].any():
        detail = f"the last {max_empty} candles have no volume"
        found.append(Flaw(RefusalCode.DATA_NO_VOLUME, detail))
    return found


def outlier_flaws(
    price: float, mark: float | None, index: float | None, max_fraction: float
) -> list[Flaw]:
    """Return whether *price* is too far from what the exchange itself reckons with.

    Args:
        price: The close that is to be decided on.
        mark: The mark price; None while it is unknown, which is a flaw of its own.
        index: The index price, likewise.
        max_fraction: Of the mark or index price: 0.05 is five per cent.
    """
    found = []
    for name, reference in (("mark", mark), ("index", index)):
        if reference is None or not 0 < reference < np.inf:
            detail = f"the {name} price is unknown, so that nothing vouches for {price:.10g}"
            found.append(Flaw(RefusalCode.DATA_UNVERIFIED, detail))
        elif not abs(price - reference) <= max_fraction * reference:
            detail = f"the close {price:.10g} is far from the {name} price {reference:.10g}"
            found.append(Flaw(RefusalCode.DATA_OUTLIER, detail))
    return found


def book_flaws(book: Book, now: datetime, max_age: timedelta) -> list[Flaw]:
    """Return what is wrong with *book* at *now*, of the market clock."""
    found = []
    if not book.best_bid < book.best_ask:
        detail = f"bid {book.best_bid:.10g} is not below ask {book.best_ask:.10g}"
        found.append(Flaw(RefusalCode.BOOK_CROSSED, detail))
    if now - book.at > max_age:
        detail = f"the order book was updated {_age(now - book.at)} ago"
        found.append(Flaw(RefusalCode.BOOK_STALE, detail))
    return found


def _spelled(ms: np.int64) -> str:
    return str(np.int64(ms).astype(_EPOCH_MS)).replace(":00.000", "").replace("T", " ")


def _age(age: timedelta) -> str:
    seconds = age.total_seconds()
    return f"{seconds:.1f} s" if seconds < 120 else f"{seconds / 60:.1f} min"
