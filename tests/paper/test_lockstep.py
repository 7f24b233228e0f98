"""The lockstep: no step goes on before all have seen it, and nothing depends on time."""

import asyncio
from typing import Any

from tests.paper.conftest import START, Desk, Open, WriteCandles, eventually

FLAT = (50_000, 50_000, 50_000, 50_000)
FALL = (50_000, 50_000, 49_000, 49_500)
START_MS = int(START.timestamp() * 1000)
MINUTE = 60_000


async def test_a_market_stands_still_until_it_is_started(
    open_desk: Open, write_candles: WriteCandles
) -> None:
    desk = await open_desk(market=write_candles(FLAT, FLAT))

    before = await desk.get("/paper/clock")
    await desk.post("/paper/start")
    await eventually(lambda: desk.paper.exchange.phase == "ended")
    after = await desk.get("/paper/clock")

    assert (before["started"], before["phase"], before["step"]) == (False, "waiting", 0)
    assert (before["lockstep"], before["steps_total"]) == (True, 2)
    assert before["market_ms"] == START_MS
    assert (after["ended"], after["step"], after["phase"]) == (True, 2, "ended")
    assert after["market_ms"] == START_MS + 2 * MINUTE


async def test_a_close_waits_for_market_and_for_presets_whose_candle_closes(
    open_desk: Open, write_candles: WriteCandles
) -> None:
    desk = await open_desk(market=write_candles(*[FLAT] * 4, start=START))
    for name, role, timeframe in (
        ("market", "market", None),
        ("one", "preset", "1m"),
        ("three", "preset", "3m"),
    ):
        body: dict[str, Any] = {"role": role, "symbols": ["BTCUSDT"], "timeframe": timeframe}
        await desk.post("/paper/subscribers", name=name, **body)
    await desk.post(
        "/paper/subscribers", name="other", role="preset", symbols=["ETHUSDT"], timeframe="1m"
    )
    await desk.post("/paper/start")

    waited = []
    for minute in (1, 2, 3):
        await eventually(lambda: desk.paper.exchange.barriers.waiting_for())
        waited.append((await desk.get("/paper/clock"))["waiting_for"])
        for name in waited[-1]:
            await desk.post("/paper/done", name=name, at_ms=START_MS + minute * MINUTE)

    assert waited == [["market", "one"], ["market", "one"], ["market", "one", "three"]]


async def test_an_acknowledgement_of_the_past_or_the_future_moves_nothing(
    open_desk: Open, write_candles: WriteCandles
) -> None:
    desk = await open_desk(market=write_candles(FLAT, FLAT, FLAT))
    await desk.step(2)

    await desk.post("/paper/done", name="desk", at_ms=START_MS + MINUTE)
    await desk.post("/paper/done", name="desk", at_ms=START_MS + 60 * MINUTE)

    assert (await desk.get("/paper/clock"))["waiting_for"] == ["desk"]


async def test_awaiting_a_candle_ends_when_it_is_acknowledged(
    open_desk: Open, write_candles: WriteCandles
) -> None:
    desk = await open_desk(market=write_candles(FLAT, FLAT))
    await desk.step()
    wish: dict[str, Any] = {"name": "desk", "at_ms": START_MS + MINUTE}

    early = await desk.get("/paper/await", **wish, timeout_ms=1)
    waiting = asyncio.create_task(desk.get("/paper/await", **wish, timeout_ms=20_000))
    await desk.post("/paper/done", **wish)

    assert early == {"done": False}
    assert await waiting == {"done": True}
    assert await desk.get("/paper/await", name="stranger", at_ms=0) == {"done": True}


async def test_an_account_has_its_turn_after_a_path_that_touched_it_and_after_each_close(
    open_desk: Open, write_candles: WriteCandles
) -> None:
    desk = await open_desk(market=write_candles(FLAT, FALL))
    await desk.post("/paper/subscribers", name="main", role="account", symbols=["BTCUSDT"])
    await desk.post("/paper/start")

    turns = []
    barrier = -1
    while True:
        turn = await desk.get("/paper/turn", name="main", after=barrier, timeout_ms=20_000)
        if not turn["waiting"]:
            break
        turns.append((turn["step"], turn["at_ms"]))
        barrier = turn["barrier"]
        if len(turns) == 1:
            await desk.buy(stopLoss="49900")
        await desk.post("/paper/done", name="main", barrier=barrier)

    first, second = START_MS + MINUTE, START_MS + 2 * MINUTE
    assert turns == [(0, first), (1, second), (1, second)]
    assert turn == {"waiting": False, "ended": True}


async def test_an_order_at_a_close_fills_half_a_spread_from_it(
    open_desk: Open, write_candles: WriteCandles
) -> None:
    desk = await open_desk(market=write_candles(FLAT, FALL))
    await desk.step(2)

    await desk.buy()

    (execution,) = await desk.executions()
    assert execution["execPrice"] == "49500.1"
    assert execution["execTime"] == str(START_MS + 2 * MINUTE)


async def test_one_that_leaves_is_no_longer_waited_for(
    open_desk: Open, write_candles: WriteCandles
) -> None:
    desk = await open_desk(market=write_candles(FLAT, FLAT))
    await desk.step()

    await desk.request("DELETE", "/paper/subscribers", params={"name": "desk"})

    await eventually(lambda: desk.paper.exchange.phase == "ended")


async def test_missing_minutes_do_not_exist(open_desk: Open, write_candles: WriteCandles) -> None:
    desk = await open_desk(market=write_candles(*[FLAT] * 5, skip=(2, 3)))

    await desk.step(3)

    assert (await desk.get("/paper/clock"))["market_ms"] == START_MS + 5 * MINUTE
    rows = await desk.klines()
    assert [(int(r[0]) - START_MS) // MINUTE for r in rows] == [4, 1, 0]


async def trade(desk: Desk, steps: int) -> None:
    """Buy and sell every other candle, with stops so near that some are hit."""
    for number in range(steps):
        await desk.step()
        if number % 2 == 0:
            ticker = (await desk.rows("get_tickers", symbol="ETHUSDT"))[0]
            side = "Buy" if number % 4 == 0 else "Sell"
            away = -2 if side == "Buy" else 2
            stop = str(round(float(ticker["lastPrice"]) + away, 2))
            await desk.buy("1", symbol="ETHUSDT", side=side, stopLoss=stop)


async def test_two_runs_give_the_same_executions(open_desk: Open) -> None:
    histories = []
    for _ in range(2):
        desk = await open_desk(steps=40, history=50, symbols=("ETHUSDT", "XRPUSDT"), seed=5)
        await trade(desk, 40)
        executions = await desk.get("/paper/executions")
        orders = await desk.get("/paper/orders")
        histories.append((executions["list"], orders["list"]))
        ledger = await desk.get("/paper/ledger")
        assert ledger["balanced"]

    assert histories[0] == histories[1]
    kinds = {e["createType"] for e in histories[0][0]}
    assert kinds == {"CreateByUser", "CreateByStopLoss"}


async def test_what_the_control_side_does_not_understand_is_refused(desk: Desk) -> None:
    for body in (
        {"role": "market"},
        {"name": "x"},
        {"name": "x", "role": "preset", "timeframe": "7m"},
    ):
        answer = await asyncio.to_thread(desk.send, "POST", "/paper/subscribers", json=body)

        assert answer.status_code == 400
        assert "not understood" in answer.json()["error"]
