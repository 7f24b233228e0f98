"""What the private streams say, and to whom."""

import asyncio
import random
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.paper.conftest import Desk, eventually
from tradewright.domain.market import Instrument, Side
from tradewright.matching import (
    Change,
    Engine,
    Event,
    Market,
    OrderRequest,
    OrderType,
    Profile,
    RequestRejected,
    StopRequest,
    TpslMode,
)
from tradewright.paper.exchange import Exchange
from tradewright.paper.stream.hub import Hub
from tradewright.paper.stream.private import PrivateFeed

NOW = datetime(2022, 1, 1, tzinfo=UTC)
BTC = "BTCUSDT"
INSTRUMENT = Instrument(
    symbol=BTC,
    base_coin="BTC",
    tick_size=Decimal("0.1"),
    qty_step=Decimal("0.001"),
    min_qty=Decimal("0.001"),
    max_qty=Decimal(100),
    max_market_qty=Decimal(50),
)


class Listener:
    """A hub on which every account listens to *topics*, and which keeps what it is given."""

    def __init__(self, *topics: str) -> None:
        self.topics = topics
        self.heard: list[tuple[str, str, dict[str, Any]]] = []

    def wants(self, topic: str, account: str = "") -> bool:
        return bool(account) and topic in self.topics

    def publish(self, topic: str, message: dict[str, Any], account: str = "") -> None:
        self.heard.append((account, topic, message | {}))


@pytest.fixture
def engine() -> Engine:
    engine = Engine([Market(INSTRUMENT)])
    for number, name in enumerate(("one", "two"), start=1):
        engine.open_account(Profile(account=name, uid=number), Decimal(100_000))
    engine.begin(BTC, Decimal(50_000))
    return engine


def told(engine: Engine, events: list[Event], *topics: str) -> list[tuple[str, str, Any]]:
    hub = Listener(*topics)
    exchange = cast(Exchange, SimpleNamespace(written=SimpleNamespace(account=engine.accounts.get)))
    PrivateFeed(exchange, cast(Hub, hub)).tell(events)
    return [(account, topic, message["data"][0]) for account, topic, message in hub.heard]


def order(**changes: Any) -> OrderRequest:
    fields: dict[str, Any] = {
        "symbol": BTC,
        "side": Side.BUY,
        "order_type": OrderType.LIMIT,
        "qty": Decimal("0.1"),
        "price": Decimal(49_000),
    }
    return OrderRequest(**fields | changes)


def test_each_account_hears_of_itself_alone(engine: Engine) -> None:
    # The second sells to what the first has in the book
    events = engine.place("one", order(price=Decimal(50_000)), NOW)
    events += engine.place("two", order(side=Side.SELL, price=Decimal(50_000)), NOW)

    heard = told(engine, events, "order", "execution", "position", "wallet")

    for account, topic, row in heard:
        if topic == "execution":
            assert row["side"] == ("Buy" if account == "one" else "Sell")
    assert {account for account, topic, _ in heard if topic == "execution"} == {"one", "two"}
    sides = {a: row["side"] for a, topic, row in heard if topic == "position" and row["side"]}
    assert sides == {"one": "Buy", "two": "Sell"}


@pytest.mark.parametrize(
    "change",
    [
        lambda engine, order_id: engine.amend("one", order_id, Change(price=Decimal(48_000)), NOW),
        lambda engine, order_id: engine.cancel("one", order_id, NOW),
    ],
)
def test_the_position_is_told_at_every_change_of_an_order(
    engine: Engine, change: Callable[[Engine, str], list[Event]]
) -> None:
    placed = engine.place("one", order(), NOW)
    order_id = engine.accounts["one"].open_orders()[0].order_id

    changed = change(engine, order_id)

    for events in (placed, changed):
        heard = told(engine, events, "order", "position")
        assert [topic for _, topic, _ in heard] == ["order", "position"]
        assert heard[1][2]["size"] == "0"


def test_the_fast_stream_tells_trades_with_few_fields(engine: Engine) -> None:
    events = engine.place("one", order(order_type=OrderType.MARKET, link="a-1"), NOW)
    events += engine.fund(BTC, Decimal("0.0001"), NOW)

    heard = told(engine, events, "execution", "execution.fast")

    assert [row["execType"] for _, topic, row in heard if topic == "execution"] == [
        "Trade",
        "Funding",
    ]
    ((_, _, fast),) = [h for h in heard if h[1] == "execution.fast"]
    assert (fast["orderLinkId"], fast["isMaker"], fast["execQty"]) == ("a-1", False, "0.1")


