"""The streams, by pybit and by bare frames."""

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect

from tests.paper.conftest import START, Desk, Open, WriteCandles, eventually, signed_auth

FLAT = (50_000, 50_000, 50_000, 50_000)
RISE = (50_000, 50_200, 49_900, 50_100)
START_MS = int(START.timestamp() * 1000)


async def ask(socket: ClientConnection, frame: dict[str, Any]) -> dict[str, Any]:
    await socket.send(json.dumps(frame))
    return dict(json.loads(await asyncio.wait_for(socket.recv(), 30)))


@pytest.fixture
async def private(desk: Desk) -> AsyncIterator[ClientConnection]:
    async with connect(f"{desk.paper.stream_url}/private", proxy=None) as socket:
        yield socket


@pytest.fixture
async def public(desk: Desk) -> AsyncIterator[ClientConnection]:
    async with connect(f"{desk.paper.stream_url}/public/linear", proxy=None) as socket:
        yield socket


async def test_each_side_answers_a_ping_in_its_own_way(
    private: ClientConnection, public: ClientConnection
) -> None:
    pong = await ask(private, {"op": "ping", "req_id": "7"})
    assert (pong["op"], pong["req_id"]) == ("pong", "7")
    assert abs(int(pong["args"][0]) - time.time() * 1000) < 5000

    pong = await ask(public, {"op": "ping"})
    assert (pong["op"], pong["ret_msg"], pong["success"]) == ("ping", "pong", True)
    assert pong["req_id"] == ""


async def test_subscribing_is_acknowledged_late_enough_for_pybit(
    public: ClientConnection,
) -> None:
    begun = time.monotonic()

    ack = await ask(public, {"op": "subscribe", "req_id": "x", "args": ["publicTrade.BTCUSDT"]})

    assert time.monotonic() - begun >= 0.03
    assert {k: ack[k] for k in ("success", "ret_msg", "op", "req_id")} == {
        "success": True,
        "ret_msg": "",
        "op": "subscribe",
        "req_id": "x",
    }


@pytest.mark.parametrize(
    "topic",
    [
        "kline.7.BTCUSDT",
        "kline.1.NOPEUSDT",
        "orderbook.3.BTCUSDT",
        "tickers",
        "nothing.BTCUSDT",
        "order",
    ],
)
async def test_a_topic_that_is_not_there_is_refused(public: ClientConnection, topic: str) -> None:
    ack = await ask(public, {"op": "subscribe", "args": [topic]})

    assert not ack["success"]
    assert ack["ret_msg"].endswith(f"topic:{topic}")


async def test_the_private_side_needs_a_good_signature_in_time(
    private: ClientConnection,
) -> None:
    subscribe = {"op": "subscribe", "args": ["order"]}

    assert not (await ask(private, subscribe))["success"]
    assert not (await ask(private, signed_auth(secret="wrong")))["success"]
    assert not (await ask(private, signed_auth(age_ms=60_000)))["success"]
    assert not (await ask(private, subscribe))["success"]
    assert (await ask(private, signed_auth()))["success"]
    assert (await ask(private, subscribe))["success"]


async def test_frames_are_answered_in_order(private: ClientConnection) -> None:
    # pybit and ccxt subscribe without waiting for the answer to auth
    await private.send(json.dumps(signed_auth()))
    await private.send(json.dumps({"op": "subscribe", "req_id": 1, "args": ["order", "wallet"]}))

    answers = [json.loads(await asyncio.wait_for(private.recv(), 30)) for _ in range(2)]

    assert [a["op"] for a in answers] == ["auth", "subscribe"]
    assert all(a["success"] for a in answers)


async def test_a_frame_that_is_no_json_does_not_end_the_connection(
    public: ClientConnection,
) -> None:
    await public.send("{")

    assert not json.loads(await asyncio.wait_for(public.recv(), 30))["success"]
    assert (await ask(public, {"op": "ping"}))["ret_msg"] == "pong"


async def test_nothing_old_is_pushed_on_a_private_subscription(
    desk: Desk, private: ClientConnection
) -> None:
    await desk.buy()
    await ask(private, signed_auth())

    ack = await ask(private, {"op": "subscribe", "args": ["order", "position"]})
    pong = await ask(private, {"op": "ping"})

    assert (ack["op"], pong["op"]) == ("subscribe", "pong")


