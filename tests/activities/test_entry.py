"""How an entry comes to the exchange: intended first, sent once, and only while it is wanted."""

import asyncio
import csv
import threading
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from activities.entry import LANDING_MARGIN, PLAIN_REJECTIONS, SEND_WITHIN
from tradewright import ids
from tradewright.domain.errors import (
    AnswerMalformed,
    ExchangeUnreachable,
)
from tradewright.domain.gate import QUIET_TIME, GateState
from tradewright.domain.plan import TradePlan
from tradewright.domain.trade import EntryPlaced, EntryRejected
from tradewright.ports import TradeOrder

ERROR_CODES = Path(__file__).parents[3] / "shared" / "facts" / "bybit" / "error_codes.csv"


def entry_link(plan: TradePlan) -> str:
    return ids.order_link(plan.trade_id, "e", 1)


async def test_the_entry_carries_its_stop_and_its_target(bench: Any, make_plan: Any) -> None:
    plan = make_plan()

    placed = await bench.run(bench.exchange.place_entry, TradeOrder(plan=plan))

    (order,) = bench.orders(entry_link(plan))
    assert placed == EntryPlaced(order_id=order.order_id)
    position = bench.paper.exchange.engine.accounts["main"].positions["BTCUSDT"]
    assert (bench.held(), position.leverage) == (plan.qty, 2)
    stops = {o.stop.value: o.trigger_price for o in bench.open_orders()}
    assert stops == {"StopLoss": plan.stop_loss, "TakeProfit": plan.take_profit}


async def test_the_intent_is_in_the_journal_before_the_order_is_sent(
    bench: Any, make_plan: Any
) -> None:
    plan, seen = make_plan(), []

    def look_first(send: Any) -> Any:
        seen.extend(bench.journal.events)
        return send()

    bench.line.spoil("place_order", look_first)

    await bench.enter(plan)

    assert seen == [f"{ids.trade_workflow('BTCUSDT', plan.trade_id)}/intent"]


@pytest.mark.parametrize("state", [GateState.EXITS_ONLY, GateState.HALTED])
async def test_nothing_is_sent_when_the_gate_is_closed(
    bench: Any, make_plan: Any, state: GateState
) -> None:
    bench.journal.close_gate(state)

    refused = await bench.run(bench.exchange.place_entry, TradeOrder(plan=make_plan()))

    assert refused == EntryRejected(code="gate_closed", reason=f"the gate is {state} by ann: test")
    assert bench.line.count("place_order") == 0


async def test_nothing_is_sent_when_the_journal_is_away_but_exits_work(
    bench: Any, make_plan: Any
) -> None:
    held, new = make_plan(), make_plan(symbol="ETHUSDT")
    await bench.enter(held)
    bench.journal.is_away = True

    with pytest.raises(Exception, match="journal is away"):
        await bench.enter(new)
    sent = await bench.run(bench.exchange.flatten, TradeOrder(plan=held))

    assert bench.line.count("place_order") == 2
    assert (sent.qty, bench.held(), bench.held("ETHUSDT")) == (held.qty, 0, 0)


async def test_nothing_is_sent_when_the_gate_cannot_be_read(bench: Any, make_plan: Any) -> None:
    bench.journal.gate_is_away = True

    with pytest.raises(Exception, match="journal is away"):
        await bench.enter(make_plan())

    assert bench.line.count("place_order") == 0
    # The next attempt knows that this one sent nothing
    assert bench.heartbeats == [(1, None)]


async def test_an_expired_plan_is_not_sent(bench: Any, make_plan: Any) -> None:
    plan = make_plan(expires_at=datetime.now(UTC) - timedelta(seconds=1))

    refused = await bench.run(bench.exchange.place_entry, TradeOrder(plan=plan))

    assert (refused.code, bench.line.count("place_order")) == ("expired", 0)


