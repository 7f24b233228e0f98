"""Which public topics there are."""

from typing import TYPE_CHECKING

from tradewright.paper.stream.book import PACES_S, RPI, BookTopic, RpiBookTopic
from tradewright.paper.stream.topic import KlineTopic, PriceLimitTopic, TickerTopic, Topic

if TYPE_CHECKING:
    from tradewright.paper.exchange import Exchange

INSURANCE = frozenset({"insurance.USDT", "insurance.USDC", "insurance.inverse"})
_OF_EVENTS = ("publicTrade", "allLiquidation", "liquidation")


def is_of_events(name: str, exchange: "Exchange") -> bool:
    """Return whether *name* is a topic that tells single events, not what something has come to."""
    kind, _, symbol = name.partition(".")
    return kind in _OF_EVENTS and symbol in exchange.quotes


def topic_of(name: str, exchange: "Exchange") -> Topic | None:
    """Return the topic *name*; None if it does not follow the market, or is none here."""
    kind, _, rest = name.partition(".")
    detail, _, symbol = rest.rpartition(".")
    quote = exchange.quotes.get(symbol)
    if quote is None:
        return None
    if kind == "orderbook" and detail in PACES_S:
        made = RpiBookTopic if detail == RPI else BookTopic
        return made(name, exchange, quote, detail)
    if kind == "kline" and detail in quote.series.intervals:
        return KlineTopic(name, exchange, quote, detail)
    if kind == "tickers" and not detail:
        return TickerTopic(name, exchange, quote)
    if kind == "priceLimit" and not detail:
        return PriceLimitTopic(name, exchange, quote)
    return None
