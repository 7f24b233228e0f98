"""What survives the death of the process: everything that was answered."""

import asyncio
import logging
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pybit.unified_trading as pybit
import pytest
import requests
from msgspec.structs import replace
from pybit.exceptions import FailedRequestError, InvalidRequestError

from tests.paper.conftest import KEY, SECRET, START, Desk, Open, WriteCandles, eventually
from tradewright.domain.market import Side
from tradewright.matching import (
    Event,
    ExecType,
    OrderRequest,
    OrderType,
    RequestRejected,
    StopRequest,
    TpslMode,
)
from tradewright.paper import PaperSettings, running
from tradewright.paper.exchange import MAIN, Exchange
from tradewright.paper.layout import StateUnusable
from tradewright.paper.ledger import ledger
from tradewright.paper.server import PortTaken
from tradewright.paper.store import Store

PROGRAM = """
import os, sys
from pathlib import Path
from tradewright.paper import PaperSettings, serve
sys.exit(serve(PaperSettings(port=int(sys.argv[1]), state=Path(sys.argv[2]), speed=1, history=100)))
"""


KEYS = {
    "TRADEWRIGHT_PAPER_API_KEY": KEY,
    "TRADEWRIGHT_PAPER_API_SECRET": SECRET,
    "TRADEWRIGHT_PAPER_RATE_LIMITS": "off",
}
T = TypeVar("T")
BTC = "BTCUSDT"


@contextmanager
def served(port: int, state: Path) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-c", PROGRAM, str(port), str(state)]
    with subprocess.Popen(command, env=os.environ | KEYS) as process:
        try:
            yield process
        finally:
            process.kill()


async def ready(url: str) -> None:
    def answers() -> bool:
        try:
            return requests.get(f"{url}/v5/market/time", timeout=1).status_code == 200
        except requests.RequestException:
            return False

    await eventually(answers, timeout_s=30)


async def test_a_killed_exchange_keeps_orders_position_and_links(
    tmp_path: Path, free_port: int
) -> None:
    """B8: a restart closes nothing: positions, stops and orders are as they were."""
    url, state = f"http://127.0.0.1:{free_port}", tmp_path / "paper.db"
    http = pybit.HTTP(api_key=KEY, api_secret=SECRET, max_retries=1, retry_codes={-999999})
    http.endpoint = url
    order: dict[str, Any] = {"category": "linear", "symbol": "BTCUSDT", "side": "Buy"}

    with served(free_port, state) as process:
        await ready(url)
        http.place_order(**order, orderType="Market", qty="0.01", stopLoss="1", orderLinkId="a-1")
        http.place_order(**order, orderType="Limit", qty="0.01", price="2000", orderLinkId="a-2")
        http.set_leverage(category="linear", symbol="ETHUSDT", buyLeverage="3", sellLeverage="3")
        before = account(http)
        process.send_signal(signal.SIGKILL)
    with served(free_port, state) as process:
        await ready(url)
        after = account(http)
        with pytest.raises(InvalidRequestError) as failure:
            http.place_order(**order, orderType="Market", qty="0.01", orderLinkId="a-1")
        process.send_signal(signal.SIGTERM)
        process.wait(10)

    http.client.close()
    assert before["position"]["size"] == "0.01"
    assert [o["orderLinkId"] for o in before["open"]] == ["a-2", ""]
    assert after == before
    assert failure.value.status_code == 110072
    assert process.returncode == 0


