"""The public streams, told by a market that the test plays."""

import asyncio
import json
from collections import Counter
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.paper.conftest import eventually
from tradewright.domain.market import Side
from tradewright.matching import Market
from tradewright.paper.exchange import Exchange
from tradewright.paper.market.candle import MINUTE_MS, Bar, Series
from tradewright.paper.market.listing import LISTED
from tradewright.paper.quote import Quote
from tradewright.paper.stream.hub import Hub
from tradewright.paper.stream.public import PublicFeed

SAMPLES = Path(__file__).parents[3] / "shared" / "facts" / "bybit" / "samples"
BTC = "BTCUSDT"
NOW_MS = 1_700_006_400_000
Sizes = dict[int, int]
Message = dict[str, Any]


class ScriptedEngine:
    """Prices and a book that the test writes."""

    def __init__(self) -> None:
        price = Decimal(50_000)
        self.last, self.mark, self.index = {BTC: price}, {BTC: price}, {BTC: price}
        self.bids: Sizes = {499_999: 3}
        self.asks: Sizes = {500_001: 4}

    def levels(
        self, symbol: str, depth: int
    ) -> tuple[list[tuple[Decimal, Decimal]], list[tuple[Decimal, Decimal]]]:
        assert symbol == BTC
        bids = sorted(self.bids.items(), reverse=True)
        sides = [
            [(Decimal(p) / 10, Decimal(q)) for p, q in levels[:depth]]
            for levels in (bids, sorted(self.asks.items()))
        ]
        return sides[0], sides[1]

    def price_limit(self, symbol: str) -> tuple[Decimal, Decimal]:
        return self.mark[symbol] * 2, self.mark[symbol] / 2


class Listeners(Hub):
    """Collects what is published, and has subscribers without connections."""

    def __init__(self) -> None:
        super().__init__()
        self.subscribed: Counter[str] = Counter()
        self.told: list[Message] = []

    def wants(self, topic: str, account: str | None = None) -> bool:
        return self.subscribed[topic] > 0

    def publish(self, topic: str, message: Message, account: str | None = None) -> None:
        assert message["topic"] == topic
        self.told.append(message)


class Stage:
    """A feed, and all that it needs of an exchange."""

    def __init__(self, speed: float | str = "lockstep") -> None:
        self.engine = ScriptedEngine()
        self.series = Series(1)
        self.quote = Quote(Market(LISTED[BTC].instrument), self.series)
        self.hub = Listeners()
        exchange = SimpleNamespace(
            engine=self.engine,
            quotes={BTC: self.quote},
            settings=SimpleNamespace(speed=speed, is_lockstep=speed == "lockstep"),
            clock=SimpleNamespace(now_ms=lambda: NOW_MS),
            barriers=SimpleNamespace(standing=None),
        )
        self.feed = PublicFeed(cast(Exchange, exchange), self.hub)

    def subscribe(self, topic: str) -> list[Message]:
        self.hub.subscribed[topic] += 1
        return self.feed.greeting(topic)

    def unsubscribe(self, topic: str) -> None:
        self.hub.subscribed[topic] -= 1

    def of(self, topic: str) -> list[Message]:
        return [m for m in self.hub.told if m["topic"] == topic]

    def take(self) -> list[Message]:
        told, self.hub.told = self.hub.told, []
        return told

    def book(self, depth: int) -> dict[str, dict[str, str]]:
        """Return the book that REST would show."""
        sides = self.engine.levels(BTC, depth)
        return {
            name: {f"{p:.2f}": f"{q:.3f}" for p, q in levels}
            for name, levels in zip("ba", sides, strict=True)
        }


class Follower:
    """A client that keeps a book as pybit does, and checks what it can check."""

    def __init__(self, stage: Stage, depth: int) -> None:
        self.topic = f"orderbook.{depth}.{BTC}"
        self.book: dict[str, dict[str, str]] = {}
        self.u = self.seq = 0
        for message in stage.subscribe(self.topic):
            self.take(message)

    def take(self, message: Message) -> None:
        if message["topic"] != self.topic:
            return
        data = message["data"]
        if message["type"] == "snapshot":
            self.book = {side: dict(data[side]) for side in "ba"}
        else:
            assert data["u"] == self.u + 1
            assert data["seq"] > self.seq
            for side in "ba":
                for price, size in data[side]:
                    if size == "0":
                        del self.book[side][price]
                    else:
                        self.book[side][price] = size
        self.u, self.seq = data["u"], data["seq"]