async def test_what_the_exchange_rejects_is_a_rejected_entry(bench: Any, make_plan: Any) -> None:
    refused = await bench.run(
        bench.exchange.place_entry, TradeOrder(plan=make_plan(qty=Decimal("0.00001")))
    )

    assert isinstance(refused, EntryRejected)
    assert (refused.code, "truncated to zero" in refused.reason) == ("bybit_110017", True)


async def test_a_stop_that_the_price_has_passed_rejects_the_entry(
    bench: Any, make_plan: Any
) -> None:
    passed, meanwhile = make_plan(), make_plan(symbol="ETHUSDT")
    bench.move("BTCUSDT", passed.stop_loss - 100)

    def pass_it_first(send: Any) -> Any:
        bench.move_meanwhile("ETHUSDT", meanwhile.stop_loss - 10)
        return send()

    bench.line.spoil("place_order", pass_it_first)

    refused = await bench.run(bench.exchange.place_entry, TradeOrder(plan=passed))
    rejected = await bench.run(bench.exchange.place_entry, TradeOrder(plan=meanwhile))

    assert (refused.code, rejected.code) == ("price_moved", "bybit_10001")
    assert (bench.held(), bench.held("ETHUSDT")) == (0, 0)


@pytest.mark.parametrize("side", ["Buy", "Sell"])
async def test_an_entry_is_not_sent_at_a_price_far_worse_than_planned(
    bench: Any, make_plan: Any, side: str
) -> None:
    plan = make_plan(side=side)
    half = abs(plan.price - plan.stop_loss) / 2 * plan.side.sign
    bench.move("BTCUSDT", plan.price + half + plan.side.sign)

    refused = await bench.run(bench.exchange.place_entry, TradeOrder(plan=plan))

    assert refused.code == "price_moved"
    assert f"planned was {plan.price}" in refused.reason
    assert bench.line.count("place_order") == 0


@pytest.mark.parametrize("side", ["Buy", "Sell"])
async def test_an_entry_is_not_sent_at_more_slippage_than_the_preset_allows(
    bench: Any, make_plan: Any, side: str
) -> None:
    plan = make_plan(side=side, max_slippage_bp=Decimal(10))
    bench.move("BTCUSDT", plan.price * (1 + plan.side.sign * Decimal("0.0011")))

    refused = await bench.run(bench.exchange.place_entry, TradeOrder(plan=plan))

    assert refused.code == "slippage_too_large"
    assert "11.0 bp worse than" in refused.reason
    assert bench.line.count("place_order") == 0


@pytest.mark.parametrize("side", ["Buy", "Sell"])
async def test_slippage_is_reckoned_from_what_one_would_pay_not_from_the_last_trade(
    bench: Any, make_plan: Any, side: str
) -> None:
    plan = make_plan(side=side, max_slippage_bp=Decimal(10))
    half = plan.price * Decimal("0.0012")
    wide = {"bid1Price": str(plan.price - half), "ask1Price": str(plan.price + half)}
    none = {"bid1Price": "", "ask1Price": ""}
    for quotes in (wide, none):
        bench.line.spoil("get_tickers", bench.faults.rows(lambda rows, new=quotes: [rows[0] | new]))

    refused = await bench.run(bench.exchange.place_entry, TradeOrder(plan=plan))
    unknown = await bench.run(bench.exchange.place_entry, TradeOrder(plan=plan))

    assert (refused.code, unknown.code) == ("slippage_too_large", "slippage_too_large")
    assert "12.0 bp worse than" in refused.reason
    assert "is unknown" in unknown.reason
    assert bench.line.count("place_order") == 0


@pytest.mark.parametrize("side", ["Buy", "Sell"])
@pytest.mark.parametrize("share", ["0.4", "-0.9"])
async def test_a_price_a_little_worse_or_better_than_planned_is_taken(
    bench: Any, make_plan: Any, side: str, share: str
) -> None:
    plan = make_plan(side=side)
    away = abs(plan.price - plan.stop_loss) * Decimal(share) * plan.side.sign
    bench.move("BTCUSDT", plan.instrument.floor_price(plan.price + away))

    placed = await bench.run(bench.exchange.place_entry, TradeOrder(plan=plan))

    assert isinstance(placed, EntryPlaced)