async def test_whatever_was_acknowledged_survives_a_kill_at_any_moment(
    tmp_path: Path, free_port: int
) -> None:
    url, state = f"http://127.0.0.1:{free_port}", tmp_path / "paper.db"
    chance, acknowledged = random.Random(3), set[str]()

    def trade(life: int, worker: int) -> None:
        """Place orders until the exchange is gone."""
        http = pybit.HTTP(api_key=KEY, api_secret=SECRET, max_retries=1, retry_codes={-999999})
        http.endpoint = url
        order: dict[str, Any] = {"category": "linear", "symbol": BTC, "qty": "0.001"}
        for number in range(10_000):
            link, side = f"{life}-{worker}-{number}", "Buy" if number % 2 else "Sell"
            try:
                http.place_order(**order, side=side, orderType="Market", orderLinkId=link)
            except (FailedRequestError, requests.RequestException):
                break
            acknowledged.add(link)
        http.client.close()

    for life in range(4):
        with served(free_port, state) as process:
            await ready(url)
            workers = [asyncio.create_task(asyncio.to_thread(trade, life, w)) for w in range(4)]
            before = len(acknowledged)
            # Whatever it is doing then
            await eventually(lambda: len(acknowledged) > before + chance.randrange(5, 80))  # noqa: B023
            process.kill()
            await asyncio.gather(*workers)

    with served(free_port, state) as process:
        await ready(url)
        orders, executions, books = [
            (await asyncio.to_thread(requests.get, f"{url}/paper/{name}", timeout=30)).json()
            for name in ("orders", "executions", "ledger")
        ]

    known = [row["orderLinkId"] for row in orders["list"]]
    assert acknowledged <= set(known)
    assert len(known) == len(set(known))
    ids = [row["execId"] for row in executions["list"]]
    assert len(ids) == len(set(ids)) == books["executions"]
    assert books["balanced"]


def account(http: pybit.HTTP) -> dict[str, Any]:
    """Return what does not move with the market."""

    def rows(method: Callable[..., Any], **params: Any) -> list[dict[str, Any]]:
        return list(method(category="linear", **params)["result"]["list"])

    (position,) = rows(http.get_positions, symbol="BTCUSDT")
    (other,) = rows(http.get_positions, symbol="ETHUSDT")
    kept = ("side", "size", "avgPrice", "stopLoss", "cumRealisedPnl", "seq", "createdTime")
    wallet = http.get_wallet_balance(accountType="UNIFIED")["result"]["list"][0]
    return {
        "position": {name: position[name] for name in kept},
        "leverage": other["leverage"],
        "open": rows(http.get_open_orders, symbol="BTCUSDT"),
        "history": rows(http.get_order_history),
        "executions": rows(http.get_executions),
        "wallet": wallet["totalWalletBalance"],
    }


async def test_a_lockstep_goes_on_at_the_barrier_where_it_stood(
    open_desk: Open,
    write_candles: WriteCandles,
    tmp_path: Path,
    make_settings: Callable[..., PaperSettings],
) -> None:
    flat, fall = (50_000, 50_000, 50_000, 50_000), (50_000, 50_000, 49_000, 49_500)
    settings: dict[str, Any] = {
        "market": write_candles(flat, fall, flat),
        "state": tmp_path / "paper.db",
    }
    async with running(make_settings(**settings)) as paper:
        desk = Desk(paper)
        await desk.step()
        await desk.buy(stopLoss="49900")
        await desk.step()
        before = await desk.get("/paper/clock"), await desk.get("/paper/executions")
        await desk.close()

    desk = await open_desk(**settings)
    await eventually(lambda: desk.is_waiting)

    clock = await desk.get("/paper/clock")
    same = ("market_ms", "step", "phase", "waiting_for", "started")
    assert {k: clock[k] for k in same} == {k: before[0][k] for k in same}
    assert clock["market_ms"] == int(START.timestamp() * 1000) + 120_000
    # The candle that stopped the position out is not played a second time
    assert await desk.get("/paper/executions") == before[1]
    assert len(before[1]["list"]) == 2
    await desk.step(2)
    assert desk.paper.exchange.phase == "ended"


