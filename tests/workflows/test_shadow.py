"""A virtual trade from its signal to its end: decided, sized, followed, journaled, never sent."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from temporalio.client import WorkflowExecutionStatus, WorkflowFailureError

from tradewright import ids
from tradewright.domain.account import LeaveWish
from tradewright.domain.event import EventKind
from tradewright.domain.market import Candle, Side
from tradewright.domain.plan import LimitEntry, Mode
from tradewright.domain.shadow import FundingRate
from tradewright.domain.trade import TradeState
from tradewright.ports import (
    CandleClosed,
    ClosedCandle,
    Fundings,
    MarketView,
    Proposals,
    ShadowCandles,
    ShadowExit,
)
from workflows.market import MarketStart, MarketWorkflow
from workflows.shadow import ShadowStart, ShadowWorkflow

Until = Callable[..., Any]

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def candle(minute: int = 0) -> CandleClosed:
    return CandleClosed(symbols=("BTCUSDT",), close_time=NOON + minute * MINUTE)


def prices(*numbered: tuple[int, int, int]) -> ShadowCandles:
    """Return candles of *numbered*: each a minute after noon, its high and its low."""
    return ShadowCandles(
        closed=tuple(
            ClosedCandle(
                candle=Candle(
                    open_time=NOON + minute * MINUTE,
                    open=Decimal(high + low) / 2,
                    high=Decimal(high),
                    low=Decimal(low),
                    close=Decimal(high + low) / 2,
                    volume=Decimal(1),
                ),
                close=NOON + (minute + 1) * MINUTE,
            )
            for minute, high, low in numbered
        )
    )


def is_state(state: str) -> Callable[[Any], bool]:
    return lambda view: bool(view["trade"]["state"] == state)


def shadow_of(stage: Any) -> Any:
    proposal = stage.proposal()
    handle = stage.client.get_workflow_handle(
        ids.shadow_workflow(proposal.symbol, proposal.trade_id)
    )
    stage.keep(handle)
    return handle


def shadow_events(stage: Any) -> list[Any]:
    return [e for e in stage.journal.events if e.kind is EventKind.SHADOW_CHANGED]


async def signalled(stage: Any, until: Until, **changes: Any) -> tuple[Any, Any]:
    """Return a strategy in the shadow that has had a signal, and its virtual trade."""
    proposal = stage.proposal(**changes)
    stage.market.script.answer("evaluate", Proposals(proposals=(proposal,)))
    strategy = await stage.start_strategy(mode=Mode.SHADOW)
    await strategy.signal("candle", candle())
    await until(strategy, "status", lambda s: s["candles"] == 1)
    shadow = shadow_of(stage)
    await until(shadow, "trade", is_state("open"))
    return strategy, shadow


async def test_a_signal_in_the_shadow_becomes_a_virtual_trade_and_nothing_else(
    stage: Any, until: Until
) -> None:
    strategy, shadow = await signalled(stage, until)

    status = await strategy.query("status")
    view = await shadow.query("trade")

    assert (status["approved"], status["shadows"]) == (1, [shadow.id])
    plan = view["trade"]["plan"]
    assert (plan["mode"], Decimal(plan["qty"]), view["trade"]["stop"]) == (
        "shadow",
        Decimal("0.1"),
        "49500",
    )
    assert stage.desk.script.count("reserve") == 0
    assert stage.desk.script.count("rehearse") == 1
    assert not stage.exchange.script.calls
    description = await shadow.describe()
    assert await description.static_summary() == f"virtual: Buy 0.1 BTCUSDT · {stage.preset}"


@pytest.mark.parametrize("late", ["decided long ago", "waited long enough"])
async def test_an_entry_that_would_not_be_sent_any_more_is_not_made(
    stage: Any, until: Until, late: str
) -> None:
    if late == "decided long ago":
        plan = stage.plan(expires_at=datetime.now(UTC) - MINUTE)
    else:
        plan = stage.plan(entry=LimitEntry(rest_until=NOON))
        stage.market.script.answer("observe", MarketView(price=Decimal(50_000), at=NOON))

    handle = await stage.start(
        ShadowWorkflow.run,
        ShadowStart(plan=plan),
        ids.shadow_workflow(plan.symbol, plan.trade_id),
    )
    trade = await handle.result()

    assert (trade.state, trade.executions) == (TradeState.REJECTED, ())
    assert trade.rejection.startswith("expired: ")


async def test_it_ends_by_the_prices_and_is_in_the_journal_from_start_to_end(
    stage: Any, until: Until
) -> None:
    strategy, shadow = await signalled(stage, until, take_profit=Decimal(51_000))

    await shadow.signal("candles", prices((1, 51_200, 50_100)))
    trade = await shadow.result()
    status = await until(strategy, "status", lambda s: s["shadows"] == [])

    assert (trade["state"], trade["exit_reason"]) == ("closed", "target")
    events = shadow_events(stage)
    assert events[0].data["event"]["kind"] == "started"
    assert events[-1].data["trade"] == trade
    assert {e.trade_id for e in events} == {trade["plan"]["trade_id"]}
    assert not [e for e in stage.journal.events if e.kind is EventKind.TRADE_CHANGED]
    assert not stage.exchange.script.calls
    assert status["approved"] == 1


async def test_it_enters_at_what_one_may_buy_at(stage: Any, until: Until) -> None:
    look = MarketView(
        price=Decimal(50_000), market={"bid": "49990", "ask": "50010"}, at=NOON + MINUTE
    )
    stage.market.script.answer("observe", look)

    _, shadow = await signalled(stage, until)

    view = await shadow.query("trade")
    [entry] = view["trade"]["executions"]
    assert (entry["price"], entry["at"]) == ("50010", "2026-03-02T12:01:00Z")


async def test_a_symbol_holds_one_virtual_trade_at_a_time(stage: Any, until: Until) -> None:
    strategy, _ = await signalled(stage, until)
    later = stage.proposal(
        trade_id=ids.trade_id(stage.account, stage.preset, "BTCUSDT", NOON + MINUTE),
        trigger=NOON + MINUTE,
    )
    stage.market.script.answer("evaluate", Proposals(proposals=(later,)))

    await strategy.signal("candle", candle(1))
    status = await until(strategy, "status", lambda s: s["candles"] == 2)

    assert (status["approved"], status["refused"]) == (1, 1)
    assert status["note"].startswith("BTCUSDT refused, symbol_taken")


async def test_when_it_has_ended_its_cooldown_is_kept(stage: Any, until: Until) -> None:
    strategy, shadow = await signalled(stage, until, cooldown=timedelta(minutes=30))
    await shadow.signal("candles", prices((1, 50_100, 49_400)))
    await shadow.result()
    await until(strategy, "status", lambda s: s["shadows"] == [])
    later = stage.proposal(
        trade_id=ids.trade_id(stage.account, stage.preset, "BTCUSDT", NOON + 5 * MINUTE),
        trigger=NOON + 5 * MINUTE,
    )
    stage.market.script.answer("evaluate", Proposals(proposals=(later,)))

    await strategy.signal("candle", candle(5))
    status = await until(strategy, "status", lambda s: s["candles"] == 2)

    assert status["note"].startswith("BTCUSDT refused, cooldown")


async def test_its_strategy_lets_it_be_left_by_its_rules(stage: Any, until: Until) -> None:
    strategy, shadow = await signalled(stage, until)
    wish = LeaveWish(preset=stage.preset, symbol="BTCUSDT", side=Side.BUY, reason="over")
    stage.market.script.answer("evaluate", Proposals(exits=(wish,)))

    await strategy.signal("candle", candle(3))
    trade = await shadow.result()

    assert (trade["exit_reason"], trade["exit_note"]) == ("signal", "over")
    assert trade["closed_at"] == "2026-03-02T12:03:00Z"
    second = stage.market.script.of("evaluate")[1]
    assert second.shadows == (shadow.id,)


async def test_candles_told_twice_count_once(stage: Any, until: Until) -> None:
    _, shadow = await signalled(
        stage,
        until,
        exits={"timeframe": "1m", "trailing": {"after_r": "1", "distance": "300"}},
    )
    rise = prices((1, 50_700, 50_200))

    await shadow.signal("candles", rise)
    await until(shadow, "trade", lambda v: v["trade"]["stop"] != "49500")
    await shadow.signal("candles", rise)
    await shadow.signal("candles", prices((0, 50_500, 49_000)))
    view = await until(shadow, "trade", lambda v: not v["busy"])

    # The low of the candle that raised the stop lies below the stop that it raised
    assert (view["trade"]["state"], view["trade"]["stop"]) == ("open", "50400")


@pytest.mark.parametrize("kind", ["signal", "update"])
async def test_a_person_leaves_it(stage: Any, until: Until, kind: str) -> None:
    _, shadow = await signalled(stage, until)
    wish = ShadowExit(note="enough", by="ann")

    if kind == "signal":
        await shadow.signal("exit", wish)
    else:
        await shadow.execute_update(ShadowWorkflow.exit_by_update, wish)
    trade = await shadow.result()

    assert (trade["exit_by"], trade["exit_reason"]) == ("ann", "operator")


async def test_cancelled_it_is_left_and_journaled(stage: Any, until: Until) -> None:
    strategy, shadow = await signalled(stage, until)

    await shadow.cancel(reason="done with it")
    with pytest.raises(WorkflowFailureError):
        await shadow.result()
    await until(strategy, "status", lambda s: s["shadows"] == [])

    assert (await shadow.describe()).status is WorkflowExecutionStatus.CANCELED
    last = shadow_events(stage)[-1].data["trade"]
    assert (last["state"], last["exit_reason"]) == ("closed", "cancelled")


async def test_it_outlives_its_strategy(stage: Any, until: Until) -> None:
    strategy, shadow = await signalled(stage, until)

    await strategy.cancel()
    with pytest.raises(WorkflowFailureError):
        await strategy.result()
    await shadow.signal("candles", prices((1, 50_100, 49_400)))

    assert (await shadow.result())["state"] == "closed"


async def test_what_it_cannot_read_calls_a_person(stage: Any, until: Until) -> None:
    _, shadow = await signalled(stage, until)

    await shadow.signal("candels", {})
    misnamed = await until(shadow, "trade", lambda v: bool(v["needs_operator"]))
    await shadow.signal("candles", {"closed": "all"})
    unread = await until(shadow, "trade", lambda v: "candles" in v["needs_operator"])

    assert "there is no such signal" in misnamed["needs_operator"]
    assert "was not understood" in unread["needs_operator"]
    assert unread["trade"]["state"] == "open"


async def test_the_market_keeps_a_list_of_those_that_run(stage: Any, until: Until) -> None:
    stage.market.script.hold("consume_market")
    market = await stage.start(
        MarketWorkflow.run,
        MarketStart(account=stage.account),
        ids.market_workflow(stage.account),
    )
    strategy, shadow = await signalled(stage, until)

    listed = await until(market, "watchlist", lambda w: len(w["shadows"]) == 1)
    await shadow.signal("exit", {"by": "ann"})
    await shadow.result()

    assert listed["shadows"][0]["mode"] == "shadow"
    await until(market, "watchlist", lambda w: w["shadows"] == [])
    await strategy.cancel()


async def test_a_long_life_goes_on_in_another_run(impatient_stage: Any, until: Until) -> None:
    stage = impatient_stage
    plan = stage.plan(mode=Mode.SHADOW)
    shadow = await stage.start(
        ShadowWorkflow.run,
        ShadowStart(plan=plan),
        ids.shadow_workflow(plan.symbol, plan.trade_id),
    )
    handle = stage.client.get_workflow_handle(shadow.id)
    await until(handle, "trade", is_state("open"))

    for minute in range(1, 40):
        await handle.signal("candles", prices((minute, 50_100, 49_900)))
    await handle.signal("candles", prices((41, 50_000, 49_400)))
    trade = await handle.result()

    assert trade["state"] == "closed"
    assert (await handle.describe()).run_id != shadow.first_execution_run_id
    numbers = [event.event_id for event in shadow_events(stage)]
    assert len(numbers) == len(set(numbers))


# --- funding --------------------------------------------------------------------------------------


def due(hours: int, rate: str = "0.0001") -> FundingRate:
    return FundingRate(at=NOON + 60 * hours * MINUTE, rate=Decimal(rate), price=Decimal(50_000))


async def test_funding_is_counted_for_what_was_held_when_it_was_due(
    stage: Any, until: Until
) -> None:
    _, shadow = await signalled(stage, until, take_profit=Decimal(51_000))
    stage.market.script.answer("read_fundings", Fundings(rates=(due(1), due(2))))

    await shadow.signal("candles", prices((1, 50_100, 50_000)))
    await shadow.signal("candles", prices((61, 50_100, 50_000), (119, 51_200, 50_900)))
    trade = await shadow.result()

    # The second was due when the position was closed already, within the minute before
    assert Decimal(trade["funding"]) == -Decimal("0.1") * 50_000 * Decimal("0.0001")
    [asked] = stage.market.script.of("read_fundings")
    assert (asked.since, asked.until) == (NOON + MINUTE / 60, NOON + 120 * MINUTE)
    kinds = [event.data["event"]["kind"] for event in shadow_events(stage)]
    assert kinds.index("funded") < len(kinds) - 1
    assert Decimal(trade["funding"]) < 0


async def test_funding_that_cannot_be_read_is_asked_for_again(
    stage: Any, until: Until, failure: Any
) -> None:
    _, shadow = await signalled(stage, until)
    stage.market.script.answer(
        "read_fundings", failure("away", final=True), Fundings(rates=(due(1), due(2)))
    )

    await shadow.signal("candles", prices((60, 50_100, 50_000)))
    await stage.market.script.called("read_fundings")
    await shadow.signal("candles", prices((119, 50_100, 50_000)))
    view = await until(shadow, "trade", lambda v: Decimal(v["trade"]["funding"]) != 0)
    await shadow.signal("exit", ShadowExit(at=NOON + 121 * MINUTE))
    trade = await shadow.result()

    first, second = stage.market.script.of("read_fundings")
    assert first.since == second.since == NOON + MINUTE / 60
    assert Decimal(trade["funding"]) == Decimal(view["trade"]["funding"]) == -1