SIZES = st.dictionaries(st.integers(1, 80), st.integers(1, 4), max_size=70)
BOOKS = st.lists(st.tuples(SIZES, SIZES), min_size=1, max_size=12)


@given(BOOKS, st.sampled_from([1, 50, 200, 1000]), st.integers(0, 11))
def test_deltas_applied_are_the_book_of_rest(
    books: list[tuple[Sizes, Sizes]], depth: int, joins: int
) -> None:
    async def play() -> None:
        stage = Stage()
        followers = [Follower(stage, depth)]
        for number, (bids, asks) in enumerate(books):
            stage.engine.bids = bids
            stage.engine.asks = {price + 100: size for price, size in asks.items()}
            if number == joins:
                # Before the others are told of this book
                followers.append(Follower(stage, depth))
            stage.feed.market(BTC)
            for message in stage.take():
                for follower in followers:
                    follower.take(message)
            for follower in followers:
                assert follower.book == stage.book(depth)

    asyncio.run(play())


async def test_nothing_is_told_of_a_book_that_stays() -> None:
    stage = Stage()
    stage.subscribe(f"orderbook.50.{BTC}")

    stage.feed.market(BTC)

    assert stage.take() == []


async def test_the_first_snapshot_says_that_the_service_has_started() -> None:
    stage = Stage()

    (snapshot,) = stage.subscribe(f"orderbook.50.{BTC}")

    assert (snapshot["type"], snapshot["data"]["u"]) == ("snapshot", 1)


async def test_a_book_that_nobody_followed_begins_anew_with_a_snapshot() -> None:
    stage = Stage()
    topic = f"orderbook.50.{BTC}"
    stage.subscribe(topic)
    stage.unsubscribe(topic)
    stage.engine.bids = {499_990: 7}
    stage.feed.market(BTC)

    (snapshot,) = stage.subscribe(topic)

    assert snapshot["data"]["b"] == [("49999.00", "7.000")]
    assert snapshot["data"]["u"] == 2
    assert stage.take() == []


async def test_the_best_level_is_told_again_after_a_while_without_change() -> None:
    stage = Stage()
    stage.feed.idle_s = 0.01
    topic = f"orderbook.1.{BTC}"
    (snapshot,) = stage.subscribe(topic)

    await eventually(lambda: len(stage.of(topic)) >= 3)

    ids = {m["data"]["u"] for m in [snapshot, *stage.of(topic)]}
    assert ids == {snapshot["data"]["u"]}
    assert {m["type"] for m in stage.of(topic)} == {"snapshot"}
    stage.engine.bids = {499_990: 7}
    stage.feed.market(BTC)
    assert stage.take()[-1]["data"]["u"] == snapshot["data"]["u"] + 1
    stage.unsubscribe(topic)
    await eventually(lambda: not stage.feed.idle)


async def test_a_ticker_tells_what_changed_to_those_who_were_there_before() -> None:
    stage = Stage()
    topic = f"tickers.{BTC}"
    (first,) = stage.subscribe(topic)
    stage.engine.last[BTC] = Decimal(50_100)

    (second,) = stage.subscribe(topic)
    stage.feed.market(BTC)

    (delta,) = stage.take()
    assert first["data"] == second["data"]
    assert delta["type"] == "delta"
    assert delta["data"]["lastPrice"] == "50100.00"
    assert "markPrice" not in delta["data"]
    assert delta["cs"] > second["cs"] > first["cs"]


async def test_a_best_price_is_told_with_its_size() -> None:
    stage = Stage()
    stage.engine.bids = {499_990: 7}
    stage.subscribe(f"tickers.{BTC}")
    stage.engine.bids = {499_980: 7}

    stage.feed.market(BTC)

    (delta,) = stage.take()
    assert (delta["data"]["bid1Price"], delta["data"]["bid1Size"]) == ("49998.00", "7.000")
    assert "ask1Price" not in delta["data"]