async def test_an_acknowledgement_that_a_restart_overtook_still_counts(
    open_desk: Open,
    write_candles: WriteCandles,
    tmp_path: Path,
    make_settings: Callable[..., PaperSettings],
) -> None:
    flat = (50_000, 50_000, 50_000, 50_000)
    settings: dict[str, Any] = {"market": write_candles(flat, flat), "state": tmp_path / "paper.db"}
    async with running(make_settings(**settings)) as paper:
        desk = Desk(paper)
        await desk.post("/paper/subscribers", name="main", role="account")
        await desk.post("/paper/start")
        seen = await desk.get("/paper/turn", name="main", timeout_ms=20_000)
        await desk.close()

    desk = await open_desk(**settings)
    await desk.post("/paper/done", name="main", barrier=seen["barrier"])
    following = await desk.get("/paper/turn", name="main", after=seen["barrier"], timeout_ms=20_000)

    assert following["waiting"]
    assert following["step"] == seen["step"] + 1


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({"seed": 2}, "generated market, seed 2, all symbols, begun 2025-01-01T00:00Z"),
        ({"start": START}, "generated market, seed 1, all symbols, begun 2022-01-01T00:00Z"),
        ({"symbols": ("BTCUSDT", "ETHUSDT")}, "generated market, seed 1, BTCUSDT, ETHUSDT, begun"),
        ({"speed": 60}, "generated market, seed 1, all symbols, begun 20"),
    ],
)
async def test_a_state_of_another_market_is_refused(
    make_settings: Callable[..., PaperSettings], tmp_path: Path, other: dict[str, Any], told: str
) -> None:
    state = tmp_path / "paper.db"
    async with running(make_settings(state=state, seed=1)):
        pass

    with pytest.raises(StateUnusable) as failure:
        async with running(make_settings(state=state, **{"seed": 1, **other})):
            pass

    own = "generated market, seed 1, all symbols, begun 2025-01-01T00:00Z"
    assert f"it belongs to another market ({own}; not {told}" in str(failure.value)


async def test_a_state_serves_one_exchange_at_a_time(
    make_settings: Callable[..., PaperSettings], tmp_path: Path
) -> None:
    state = tmp_path / "paper.db"
    async with running(make_settings(state=state)):
        with pytest.raises(StateUnusable, match="another exchange may be using it"):
            async with running(make_settings(state=state)):
                pass


@pytest.mark.parametrize("seed", range(6))
async def test_what_is_read_back_is_what_was_there(
    make_settings: Callable[..., PaperSettings], tmp_path: Path, seed: int
) -> None:
    settings = make_settings(state=tmp_path / "paper.db", symbols=("BTCUSDT",), seed=seed)
    with closing(Store(settings.state)) as store:
        before = Exchange(settings, store)
        trade_by_chance(before, random.Random(seed))
        rows = stored(before)

    with closing(Store(settings.state)) as store:
        after = Exchange(settings, store)
        restored = stored(after)
        books = [await ledger(store.history, a) for a in after.engine.accounts.values()]

    assert {e.exec_type for e in rows["executions"]} >= {ExecType.TRADE, ExecType.FUNDING}
    assert restored == rows
    assert holdings(after) == holdings(before)
    assert after.engine.last == before.engine.last
    assert after.engine.seq == before.engine.seq
    assert after.progress == before.progress
    assert [book["balanced"] for book in books] == [True] * 3
    assert all(book["executions"] for book in books)


def stored(exchange: Exchange) -> dict[str, list[Any]]:
    history = exchange.store.history
    return {
        "orders": history.orders_after(None, -1, 1000),
        "executions": history.executions_after(None, -1, 1000),
    }


def holdings(exchange: Exchange) -> dict[str, Any]:
    return {
        name: (account.open_orders(), account.positions, account.balance, account.profile)
        for name, account in exchange.engine.accounts.items()
    }


def trade_by_chance(exchange: Exchange, chance: random.Random) -> None:
    """Let three accounts do good and bad things between moves of the market."""
    names = (MAIN, "ann", "bob")
    for name in names[1:]:
        exchange.open_account(name, Decimal(2_000))
    progress = exchange.progress
    for number in range(150):
        with suppress(RequestRejected):
            exchange.change(partial(act, exchange, chance, chance.choice(names), number))
        last = exchange.engine.last[BTC]
        events = exchange.engine.glide(BTC, near(exchange, last, chance), exchange.now())
        if number % 20 == 0:
            events += exchange.engine.fund(BTC, Decimal("0.0003"), exchange.now())
        exchange.advance(events, replace(progress, tick=number))
        exchange.flush()


