"""Weeks of a strategy's life in seconds: its clocks are skipped, its candles are told."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from tradewright import ids
from tradewright.domain.breaker import SymbolBreaker
from tradewright.domain.market import Candle
from tradewright.domain.plan import Mode
from tradewright.ports import (
    CandleClosed,
    ClosedCandle,
    Evaluation,
    Proposals,
    Refusal,
    ShadowCandles,
    Universe,
)

Until = Callable[..., Any]

START = datetime(2026, 3, 2, tzinfo=UTC)
HOURS = timedelta(hours=4)
WEEKS = 2
CANDLES = WEEKS * 7 * 6


async def test_weeks_in_the_shadow_end_as_they_should(impatient_stage: Any, until: Until) -> None:
    """A signal a day, a bad morning each week, a universe chosen weekly; every run is short."""
    stage = impatient_stage
    by_day: dict[int, str] = {}

    async def evaluated(asked: Evaluation) -> Proposals:
        hour, day = asked.close_time.hour, (asked.close_time - START).days
        if day % 7 == 3 and hour < 12:
            fault = Refusal(symbol="BTCUSDT", code="stale_candles", reason="old", fault=True)
            return Proposals(refusals=(fault,))
        if hour != 12:
            return Proposals()
        by_day[day] = ids.trade_id(stage.account, stage.preset, "BTCUSDT", asked.close_time)
        return Proposals(proposals=(stage.proposal(**signal(by_day[day], asked.close_time)),))

    def signal(trade_id: str, at: datetime) -> dict[str, Any]:
        return {"trade_id": trade_id, "trigger": at, "take_profit": Decimal(51_000)}

    async def chosen(_: Any) -> Universe:
        return Universe(symbols=("BTCUSDT",))

    stage.market.script.answer("evaluate", *[evaluated] * (CANDLES + 1))
    stage.market.script.answer("universe", *[chosen] * 400)
    terms = SymbolBreaker(failures=3, pause=timedelta(hours=1))
    with stage.env.with_time_skipping_disabled():
        started = await stage.start_strategy(
            mode=Mode.SHADOW,
            symbols=(),
            universe_every=timedelta(days=7),
            breaker=terms,
            timeframe="4h",
        )
        strategy = stage.client.get_workflow_handle(started.id)
        for number in range(1, CANDLES + 1):
            close = START + number * HOURS
            await strategy.signal("candle", CandleClosed(symbols=("BTCUSDT",), close_time=close))
            status = await until(strategy, "status", lambda s, n=number: s["candles"] == n)
            if close.hour == 16 and status["shadows"]:
                await _ended(stage, status["shadows"][0], close)
                await until(strategy, "status", lambda s: s["shadows"] == [])

    assert status["approved"] == len(by_day) == WEEKS * 7
    assert status["broken"] == []
    changes = [e.data["change"] for e in stage.journal.events if "change" in e.data]
    assert changes.count("symbol_rests") == changes.count("symbol_works") == WEEKS
    assert (await strategy.describe()).run_id != started.first_execution_run_id
    assert not stage.exchange.script.calls


async def _ended(stage: Any, workflow_id: str, close: datetime) -> None:
    # Every second day gains: losses in a row would make its desk refuse
    end = Decimal(51_500 if close.day % 2 else 49_000)
    candle = Candle(
        open_time=close - HOURS,
        open=Decimal(50_000),
        high=max(end, Decimal(50_000)),
        low=min(end, Decimal(50_000)),
        close=end,
        volume=Decimal(1),
    )
    shadow = stage.client.get_workflow_handle(workflow_id)
    stage.keep(shadow)
    told = ShadowCandles(closed=(ClosedCandle(candle=candle, close=close),))
    await shadow.signal("candles", told)