async def test_a_closed_candle_is_pushed_once_per_timeframe(
    open_desk: Open, write_candles: WriteCandles
) -> None:
    desk = await open_desk(market=write_candles(*[FLAT] * 3, RISE, *[FLAT] * 2))
    stream = await desk.public(("kline_stream", (1, "BTCUSDT")), ("kline_stream", (3, "BTCUSDT")))

    await desk.step(6)
    await eventually(lambda: len(stream.messages) >= 8)

    assert all(row["confirm"] for m in stream.messages for row in m["data"])
    ones = [row["start"] for row in stream.rows("kline.1.BTCUSDT")]
    assert ones == [START_MS + n * 60_000 for n in range(6)]
    three = stream.rows("kline.3.BTCUSDT")[1]
    assert (three["start"], three["end"]) == (START_MS + 180_000, START_MS + 359_999)
    assert (three["high"], three["low"], three["volume"]) == ("50200", "49900", "31.5")


async def test_who_reconnects_within_a_close_is_told_what_closed(
    open_desk: Open, write_candles: WriteCandles
) -> None:
    desk = await open_desk(market=write_candles(FLAT, RISE))
    await desk.step(2)

    stream = await desk.public(("kline_stream", (1, "BTCUSDT")))
    await eventually(lambda: stream.messages)

    (row,) = stream.rows("kline.1.BTCUSDT")
    assert (row["start"], row["confirm"]) == (START_MS + 60_000, True)


async def test_ticker_and_book_are_a_snapshot_and_what_changes(
    open_desk: Open, write_candles: WriteCandles
) -> None:
    desk = await open_desk(market=write_candles(FLAT, RISE))
    await desk.step()
    stream = await desk.public(
        ("ticker_stream", ("BTCUSDT",)),
        ("orderbook_stream", (50, "BTCUSDT")),
        ("orderbook_stream", (1, "BTCUSDT")),
        ("trade_stream", ("BTCUSDT",)),
    )

    await eventually(lambda: len(stream.messages) >= 3)
    await desk.step()
    await eventually(lambda: len(stream.rows("publicTrade.BTCUSDT")) >= 4)
    await eventually(lambda: len(stream.of("orderbook.1.BTCUSDT")) >= 2)
    book = await desk.call("get_orderbook", symbol="BTCUSDT", limit=50)

    prices = [row["p"] for row in stream.rows("publicTrade.BTCUSDT")]
    assert prices == ["50000.00", "49900.00", "50200.00", "50100.00"]
    assert stream.of("tickers.BTCUSDT")[-1]["data"]["lastPrice"] == "50100.00"
    # pybit keeps the whole book by adding up the deltas
    kept = stream.of("orderbook.50.BTCUSDT")[-1]["data"]
    assert sorted(kept["b"]) == sorted(book["b"])
    assert sorted(kept["a"]) == sorted(book["a"])
    top = stream.of("orderbook.1.BTCUSDT")[-1]["data"]
    assert (top["b"], top["a"]) == (book["b"][:1], book["a"][:1])


async def test_a_market_by_the_clock_moves_by_itself(open_desk: Open) -> None:
    desk = await open_desk(speed=3000, symbols=("BTCUSDT", "ETHUSDT"), history=50)
    stream = await desk.public(("kline_stream", (1, "ETHUSDT")), ("ticker_stream", ("BTCUSDT",)))

    await eventually(
        lambda: (
            sum(row["confirm"] for row in stream.rows("kline.1.ETHUSDT")) >= 3
            and len(stream.of("tickers.BTCUSDT")) > 10
        )
    )

    rows = stream.rows("kline.1.ETHUSDT")
    closed = [row["start"] for row in rows if row["confirm"]]
    assert closed == list(range(closed[0], closed[0] + 60_000 * len(closed), 60_000))
    assert any(not row["confirm"] for row in rows)
    clock = await desk.get("/paper/clock")
    assert (clock["lockstep"], clock["speed"]) == (False, 3000)


async def test_a_liquidated_position_is_told_to_all(
    open_desk: Open, write_candles: WriteCandles
) -> None:
    crash = (50_000, 50_000, 40_000, 40_000)
    desk = await open_desk(market=write_candles(FLAT, FLAT, crash), cash=1_000)
    await desk.step()
    await desk.call("set_leverage", symbol="BTCUSDT", buyLeverage="20", sellLeverage="20")
    await desk.buy("0.3")
    stream = await desk.public(
        ("all_liquidation_stream", ("BTCUSDT",)), ("trade_stream", ("BTCUSDT",))
    )

    await desk.step(2)
    await eventually(lambda: stream.rows("allLiquidation.BTCUSDT"))

    (row,) = stream.rows("allLiquidation.BTCUSDT")
    assert (row["s"], row["S"], row["v"]) == ("BTCUSDT", "Buy", "0.300")
    assert 40_000 < float(row["p"]) < 50_000
    assert (await desk.position())["size"] == "0"


