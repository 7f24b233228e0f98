"""Topics of the public stream that fall silent alone: found by the list, asked for anew."""

from collections.abc import Collection, Iterable
from datetime import UTC, datetime
from typing import Any

from activities.feed import Series
from activities.hearing import MOST_ASKED, TOPIC_SILENT_AFTER, Hearing
from tradewright.domain.errors import ExchangeUnreachable
from tradewright.domain.market import Timeframe

CLOSE = datetime(2025, 1, 1, 0, 1, tzinfo=UTC)
BTC, ETH = (Series(symbol, Timeframe.M1) for symbol in ("BTCUSDT", "ETHUSDT"))
HOURLY = Series("BTCUSDT", Timeframe.H1)


class ScriptedFeed:
    """Follows what it is told to; some topics say nothing."""

    def __init__(self, *wanted: Series, silent: Collection[Series] = ()) -> None:
        self.wanted = set(wanted)
        self.fault: str | None = ""
        self._silent = silent
        self.asked_anew: list[list[Series]] = []
        self.renewals = 0

    def silent_for(self, series: Series) -> float:
        return TOPIC_SILENT_AFTER + 1 if series in self._silent else 0.0

    async def resubscribe(self, series: Iterable[Series]) -> None:
        self.asked_anew.append(sorted(series))

    async def renew(self) -> None:
        self.renewals += 1


class Lists:
    """Has the candles of some symbols; of none, it is away."""

    def __init__(self, *symbols: str) -> None:
        self._symbols = symbols

    async def candle(self, symbol: str, timeframe: Timeframe, close: datetime) -> object:
        if not self._symbols:
            raise ExchangeUnreachable(f"get_kline {symbol}", "it is away")
        return object() if symbol in self._symbols else None


class LastReport:
    def __init__(self) -> None:
        self.fault: str | None = None

    def healthy(self) -> None:
        self.fault = ""

    def degraded(self, fault: str) -> None:
        self.fault = fault


def hearing_of(feed: ScriptedFeed, lists: Lists) -> tuple[Hearing, LastReport]:
    scripted: Any = feed
    listed: Any = lists
    report: Any = LastReport()
    return Hearing(scripted, listed, report), report


async def test_a_topic_that_is_silent_while_others_talk_is_asked_for_anew() -> None:
    """F2, F4: one symbol's candles have stopped, and the exchange lists them."""
    feed = ScriptedFeed(BTC, ETH, silent=[ETH])
    hearing, report = hearing_of(feed, Lists("BTCUSDT", "ETHUSDT"))

    await hearing.find_silent(CLOSE, [BTC])
    hearing.judge()

    assert (feed.asked_anew, feed.renewals) == ([[ETH]], 0)
    assert report.fault == "kline.1.ETHUSDT said nothing of a close"


async def test_a_topic_that_stays_silent_costs_the_connection() -> None:
    feed = ScriptedFeed(BTC, ETH, silent=[ETH])
    hearing, _ = hearing_of(feed, Lists("BTCUSDT", "ETHUSDT"))

    await hearing.find_silent(CLOSE, [BTC])
    await hearing.find_silent(CLOSE, [BTC])

    assert (len(feed.asked_anew), feed.renewals) == (1, 1)


async def test_a_topic_that_tells_of_a_close_again_is_trusted() -> None:
    feed = ScriptedFeed(BTC, ETH, silent=[ETH])
    hearing, report = hearing_of(feed, Lists("BTCUSDT", "ETHUSDT"))
    await hearing.find_silent(CLOSE, [BTC])

    hearing.heard(ETH)
    hearing.judge()

    assert report.fault == ""


async def test_a_topic_is_not_silent_where_the_exchange_lists_nothing() -> None:
    """A symbol that is delisted, or a list that is away, proves nothing against the stream."""
    for lists in (Lists("BTCUSDT"), Lists()):
        feed = ScriptedFeed(BTC, ETH, HOURLY, silent=[ETH, HOURLY])
        hearing, report = hearing_of(feed, lists)

        await hearing.find_silent(CLOSE, [BTC])
        hearing.judge()

        assert (feed.asked_anew, feed.renewals, report.fault) == ([], 0, "")


async def test_a_late_candle_of_a_topic_that_talks_is_only_late() -> None:
    feed = ScriptedFeed(BTC, ETH)
    hearing, report = hearing_of(feed, Lists("BTCUSDT", "ETHUSDT"))

    await hearing.find_silent(CLOSE, [BTC])
    hearing.judge()

    assert (feed.asked_anew, report.fault) == ([], "")


async def test_too_many_silent_topics_are_the_connection_s_fault() -> None:
    many = [Series(f"S{n}USDT", Timeframe.M1) for n in range(MOST_ASKED + 1)]
    feed = ScriptedFeed(BTC, *many, silent=many)
    hearing, _ = hearing_of(feed, Lists("BTCUSDT"))

    await hearing.find_silent(CLOSE, [BTC])

    assert (feed.asked_anew, feed.renewals) == ([], 1)


async def test_a_close_that_nobody_told_of_degrades_the_stream_until_one_does() -> None:
    """F4: the whole stream is silent although it is connected."""
    hearing, report = hearing_of(ScriptedFeed(BTC), Lists("BTCUSDT"))

    hearing.missed(CLOSE)
    hearing.judge()
    silent = report.fault
    hearing.heard(BTC)
    hearing.judge()

    assert silent == "it said nothing of the close at 00:01"
    assert report.fault == ""


async def test_a_stream_that_follows_nothing_owes_nothing() -> None:
    hearing, report = hearing_of(ScriptedFeed(), Lists())

    hearing.missed(CLOSE)
    hearing.judge()

    assert report.fault == ""


async def test_before_its_first_connection_nothing_is_said_of_a_stream() -> None:
    feed = ScriptedFeed(BTC)
    feed.fault = None
    hearing, report = hearing_of(feed, Lists())

    hearing.judge()
    unknown = report.fault
    feed.fault = "refused"
    hearing.judge()

    assert (unknown, report.fault) == (None, "refused")
