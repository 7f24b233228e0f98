"""What a restart finds: the state as it was, or a reason why it cannot be used."""

import logging
import random
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from pybit.exceptions import InvalidRequestError

from tests.paper.chance import holdings, stored, trade_by_chance
from tests.paper.conftest import START, Desk, Open, WriteCandles, eventually
from tradewright.matching import (
    ExecType,
)
from tradewright.paper import PaperSettings, running
from tradewright.paper.exchange import Exchange
from tradewright.paper.layout import StateUnusable
from tradewright.paper.ledger import ledger
from tradewright.paper.server import PortTaken
from tradewright.paper.store import Store


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