class KeptBooks:
    """What a client makes of snapshots and deltas; it fails where a sequence has a gap."""

    def __init__(self) -> None:
        self.sides: dict[str, dict[str, dict[str, str]]] = {}
        self._ids: dict[str, int] = {}

    async def follow(self, socket: ClientConnection) -> None:
        async for text in socket:
            message = json.loads(text)
            if "data" in message:
                self._take(message["topic"], message["type"], message["data"])

    def show(self, topic: str, sides: dict[str, dict[str, str]]) -> bool:
        return self.sides.get(topic) == sides

    def _take(self, topic: str, kind: str, data: dict[str, Any]) -> None:
        if kind == "snapshot":
            self.sides[topic] = {side: dict(data[side]) for side in "ba"}
        else:
            assert data["u"] == self._ids[topic] + 1
            for side in "ba":
                for price, size in data[side]:
                    if size == "0":
                        del self.sides[topic][side][price]
                    else:
                        self.sides[topic][side][price] = size
        self._ids[topic] = data["u"]


def changes(
    best: int, step: int, chance: random.Random, count: int
) -> list[tuple[Decimal, Decimal]]:
    """Return levels near *best*; some of them are gone."""
    prices = [best + step * chance.randrange(300) for _ in range(count)]
    return [(Decimal(price) / 10, Decimal(chance.choice([0, 0, 1, 2, 3]))) for price in prices]


@pytest.mark.parametrize("speed", ["lockstep", 0.001])
async def test_kept_books_are_the_book_of_rest(open_desk: Open, speed: str | float) -> None:
    desk = await open_desk(symbols=("BTCUSDT",), speed=speed)
    exchange, chance = desk.paper.exchange, random.Random(1)
    depths = (1, 50, 200, 1000)
    topics = {depth: f"orderbook.{depth}.BTCUSDT" for depth in depths}
    books = KeptBooks()

    async with connect(f"{desk.paper.stream_url}/public/linear", proxy=None) as socket:
        await ask(socket, {"op": "subscribe", "args": list(topics.values())})
        following = asyncio.create_task(books.follow(socket))
        for number in range(400):
            bids, asks = changes(499_999, -1, chance, 9), changes(500_001, 1, chance, 9)
            exchange.engine.depth("BTCUSDT", bids, asks, exchange.now(), snapshot=number % 97 == 0)
            exchange.feed.market("BTCUSDT")
            if number % 10 == 0:
                await asyncio.sleep(0)
        for depth in depths:
            rest = await desk.call("get_orderbook", symbol="BTCUSDT", limit=depth)
            expected = {side: dict(rest[side]) for side in "ba"}
            await eventually(partial(books.show, topics[depth], expected))
            assert list(expected["b"])[:1] == list(books.sides[topics[1]]["b"])
        assert not following.done()
        following.cancel()


async def test_pybit_hears_what_few_listen_to(open_desk: Open, write_candles: WriteCandles) -> None:
    desk = await open_desk(market=write_candles(FLAT, RISE, FLAT))
    await desk.step()
    stream = await desk.public(
        ("rpi_orderbook_stream", ("BTCUSDT",)),
        ("insurance_pool_stream", ("USDT",)),
        ("price_limit_stream", ("BTCUSDT",)),
    )

    await desk.step(2)
    await eventually(lambda: len(stream.of("orderbook.rpi.BTCUSDT")) >= 2)
    book = await desk.call("get_orderbook", symbol="BTCUSDT", limit=50)
    limits = await desk.call("get_price_limit", symbol="BTCUSDT")

    kept = stream.of("orderbook.rpi.BTCUSDT")[-1]["data"]
    assert sorted(kept["b"]) == sorted([*row, "0"] for row in book["b"])
    assert {row["coin"] for row in stream.rows("insurance.USDT")} == {"USDT"}
    told = stream.of("priceLimit.BTCUSDT")[-1]["data"]
    assert (told["buyLmt"], told["sellLmt"]) == (limits["buyLmt"], limits["sellLmt"])