async def test_nothing_is_sent_when_the_price_cannot_be_read(bench: Any, make_plan: Any) -> None:
    bench.line.spoil("get_tickers", bench.faults.http_status(502), bench.faults.empty_list)

    with pytest.raises(ExchangeUnreachable):
        await bench.enter(make_plan())
    with pytest.raises(AnswerMalformed):
        await bench.enter(make_plan(symbol="ETHUSDT"))

    assert bench.line.count("place_order") == 0


async def test_a_refused_key_rejects_the_entry_and_says_what_to_do(
    bench: Any, make_plan: Any
) -> None:
    bench.line.always["place_order"] = bench.faults.answers(10005, "Permission denied")

    refused = await bench.run(bench.exchange.place_entry, TradeOrder(plan=make_plan()))

    assert (refused.code, "permit contract orders" in refused.reason) == ("key_refused", True)


def test_what_counts_as_a_plain_rejection_is_documented_as_one() -> None:
    if not ERROR_CODES.exists():
        pytest.skip(f"{ERROR_CODES} is not on this machine")
    rows = list(csv.DictReader(ERROR_CODES.read_text().splitlines()))
    plain = {int(r["code"]) for r in rows if r["write_outcome"].startswith("not_applied")}
    other = {int(r["code"]) for r in rows if r["write_outcome"].startswith(("unknown", "an "))}

    assert plain >= PLAIN_REJECTIONS
    assert not other & PLAIN_REJECTIONS


async def test_a_plain_rejection_is_not_looked_up(bench: Any, make_plan: Any) -> None:
    bench.line.spoil("place_order", bench.faults.answers(110007, "not enough balance"))

    rejected = await bench.run(bench.exchange.place_entry, TradeOrder(plan=make_plan()))

    assert rejected.code == "bybit_110007"
    assert bench.line.count("get_open_orders") == 0


async def test_an_entry_that_waited_too_long_for_its_turn_asks_the_gate_again(
    bench: Any, make_plan: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_gate = bench.journal.gate
    plan = make_plan(trade_id=ids.trade_id("main", "next", "BTCUSDT", datetime.now(UTC)))
    gate_read, let_go = asyncio.Event(), threading.Event()

    async def gate(account: str) -> Any:
        gate_read.set()
        return await read_gate(account)

    # So that the leverage is set, and it is known that this venue counts no requests
    await bench.enter(make_plan())
    monkeypatch.setattr(bench.journal, "gate", gate)
    monkeypatch.setattr("activities.entry.SEND_WITHIN", 0.05)
    bench.line.spoil("place_order", *[lambda send: let_go.wait(20) and send()] * 16)
    others = [asyncio.create_task(bench.order("ETHUSDT", "Buy", f"0.{n}")) for n in range(10, 26)]
    async with asyncio.timeout(30):
        while bench.line.count("place_order") < 17:  # noqa: ASYNC110 the line tells nobody
            await asyncio.sleep(0.01)
    entering = asyncio.create_task(bench.run(bench.exchange.place_entry, TradeOrder(plan=plan)))
    await gate_read.wait()
    await asyncio.sleep(0.1)
    bench.journal.close_gate()
    let_go.set()

    with pytest.raises(ExchangeUnreachable, match="it had waited"):
        await entering
    await asyncio.gather(*others, return_exceptions=True)
    again = await bench.run(
        bench.exchange.place_entry,
        TradeOrder(plan=plan),
        attempt=2,
        details=bench.heartbeats[-1],
    )

    assert again.code == "gate_closed"
    assert bench.orders(entry_link(plan)) == []


def test_nothing_lands_after_the_quiet_time() -> None:
    recv_window = timedelta(seconds=5)

    assert timedelta(seconds=SEND_WITHIN) + recv_window + LANDING_MARGIN < QUIET_TIME
