"""What a preset asks of Bybit while it runs: requests and topics, reckoned from what it declares.

The requests of its trades, and those that the account makes in any case, come on top; what
several presets look at is fetched once, so that they cost less together.
"""

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from math import ceil
from typing import Final

from pydantic import Field

from activities.candles import PAGE
from activities.endpoint import ADDRESS_LIMIT, ADDRESS_PERIOD
from activities.history import PAGE as HISTORY_PAGE
from activities.ticker import WHOLE_FROM
from tradewright.domain.market import Timeframe, Value
from tradewright.plugin import Needs
from tradewright.preset import Preset

MINUTE: Final = timedelta(minutes=1)
HOUR: Final = timedelta(hours=1)
EIGHT_HOURS: Final = timedelta(hours=8)
ALLOWED: Final = Decimal(ADDRESS_LIMIT) * 60 / Decimal(ADDRESS_PERIOD)
"""Requests per minute that Bybit takes from one address."""
LISTS: Final = 2
"""Requests that a universe is chosen by: what is listed, and how it trades."""


class Requests(Value):
    """Of one kind."""

    what: str
    at_start: int = Field(default=0, description="At most, once.")
    per_minute: Decimal = Field(default=Decimal(0), description="On average, afterwards.")


class Cost(Value):
    symbols: int
    requests: tuple[Requests, ...]
    topics: tuple[str, ...] = Field(description="Of the public stream; {symbol} for a universe.")

    @property
    def at_start(self) -> int:
        return sum(each.at_start for each in self.requests)

    @property
    def per_minute(self) -> Decimal:
        return sum((each.per_minute for each in self.requests), Decimal(0))

    @property
    def share(self) -> Decimal:
        """Return what part of the requests that Bybit allows one address it takes."""
        return self.per_minute / ALLOWED


def cost(preset: Preset, needs: Needs) -> Cost:
    """Return what *preset* costs whose strategy has *needs*."""
    universe = preset.market.universe
    symbols = list(preset.market.symbols) if universe is None else ["{symbol}"]
    count = len(symbols) if universe is None else universe.top
    found = [
        Requests(what="contract terms", at_start=count),
        *_candles(preset, needs, symbols, count),
        *_histories(preset, needs, count),
        _tickers(preset, count),
    ]
    if universe is not None:
        often = Decimal(str(MINUTE / universe.refresh))
        found.append(Requests(what="universe", at_start=LISTS, per_minute=LISTS * often))
    return Cost(
        symbols=count,
        requests=tuple(each for each in found if each.at_start or each.per_minute),
        topics=tuple(dict.fromkeys(_topics(preset, symbols))),
    )


def _candles(preset: Preset, needs: Needs, symbols: list[str], count: int) -> Iterator[Requests]:
    trigger = preset.trigger.timeframe
    yield Requests(
        what=f"candles {trigger}, then from the stream", at_start=count * _pages(needs.candles)
    )
    most = Counter[tuple[str, Timeframe]]()
    for need in needs.others.values():
        key = need.symbol, need.timeframe or trigger
        most[key] = max(most[key], need.candles)
    for (symbol, timeframe), candles in sorted(most.items()):
        if (symbol, timeframe) == ("", trigger):
            continue
        series = 1 if symbol else count
        streamed = timeframe in (trigger, Timeframe.M1) and (not symbol or symbol in symbols)
        name = f"candles {timeframe}" + (f" of {symbol}" if symbol else "")
        yield Requests(
            what=f"{name}, then from the stream" if streamed else name,
            at_start=series * _pages(candles),
            per_minute=Decimal(0) if streamed else series * _per_minute(timeframe.length),
        )


def _histories(preset: Preset, needs: Needs, count: int) -> Iterator[Requests]:
    length = preset.trigger.timeframe.length
    span = 2 * needs.candles * length
    if "mark_price" in needs.series:
        yield Requests(
            what="mark prices",
            at_start=count * _pages(needs.candles),
            per_minute=count * _per_minute(length),
        )
    if "funding_rate" in needs.series:
        yield Requests(
            what="funding rates",
            at_start=count * ceil((span / EIGHT_HOURS + 3) / HISTORY_PAGE),
            per_minute=count * _per_minute(HOUR),
        )
    if "open_interest" in needs.series:
        told = max(length, timedelta(minutes=5))
        yield Requests(
            what="open interest",
            at_start=count * ceil((span / told + timedelta(days=1) / told) / HISTORY_PAGE),
            per_minute=count * _per_minute(told),
        )


def _tickers(preset: Preset, count: int) -> Requests:
    """Return the reads that decisions are checked and guarded by; many symbols share one."""
    reads = 1 if count >= WHOLE_FROM else count
    if preset.trigger.on == "candle":
        often = _per_minute(preset.trigger.timeframe.length)
        return Requests(what="tickers", per_minute=reads * often)
    often = _per_minute(preset.trigger.at_most_every)
    return Requests(what="tickers, at most, while it triggers", per_minute=count * often)


def _topics(preset: Preset, symbols: list[str]) -> Iterator[str]:
    for symbol in symbols:
        if preset.trigger.on == "order_book":
            yield f"orderbook.{preset.trigger.depth}.{symbol}"
        for timeframe in (preset.trigger.timeframe, Timeframe.M1):
            yield f"kline.{timeframe.interval}.{symbol}"


def _pages(candles: int) -> int:
    # A window has up to twice as many as are needed
    return ceil(2 * candles / PAGE)


def _per_minute(length: timedelta) -> Decimal:
    return Decimal(str(MINUTE / length))
