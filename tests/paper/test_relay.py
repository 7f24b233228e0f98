"""A relayed market, proven against a second exchange of ours that stands for Bybit."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.paper.conftest import Open, eventually
from tradewright.paper import PaperExchange, PaperSettings, running
from tradewright.paper.market.relay import Relay
from tradewright.paper.market.script import Script
from tradewright.paper.market.upstream import MarketUnreachable, Upstream

MakeSettings = Callable[..., PaperSettings]


class Elsewhere:
    """An exchange in a thread of its own, for the relay asks it before its own loop goes on."""

    def __init__(self, settings: PaperSettings) -> None:
        self._settings = settings
        self._ready: Future[PaperExchange] = Future()
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._run(),))
        self._thread.start()
        self.paper = self._ready.result(timeout=20)

    async def _run(self) -> None:
        async with running(self._settings) as paper:
            self._ready.set_result(paper)
            await self._stop.wait()

    def close(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(timeout=20)
            self._loop.close()


@pytest.fixture
def elsewhere() -> Iterator[Callable[[PaperSettings], Elsewhere]]:
    begun: list[Elsewhere] = []

    def begin(settings: PaperSettings) -> Elsewhere:
        begun.append(Elsewhere(settings))
        return begun[-1]

    yield begin
    for exchange in begun:
        exchange.close()


def relay_of(paper: PaperExchange, **changes: Any) -> dict[str, Any]:
    return {
        "market": "live",
        "speed": 1.0,
        "symbols": ("BTCUSDT",),
        "live_rest": paper.http_url,
        "live_stream": f"{paper.stream_url}/public/linear",
        "history": 30,
    } | changes


async def test_book_trades_prices_and_candles_of_another_exchange_arrive(
    make_settings: MakeSettings,
    elsewhere: Callable[[PaperSettings], Elsewhere],
    open_desk: Open,
) -> None:
    source = elsewhere(make_settings(speed=1.0, symbols=("BTCUSDT", "ETHUSDT"), seed=3)).paper
    desk = await open_desk(**relay_of(source, symbols=("BTCUSDT", "ETHUSDT")))
    ours, theirs = desk.paper.exchange, source.exchange

    await eventually(lambda: "BTCUSDT" not in ours.engine.board.halted)
    await eventually(lambda: len(ours.quotes["ETHUSDT"].prints) > 1)

    assert ours.source.instruments == theirs.source.instruments
    assert ours.engine.markets["BTCUSDT"].tiers == theirs.engine.markets["BTCUSDT"].tiers
    mine = list(ours.series["BTCUSDT"].newest_closed("1"))
    assert len(mine) >= 29
    assert set(mine) <= set(theirs.series["BTCUSDT"].newest_closed("1"))
    await eventually(lambda: ours.engine.mark["BTCUSDT"] == theirs.engine.mark["BTCUSDT"])
    await eventually(lambda: ours.engine.index["BTCUSDT"] == theirs.engine.index["BTCUSDT"])
    await eventually(
        lambda: ours.engine.levels("BTCUSDT", 10) == theirs.engine.levels("BTCUSDT", 10)
    )
    await eventually(lambda: ours.engine.last["BTCUSDT"] == theirs.engine.last["BTCUSDT"])


async def test_candles_close_as_they_do_elsewhere(
    make_settings: MakeSettings,
    elsewhere: Callable[[PaperSettings], Elsewhere],
    open_desk: Open,
) -> None:
    source = elsewhere(make_settings(speed=120.0, symbols=("BTCUSDT",))).paper
    desk = await open_desk(**relay_of(source))
    series = desk.paper.exchange.series["BTCUSDT"]
    before = len(list(series.newest_closed("1")))

    await eventually(lambda: len(list(series.newest_closed("1"))) >= before + 3)

    ours = list(series.newest_closed("1"))
    assert set(ours) <= set(source.exchange.series["BTCUSDT"].newest_closed("1"))
    assert all(a.open_ms - b.open_ms == 60_000 for a, b in pairwise(ours))


async def test_orders_fill_against_the_relayed_book(
    make_settings: MakeSettings,
    elsewhere: Callable[[PaperSettings], Elsewhere],
    open_desk: Open,
    tmp_path: Path,
) -> None:
    script = Script.of("depth 10000", BTCUSDT=50_000)
    source = elsewhere(make_settings(market=script.saved(tmp_path / "s.yaml"), speed=1.0)).paper
    desk = await open_desk(**relay_of(source))
    await eventually(lambda: "BTCUSDT" not in desk.paper.exchange.engine.board.halted)
    _, asks = desk.paper.exchange.engine.levels("BTCUSDT", 3)

    await desk.buy(str(asks[0][1] + asks[1][1]))

    await eventually(lambda: desk.paper.exchange.engine.accounts["main"].positions["BTCUSDT"].size)
    fills = await desk.executions()
    assert [(Decimal(f["execPrice"]), Decimal(f["execQty"])) for f in fills] == asks[:2]


async def test_trading_halts_while_the_relayed_exchange_is_away(
    make_settings: MakeSettings,
    elsewhere: Callable[[PaperSettings], Elsewhere],
    open_desk: Open,
) -> None:
    upstream = elsewhere(make_settings(speed=1.0, symbols=("BTCUSDT",)))
    desk = await open_desk(**relay_of(upstream.paper))
    halted = desk.paper.exchange.engine.board.halted
    await eventually(lambda: "BTCUSDT" not in halted)

    await asyncio.to_thread(upstream.close)
    await eventually(lambda: "BTCUSDT" in halted)
    refused = await desk.refused_buy()

    assert refused[0] == 110074
    elsewhere(make_settings(speed=1.0, symbols=("BTCUSDT",), port=upstream.paper.port))
    await eventually(lambda: "BTCUSDT" not in halted, timeout_s=20)
    await desk.buy("0.01")


def test_without_a_network_there_is_one_clear_error(free_port: int) -> None:
    upstream = Upstream(f"http://127.0.0.1:{free_port}", f"ws://127.0.0.1:{free_port}")

    with pytest.raises(MarketUnreachable) as failure:
        Relay(upstream, ("BTCUSDT",), born=datetime.now(UTC), history=10)

    told = str(failure.value)
    assert told.startswith(f"market http://127.0.0.1:{free_port}/v5/market/instruments-info cannot")
    assert "Connection refused; check the network, or name another exchange" in told


async def test_a_symbol_that_is_not_there_is_named(
    make_settings: MakeSettings, elsewhere: Callable[[PaperSettings], Elsewhere], open_desk: Open
) -> None:
    source = elsewhere(make_settings(speed=1.0, symbols=("BTCUSDT",))).paper

    with pytest.raises(MarketUnreachable, match="NOPEUSDT"):
        await open_desk(**relay_of(source, symbols=("NOPEUSDT",)))


def test_a_relayed_market_goes_at_its_own_speed() -> None:
    with pytest.raises(ValueError, match="a relayed market goes at speed 1, not at 60"):
        PaperSettings(market="live", speed=60.0)