async def test_by_the_clock_a_topic_is_told_at_its_pace_and_ends_at_the_newest() -> None:
    stage = Stage(speed=1.0)
    follower = Follower(stage, 50)
    ticker = f"tickers.{BTC}"
    stage.subscribe(ticker)

    for number in range(500):
        stage.engine.bids = {499_000 + number: 5}
        stage.engine.last[BTC] = Decimal(49_900 + number)
        stage.feed.market(BTC)
    at_once = len(stage.hub.told)
    await eventually(lambda: len(stage.of(ticker)) == 2)

    assert at_once == 2
    assert len(stage.of(follower.topic)) == 2
    assert stage.of(ticker)[-1]["data"]["lastPrice"] == "50399.00"
    for message in stage.take():
        follower.take(message)
    assert follower.book == stage.book(50)


async def test_trades_travel_together_but_not_too_many_of_them() -> None:
    stage = Stage(speed=1.0)
    topic = f"publicTrade.{BTC}"
    stage.subscribe(topic)

    for number in range(2500):
        stage.feed.trade(BTC, Side.BUY, Decimal(50_000 + number), Decimal("0.1"))
    await eventually(lambda: len(stage.of(topic)) == 3)

    messages = stage.of(topic)
    assert [len(m["data"]) for m in messages] == [1024, 1024, 452]
    rows = [row for m in messages for row in m["data"]]
    assert [row["p"] for row in rows] == [f"{50_000 + n}.00" for n in range(2500)]
    assert [row["seq"] for row in rows] == sorted({row["seq"] for row in rows})
    assert [row["i"] for row in rows[-3:]] == [p.trade_id(BTC) for p in stage.quote.prints][-3:]


async def test_trades_are_told_before_the_book_that_they_leave() -> None:
    stage = Stage()
    stage.subscribe(f"publicTrade.{BTC}")
    stage.subscribe(f"orderbook.50.{BTC}")

    stage.feed.trade(BTC, Side.SELL, Decimal(49_999), Decimal(3))
    stage.engine.bids = {}
    stage.feed.market(BTC)

    assert [m["topic"].split(".")[0] for m in stage.take()] == ["publicTrade", "orderbook"]


async def test_trades_that_nobody_follows_are_kept_for_the_next_read() -> None:
    stage = Stage()

    stage.feed.trade(BTC, Side.SELL, Decimal(49_999), Decimal(3))
    stage.feed.trade(BTC, Side.SELL, Decimal(49_998), Decimal(0))

    (printed,) = stage.quote.prints
    assert printed[2:5] == (Side.SELL, Decimal(49_999), Decimal(3))
    assert stage.take() == []


async def test_liquidations_are_told_in_batches() -> None:
    stage = Stage(speed=1.0)
    topic = f"allLiquidation.{BTC}"
    stage.subscribe(topic)

    for price in (49_000, 48_900):
        stage.feed.liquidation(BTC, Side.BUY, Decimal("0.5"), Decimal(price))
    await eventually(lambda: stage.of(topic))

    (message,) = stage.of(topic)
    assert message["type"] == "snapshot"
    assert message["data"] == [
        {"T": NOW_MS, "s": BTC, "S": "Buy", "v": "0.500", "p": "49000.00"},
        {"T": NOW_MS, "s": BTC, "S": "Buy", "v": "0.500", "p": "48900.00"},
    ]


async def test_price_limits_are_told_when_they_move() -> None:
    stage = Stage()
    (greeting,) = stage.subscribe(f"priceLimit.{BTC}")

    stage.feed.market(BTC)
    stage.engine.mark[BTC] = Decimal(50_100)
    stage.feed.market(BTC)

    (message,) = stage.take()
    assert greeting.keys() == message.keys() == {"topic", "ts", "data"}
    assert greeting["data"] == {"symbol": BTC, "buyLmt": "100000.00", "sellLmt": "25000.00"}
    assert message["data"] == {"symbol": BTC, "buyLmt": "100200.00", "sellLmt": "25050.00"}