def act(
    exchange: Exchange, chance: random.Random, account: str, number: int, now: datetime
) -> list[Event]:
    engine, last = exchange.engine, exchange.engine.last[BTC]
    side = chance.choice([Side.BUY, Side.SELL])
    order_type = chance.choice([OrderType.MARKET, OrderType.LIMIT])
    wish = chance.random()
    if wish < 0.6:
        request = OrderRequest(
            symbol=BTC,
            side=side,
            order_type=order_type,
            qty=Decimal(chance.choice(["0.01", "0.1", "0.4"])),
            price=near(exchange, last, chance) if order_type is OrderType.LIMIT else Decimal(0),
            reduce_only=chance.random() < 0.2,
            link=f"link-{number}",
        )
        return engine.place(account, request, now)
    if wish < 0.75:
        stops = StopRequest(stop_loss=near(exchange, last, chance), trailing_stop=Decimal(50))
        return engine.set_stops(account, BTC, stops, now)
    if wish < 0.85:
        part = StopRequest(
            tpsl_mode=TpslMode.PARTIAL,
            stop_loss=near(exchange, last, chance),
            sl_size=Decimal("0.01"),
        )
        return engine.set_stops(account, BTC, part, now)
    if wish < 0.9:
        return engine.set_leverage(account, BTC, Decimal(chance.choice([20, 50, 100])), now)
    if wish < 0.95:
        return engine.cancel_all(account, [BTC], now)
    return engine.transfer(account, Decimal(chance.choice([-20, 30])), now)


def near(exchange: Exchange, price: Decimal, chance: random.Random) -> Decimal:
    instrument = exchange.engine.markets[BTC].instrument
    return instrument.floor_price(price * Decimal(str(chance.uniform(0.985, 1.015))))


async def test_missed_candles_are_caught_up_after_a_restart(
    open_desk: Open, make_settings: Callable[..., PaperSettings], tmp_path: Path
) -> None:
    settings: dict[str, Any] = {
        "state": tmp_path / "paper.db",
        "speed": 60_000,
        "symbols": ("BTCUSDT",),
        "history": 20,
        "steps": 400,
        "start": START,
    }
    async with running(make_settings(**settings)) as paper:
        await eventually(lambda: paper.exchange.progress.step > 20)
        seen = list(paper.exchange.series["BTCUSDT"].newest("1"))[1:20]

    desk = await open_desk(**settings)
    await eventually(lambda: desk.paper.exchange.phase == "ended")

    made = list(desk.paper.exchange.series["BTCUSDT"].newest("1"))
    opens = [bar.open_ms for bar in made]
    assert opens == list(range(opens[0], opens[0] - 420 * 60_000, -60_000))
    assert set(seen) < set(made)
    clock = await desk.get("/paper/clock")
    assert clock["market_ms"] == int(START.timestamp() * 1000) + 400 * 60_000


async def test_a_taken_port_is_said_to_be(make_settings: Callable[..., PaperSettings]) -> None:
    async with running(make_settings()) as paper:
        with pytest.raises(PortTaken, match=f"port {paper.port} of 127.0.0.1 cannot be used"):
            async with running(make_settings(port=paper.port)):
                pass


async def test_a_log_that_cannot_be_opened_is_said_to_be(
    make_settings: Callable[..., PaperSettings], tmp_path: Path
) -> None:
    (tmp_path / "paper.db-log").mkdir()

    with pytest.raises(StateUnusable, match=r"paper.db-log cannot be used: .* can be written"):
        async with running(make_settings(state=tmp_path / "paper.db")):
            pass