def test_the_fast_stream_leaves_the_links_of_makers_out(engine: Engine) -> None:
    engine.place("one", order(link="a-1"), NOW)
    events = engine.glide(BTC, Decimal(48_000), NOW)

    ((_, _, fast),) = told(engine, events, "execution.fast")

    assert (fast["orderLinkId"], fast["isMaker"]) == ("", True)


def test_topics_of_a_category_say_the_same_as_those_of_all(engine: Engine) -> None:
    events = engine.place("one", order(order_type=OrderType.MARKET), NOW)

    heard = told(engine, events, "order", "order.linear", "order.spot", "dcp.future")

    rows = {topic: [row for _, t, row in heard if t == topic] for _, topic, _ in heard}
    assert rows.keys() == {"order", "order.linear"}
    assert rows["order"] == rows["order.linear"]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_fields_and_numbers_are_spelled_the_same_whatever_happens(
    engine: Engine, seed: int
) -> None:
    chance = random.Random(seed)
    names: dict[str, set[tuple[str, ...]]] = {}

    for _ in range(300):
        try:
            events = step(engine, chance)
        except RequestRejected:
            continue
        for _, topic, row in told(engine, events, "order", "execution", "position", "wallet"):
            names.setdefault(topic, set()).add(tuple(sorted(row)))
            assert [v for v in row.values() if isinstance(v, str) and ODD_NUMBER.match(v)] == []

    assert {topic: len(variants) for topic, variants in names.items()} == {
        "order": 1,
        "execution": 1,
        "position": 1,
        "wallet": 1,
    }


ODD_NUMBER = re.compile(r"-?[\d.]+E[-+]?\d+$|-0$|\d*\.\d*0$|\.|\d+\.$", re.IGNORECASE)


def step(engine: Engine, chance: random.Random) -> list[Event]:
    """Do something to an account or to the price."""
    account = chance.choice(("one", "two"))
    price = Decimal(chance.randrange(490_000, 510_000)) / 10
    match chance.randrange(6):
        case 0:
            return engine.glide(BTC, price, NOW)
        case 1:
            return engine.fund(BTC, Decimal(chance.randrange(-5, 6)).scaleb(-7), NOW)
        case 2:
            return engine.set_leverage(account, BTC, Decimal(chance.choice((5, 20, 100))), NOW)
        case 3:
            size = Decimal(chance.randrange(1, 9)).scaleb(-3)
            stop = StopRequest(tpsl_mode=TpslMode.PARTIAL, stop_loss=price, sl_size=size)
            return engine.set_stops(account, BTC, stop, NOW)
        case _:
            return engine.place(
                account,
                order(
                    side=chance.choice(list(Side)),
                    order_type=chance.choice(list(OrderType)),
                    qty=Decimal(chance.randrange(1, 900)).scaleb(-3),
                    price=price,
                    reduce_only=chance.random() < 0.2,
                ),
                NOW,
            )


async def test_times_of_messages_are_of_the_wall_and_times_in_them_of_the_market(
    desk: Desk,
) -> None:
    stream = await desk.private()

    await desk.buy()

    await eventually(lambda: stream.of("wallet"))
    for message in stream.messages:
        assert abs(message["creationTime"] / 1000 - time.time()) < 60
    (execution,) = stream.rows("execution")
    assert int(execution["execTime"]) == desk.paper.exchange.clock.now_ms()
    assert len({m["id"] for m in stream.messages}) == len(stream.messages)


async def test_nothing_is_told_that_is_not_durable_yet(desk: Desk) -> None:
    exchange = desk.paper.exchange
    listener = Listener("position", "wallet")
    exchange.listeners.append(PrivateFeed(exchange, cast(Hub, listener)).tell)
    rests = order(price=Decimal(40_000))
    fills = order(order_type=OrderType.MARKET, price=None)

    for request in (rests, fills, fills):
        # Each one in the turn of the loop in which the one before it is written
        asyncio.get_running_loop().call_soon(exchange.place, "main", request)
        await asyncio.sleep(0)
    await exchange.told()

    rows = [(topic, message["data"][0]) for _, topic, message in listener.heard]
    wallets = [Decimal(row["totalWalletBalance"]) for topic, row in rows if topic == "wallet"]
    assert [row["size"] for topic, row in rows if topic == "position"] == ["0", "0.1", "0.2"]
    assert len(set(wallets)) == 2