async def test_the_forming_candle_is_told_as_it_changes() -> None:
    stage = Stage(speed=1.0)
    topic = f"kline.1.{BTC}"
    stage.subscribe(topic)

    stage.series.trade(NOW_MS, Decimal(50_000), Decimal(1))
    stage.feed.market(BTC)
    stage.feed.market(BTC)

    (message,) = stage.take()
    (row,) = message["data"]
    assert (row["confirm"], row["start"], row["end"]) == (False, NOW_MS, NOW_MS + MINUTE_MS - 1)


async def test_a_candle_that_closed_is_told_at_once() -> None:
    stage = Stage()
    stage.subscribe(f"kline.5.{BTC}")

    stage.feed.candle(BTC, "5", a_bar(), confirm=True)
    stage.feed.candle(BTC, "1", a_bar(), confirm=True)

    (message,) = stage.take()
    (row,) = message["data"]
    assert message["topic"] == f"kline.5.{BTC}"
    assert (row["confirm"], row["volume"], row["turnover"]) == (True, "2", "100000")


async def test_the_state_of_the_system_goes_to_those_who_ask() -> None:
    stage = Stage()
    stage.feed.status([{"id": "1"}])
    stage.subscribe("system.status")
    stage.feed.status([{"id": "2"}])

    (message,) = stage.take()

    assert message["data"] == [{"id": "2"}]


@pytest.mark.parametrize(
    ("topic", "is_known"),
    [
        (f"orderbook.1000.{BTC}", True),
        (f"orderbook.500.{BTC}", False),
        (f"kline.M.{BTC}", True),
        (f"kline.1m.{BTC}", False),
        (f"publicTrade.{BTC}", True),
        ("publicTrade.NOPEUSDT", False),
        (f"allLiquidation.{BTC}", True),
        (f"liquidation.{BTC}", True),
        (f"orderbook.rpi.{BTC}", True),
        ("insurance.USDT", True),
        ("insurance.EUR", False),
        (f"priceLimit.{BTC}", True),
        (f"tickers.{BTC}", True),
        (f"tickers.1.{BTC}", False),
        ("tickers", False),
        ("", False),
        ("...", False),
    ],
)
def test_topics_are_known_by_their_whole_name(topic: str, is_known: bool) -> None:
    assert Stage().feed.is_known(topic) is is_known


def test_a_book_nobody_follows_costs_next_to_nothing() -> None:
    stage = Stage(speed=1.0)

    class Unread(ScriptedEngine):
        def levels(self, symbol: str, depth: int) -> Any:
            raise AssertionError("a book was built for nobody")

    stage.engine.levels = Unread().levels  # type: ignore[method-assign]

    stage.feed.market(BTC)

    assert stage.take() == []


def shape(value: Any) -> Any:
    """Return the names and JSON types in *value*; a list is like its first item."""
    if isinstance(value, dict):
        return {name: shape(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [shape(item) for item in value[:1]]
    return type(value)


def a_bar() -> Bar:
    price = Decimal(50_000)
    return Bar(NOW_MS, price, price, price, price, Decimal(2), 2 * price)


@pytest.mark.skipif(not SAMPLES.exists(), reason="Bybit's samples are not on this machine")
@pytest.mark.parametrize(
    ("topic", "sample"),
    [
        (f"allLiquidation.{BTC}", "all-liquidation_0"),
        (f"kline.5.{BTC}", "kline_0"),
        (f"orderbook.rpi.{BTC}", "orderbook-rpi_2"),
        (f"priceLimit.{BTC}", "order-price-limit_1"),
        ("insurance.USDT", "insurance-pool_1"),
    ],
)
async def test_messages_are_like_those_of_the_documentation(topic: str, sample: str) -> None:
    stage = Stage()
    told = stage.subscribe(topic)
    stage.feed.candle(BTC, "5", a_bar(), confirm=True)
    stage.feed.liquidation(BTC, Side.SELL, Decimal(1), Decimal(51_000))

    await eventually(lambda: told or stage.of(topic))

    message = json.loads(json.dumps((told or stage.of(topic))[0]))
    assert shape(message) == shape(json.loads((SAMPLES / f"WS_public_{sample}.json").read_text()))
