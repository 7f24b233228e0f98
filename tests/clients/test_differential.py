"""The same orders through pybit and through ccxt leave the same state."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import ccxt
import pytest
from pybit.exceptions import InvalidRequestError

from tests.clients.conftest import BTC, OpenCcxt
from tests.paper.conftest import START, Desk, Open, Row, WriteCandles

ROWS: tuple[Row, ...] = (
    (50_000, 50_000, 50_000, 50_000),
    (50_000, 50_300, 49_400, 49_700),
    (49_700, 50_600, 49_600, 50_500),
    (50_500, 50_900, 50_100, 50_200),
    (50_200, 50_250, 48_600, 48_900),
)
FRESH = {"orderId", "orderLinkId", "parentOrderLinkId", "execId", "tradeId", "id", "seq"}
"""What names things; everything else has to be the same."""

OpenDesk = Callable[[], Awaitable[Desk]]


class Trader(Protocol):
    """One client; an order is known by the name that its owner gave it."""

    async def limit(self, link: str, side: str, qty: float, price: float, tif: str) -> None: ...
    async def market(self, link: str, side: str, qty: float, *, reduce: bool) -> None: ...
    async def trigger(
        self, link: str, side: str, qty: float, price: float, *, up: bool
    ) -> None: ...
    async def protected(
        self, link: str, side: str, qty: float, stop: float, target: float
    ) -> None: ...
    async def trail(self, distance: float) -> None: ...
    async def amend(self, link: str, qty: float, price: float) -> None: ...
    async def cancel(self, link: str) -> None: ...
    async def cancel_all(self) -> None: ...
    async def leverage(self, times: int) -> None: ...


class ByPybit:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def _order(self, link: str, side: str, qty: float, **fields: Any) -> None:
        known = {"symbol": "BTCUSDT", "side": side, "qty": f"{qty:.3f}", "orderLinkId": link}
        await self._desk.call("place_order", **known | fields)

    async def limit(self, link: str, side: str, qty: float, price: float, tif: str) -> None:
        await self._order(link, side, qty, orderType="Limit", price=f"{price:.1f}", timeInForce=tif)

    async def market(self, link: str, side: str, qty: float, *, reduce: bool) -> None:
        await self._order(link, side, qty, orderType="Market", reduceOnly=reduce)

    async def trigger(self, link: str, side: str, qty: float, price: float, *, up: bool) -> None:
        direction = 1 if up else 2
        at = {"triggerPrice": f"{price:.1f}", "triggerDirection": direction}
        await self._order(link, side, qty, orderType="Market", **at)

    async def protected(self, link: str, side: str, qty: float, stop: float, target: float) -> None:
        exits = {"stopLoss": f"{stop:.1f}", "takeProfit": f"{target:.1f}"}
        await self._order(link, side, qty, orderType="Market", **exits)

    async def trail(self, distance: float) -> None:
        await self._desk.stop(trailingStop=f"{distance:.1f}")

    async def amend(self, link: str, qty: float, price: float) -> None:
        changes = {"qty": f"{qty:.3f}", "price": f"{price:.1f}"}
        await self._desk.call("amend_order", symbol="BTCUSDT", orderLinkId=link, **changes)

    async def cancel(self, link: str) -> None:
        await self._desk.call("cancel_order", symbol="BTCUSDT", orderLinkId=link)

    async def cancel_all(self) -> None:
        await self._desk.call("cancel_all_orders", symbol="BTCUSDT")

    async def leverage(self, times: int) -> None:
        both = {"buyLeverage": str(times), "sellLeverage": str(times)}
        await self._desk.call("set_leverage", symbol="BTCUSDT", **both)


class ByCcxt:
    def __init__(self, client: Any) -> None:
        self._client = client

    async def _order(
        self, link: str, kind: str, side: str, qty: float, price: float | None, **params: Any
    ) -> None:
        params |= {"clientOrderId": link}
        await self._client.create_order(BTC, kind, side.lower(), qty, price, params)

    async def limit(self, link: str, side: str, qty: float, price: float, tif: str) -> None:
        await self._order(link, "limit", side, qty, price, timeInForce=tif)

    async def market(self, link: str, side: str, qty: float, *, reduce: bool) -> None:
        await self._order(link, "market", side, qty, None, reduceOnly=reduce)

    async def trigger(self, link: str, side: str, qty: float, price: float, *, up: bool) -> None:
        direction = "ascending" if up else "descending"
        at = {"triggerPrice": price, "triggerDirection": direction}
        await self._order(link, "market", side, qty, None, **at)

    async def protected(self, link: str, side: str, qty: float, stop: float, target: float) -> None:
        exits = {"stopLoss": {"triggerPrice": stop}, "takeProfit": {"triggerPrice": target}}
        await self._order(link, "market", side, qty, None, **exits)

    async def trail(self, distance: float) -> None:
        await self._client.create_order(
            BTC, "market", "sell", 0.1, None, {"trailingAmount": f"{distance:.1f}"}
        )

    async def amend(self, link: str, qty: float, price: float) -> None:
        await self._client.edit_order(None, BTC, "limit", "buy", qty, price, {"orderLinkId": link})

    async def cancel(self, link: str) -> None:
        await self._client.cancel_order(None, BTC, {"orderLinkId": link})

    async def cancel_all(self) -> None:
        await self._client.cancel_all_orders(BTC)

    async def leverage(self, times: int) -> None:
        await self._client.set_leverage(times, BTC)


async def next_millisecond() -> None:
    """Let the stamp of a request change: what is sent twice with the same is refused."""
    now = time.time_ns() // 10**6
    while time.time_ns() // 10**6 == now:  # noqa: ASYNC110
        await asyncio.sleep(0)


async def trade(desk: Desk, trader: Trader, seed: int) -> list[str]:
    """Send what *seed* makes up, one candle after the other; return the codes of what failed."""
    chance = random.Random(seed)
    failures: list[str] = []
    links: list[str] = []

    async def attempt(call: Awaitable[None]) -> None:
        await next_millisecond()
        try:
            await call
        except InvalidRequestError as error:
            failures.append(str(error.status_code))
        except ccxt.ExchangeError as error:
            failures.append(str(error).split('"retCode":')[1].split(",")[0])

    def named() -> str:
        links.append(f"order-{len(links)}")
        return links[-1]

    await attempt(trader.leverage(chance.choice((5, 10, 20))))
    for _, _, _, close in ROWS[:-1]:
        for _ in range(6):
            side = chance.choice(("Buy", "Sell"))
            away = 1 if side == "Sell" else -1
            qty = chance.randint(1, 400) / 1000
            near = close + away * chance.randint(-20, 300)
            old = chance.choice(links) if links else "never-placed"
            kind = chance.randrange(11)
            if kind < 3:
                tif = chance.choice(("GTC", "GTC", "IOC", "FOK", "PostOnly"))
                await attempt(trader.limit(named(), side, qty, near, tif))
            elif kind < 5:
                await attempt(trader.market(named(), side, qty, reduce=chance.random() < 0.4))
            elif kind == 5:
                far = close - away * 250
                await attempt(trader.trigger(named(), side, qty, far, up=side == "Buy"))
            elif kind == 6:
                stop, target = close + away * 700, close - away * 900
                await attempt(trader.protected(named(), side, qty, stop, target))
            elif kind == 7:
                await attempt(trader.trail(400))
            elif kind == 8:
                await attempt(trader.amend(old, qty, near))
            elif kind == 9:
                await attempt(trader.cancel(old))
            else:
                await attempt(trader.cancel_all())
        await desk.step()
    return failures


async def everything(desk: Desk) -> dict[str, Any]:
    """Return all that the account can be asked for, without the names of things."""
    reads = {
        "open": await desk.rows("get_open_orders", symbol="BTCUSDT", limit=50),
        "closed": await desk.rows("get_order_history", limit=50),
        "executions": await desk.rows("get_executions", limit=100),
        "positions": await desk.rows("get_positions", symbol="BTCUSDT"),
        "results": await desk.rows("get_closed_pnl", limit=100),
        "ledger": await _ledger(desk),
        "wallet": [await desk.wallet()],
    }
    return {
        name: [{k: v for k, v in row.items() if k not in FRESH} for row in rows]
        for name, rows in reads.items()
    }


async def _ledger(desk: Desk) -> list[dict[str, Any]]:
    answer = await asyncio.to_thread(desk.http.get_transaction_log, limit=50)
    return list(answer["result"]["list"])


@pytest.fixture
def fresh(open_desk: Open, write_candles: WriteCandles) -> OpenDesk:
    data = write_candles(*ROWS, start=START)

    async def make() -> Desk:
        return await open_desk(market=data, data_from=START, seed=5)

    return make


@pytest.mark.parametrize("seed", range(4))
async def test_two_clients_leave_the_same_state(
    fresh: OpenDesk, open_ccxt: OpenCcxt, seed: int
) -> None:
    one, other = await fresh(), await fresh()

    refused = await trade(one, ByPybit(one), seed)
    refused_as_well = await trade(other, ByCcxt(await open_ccxt(other)), seed)

    assert refused == refused_as_well
    before, after = await everything(one), await everything(other)
    assert before["executions"]
    for name, rows in before.items():
        assert rows == after[name], name