async def test_an_exchange_that_cannot_write_stops_and_answers_no_more_orders(
    open_desk: Open, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    desk = await open_desk(history=20, state=tmp_path / "paper.db")
    desk.paper.exchange.store.close()

    for _ in range(2):
        with pytest.raises(InvalidRequestError, match="10016"):
            await desk.buy("0.01")

    assert desk.paper.exchange.broken.is_set()
    errors = [r.getMessage() for r in caplog.records if r.levelno >= logging.ERROR]
    assert errors == ["exchange is broken and stops: memory and state may differ"]


async def test_a_killed_lockstep_trades_as_one_that_was_never_killed(
    tmp_path: Path, free_port: int
) -> None:
    kills = frozenset({5, 11, 23, 38})
    quiet = await asyncio.to_thread(lockstep_run, tmp_path / "quiet.db", free_port, frozenset())
    killed = await asyncio.to_thread(lockstep_run, tmp_path / "killed.db", free_port, kills)

    assert len(quiet) > 4
    assert killed == quiet


LOCKSTEP = """
import sys
from pathlib import Path
from tradewright.paper import PaperSettings, serve
sys.exit(serve(PaperSettings(
    port=int(sys.argv[1]), state=Path(sys.argv[2]), speed="lockstep",
    history=20, steps=15, symbols=("ETHUSDT",), seed=5,
)))
"""


class Restarting:
    """An exchange in a process of its own that is started again whenever it is dead."""

    def __init__(self, command: list[str]) -> None:
        self._command = command
        self._process = self._start()

    def __enter__(self) -> None:
        pass

    def __exit__(self, *error: object) -> None:
        self.kill()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def until_answered(self, ask: Callable[[], T]) -> T:
        deadline = time.monotonic() + 60
        while True:
            try:
                return ask()
            except requests.RequestException:
                if time.monotonic() > deadline:
                    raise
                if self._process.poll() is not None:
                    self._process = self._start()
                time.sleep(0.01)

    def _start(self) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(self._command, env=os.environ | KEYS)


def lockstep_run(state: Path, port: int, kills: frozenset[int]) -> list[dict[str, Any]]:
    """Trade at each settle barrier; kill the exchange at those in *kills*; return executions."""
    url = f"http://127.0.0.1:{port}"
    process = Restarting([sys.executable, "-c", LOCKSTEP, str(port), str(state)])
    http = pybit.HTTP(api_key=KEY, api_secret=SECRET, max_retries=1, retry_codes={-999999})
    http.endpoint = url

    def ask(method: str, path: str, **parts: Any) -> dict[str, Any]:
        answer = process.until_answered(
            lambda: requests.request(method, f"{url}/paper/{path}", timeout=30, **parts)
        )
        return dict(answer.json())

    def trade(at_ms: int) -> None:
        (row,) = http.get_tickers(category="linear", symbol="ETHUSDT")["result"]["list"]
        sign = 1 if at_ms // 60_000 % 2 else -1
        stop = round(float(row["lastPrice"]) - 2 * sign, 2)
        with suppress(InvalidRequestError):  # sent before the kill: its link is taken
            http.place_order(
                category="linear",
                symbol="ETHUSDT",
                side="Buy" if sign > 0 else "Sell",
                orderType="Market",
                qty="1",
                stopLoss=str(stop),
                orderLinkId=f"at-{at_ms}",
            )

    with process:
        ask("POST", "subscribers", json={"name": "main", "role": "account"})
        ask("POST", "start")
        barrier = -1
        while True:
            turn = ask("GET", "turn", params={"name": "main", "after": barrier})
            if not turn["waiting"]:
                break
            barrier = turn["barrier"]
            if barrier % 3 == 2:
                process.until_answered(partial(trade, turn["at_ms"]))
            if barrier in kills:
                process.kill()
            ask("POST", "done", json={"name": "main", "barrier": barrier})
        assert ask("GET", "ledger")["balanced"]
        executions: list[dict[str, Any]] = ask("GET", "executions")["list"]
    http.client.close()
    return executions
