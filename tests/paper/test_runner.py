"""The runner: plays what a source says, by the clock or at once, and lets requests in."""

import time
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.paper.conftest import START, Desk, Open, Row, WriteCandles, eventually
from tests.paper.test_tape import SNAPSHOT, traded, written
from tradewright.paper.market.script import Script

FLAT: Row = (50_000, 50_000, 50_000, 50_000)
FALL: Row = (50_000, 50_000, 48_900, 49_500)
RISE: Row = (49_500, 51_500, 49_400, 51_000)


async def trade(desk: Desk) -> None:
    """Buy with a stop, and let a limit order wait below it and another one above."""
    await desk.buy("0.1", stopLoss="49200", orderLinkId="entry")
    await desk.limit("49050", qty="0.2", orderLinkId="low")
    await desk.limit("51200", qty="0.2", orderLinkId="high", side="Sell")


async def fills(desk: Desk) -> list[tuple[str, str, str, str]]:
    return [
        (e["side"], e["execPrice"], e["execQty"], e["createType"]) for e in await desk.executions()
    ]


async def test_candles_trade_the_same_by_the_clock_and_in_lockstep(
    open_desk: Open, write_candles: WriteCandles
) -> None:
    data = write_candles(FLAT, *[FLAT] * 2, FALL, RISE)
    settings: dict[str, Any] = {"market": data, "data_from": START + timedelta(minutes=1)}

    lockstep = await open_desk(**settings)
    await lockstep.step()
    await trade(lockstep)
    await lockstep.step(4)
    by_clock = await open_desk(**settings, speed=60.0)
    await trade(by_clock)
    await eventually(lambda: by_clock.paper.exchange.phase == "ended")

    assert await fills(lockstep) == await fills(by_clock)
    assert len(await fills(lockstep)) == 4


@pytest.mark.parametrize("speed", [1e6, "lockstep"])
async def test_requests_are_answered_while_the_market_goes_as_fast_as_it_can(
    open_desk: Open, speed: Any
) -> None:
    desk = await open_desk(symbols=("BTCUSDT",), steps=20_000, speed=speed, start=START)
    await desk.buy()
    if speed == "lockstep":
        await desk.post("/paper/start")

    longest = 0.0
    for _ in range(10):
        began = time.monotonic()
        await desk.get("/v5/market/tickers", category="linear", symbol="BTCUSDT")
        longest = max(longest, time.monotonic() - began)

    assert desk.paper.exchange.phase != "ended"
    assert desk.paper.exchange.progress.step > 0
    assert longest < 2


async def test_what_happens_in_one_turn_is_written_together(
    open_desk: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prints = [traded(n, "Buy", f"{100 + n % 5}", "1") for n in range(1, 5000)]
    desk = await open_desk(market=written(tmp_path, SNAPSHOT, *prints), speed=1.0)
    exchange = desk.paper.exchange
    batches: list[Any] = []
    write = exchange.store.write

    def count(batch: Any) -> None:
        batches.append(batch)
        write(batch)

    monkeypatch.setattr(exchange.store, "write", count)

    await eventually(lambda: exchange.phase == "ended" or exchange.progress.tick > 3000)

    assert len(batches) < 300
    assert exchange.quotes["BTCUSDT"].prints


async def test_funding_is_paid_when_it_is_due(open_desk: Open, write_candles: WriteCandles) -> None:
    begin = datetime.fromisoformat("2022-01-01T07:57:00Z")
    data = write_candles(*[FLAT] * 5, start=begin)
    desk = await open_desk(market=data, funding_rate=Decimal("0.0001"))
    await desk.step()
    await desk.buy("0.2")

    await desk.step(3)

    (_, funding) = await desk.executions()
    assert (funding["execType"], funding["execFee"]) == ("Funding", "1")
    assert funding["execTime"] == str(int(begin.timestamp() + 180) * 1000)
    assert (await desk.get("/paper/ledger"))["balanced"]


async def test_without_a_rate_candles_pay_no_funding(
    open_desk: Open, write_candles: WriteCandles
) -> None:
    begin = datetime.fromisoformat("2022-01-01T07:57:00Z")
    desk = await open_desk(market=write_candles(*[FLAT] * 5, start=begin))
    await desk.step()
    await desk.buy("0.2")

    await desk.step(3)

    assert len(await desk.executions()) == 1


async def test_a_restart_within_a_candle_plays_only_the_rest_of_it(
    open_desk: Open, tmp_path: Path, write_candles: WriteCandles
) -> None:
    settings: dict[str, Any] = {
        "market": write_candles(FLAT, *[FALL, RISE] * 20),
        "speed": 600.0,
        "state": tmp_path / "paper.db",
    }
    desk = await open_desk(**settings)
    first = desk.paper.exchange
    await eventually(lambda: first.progress.step > 3 and first.progress.tick > 3)
    reached = first.progress
    await desk.buy("0.01")

    again = (await open_desk(**settings | {"state": copied(tmp_path)})).paper.exchange
    await eventually(lambda: len(again.quotes["BTCUSDT"].prints) > 2)

    times = [p.at_ms for p in again.quotes["BTCUSDT"].prints]
    assert min(times) > reached.at_ms
    assert times == sorted(times)


def copied(folder: Path) -> Path:
    """Return a copy of the state as a kill would leave it."""
    target = folder / "copy"
    target.mkdir()
    for file in folder.glob("paper.db*"):
        (target / file.name).write_bytes(file.read_bytes())
    return target / "paper.db"


async def test_candles_of_a_script_are_told_as_they_close(open_desk: Open, tmp_path: Path) -> None:
    script = Script.of("rise 1 % in 30 s", "fall 1 % in 200 s", BTCUSDT=50_000)
    desk = await open_desk(
        market=script.saved(tmp_path / "s.yaml"), speed=200.0, history=3, start=START
    )
    stream = await desk.public(("kline_stream", (1, "BTCUSDT")))

    def confirmed() -> list[dict[str, Any]]:
        return [row for row in stream.rows("kline.1.BTCUSDT") if row["confirm"]]

    await eventually(lambda: len(confirmed()) >= 2)

    rows = await desk.klines(limit=200)
    known = {int(row[0]): row[1:6] for row in rows}
    for row in confirmed():
        columns = [row[n] for n in ("open", "high", "low", "close", "volume")]
        assert known[row["start"]] == columns
