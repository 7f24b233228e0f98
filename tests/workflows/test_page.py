"""What the Web UI shows: every number with its unit, every word in English."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewright.domain.account import Account, Block, Limits, Snapshot
from tradewright.domain.execution import Execution, ExitReason
from tradewright.domain.gate import Gate, GateState
from tradewright.domain.market import Instrument, Side, Timeframe
from tradewright.domain.plan import ExitRules, TradePlan
from tradewright.domain.reconciliation import Discrepancy, Kind
from tradewright.domain.trade import Command, Trade, TradeState
from tradewright.ports import Comparison, Notices, StrategyStatus, TradeOrder, Watch
from workflows.notifier_page import notifier_page
from workflows.page import (
    GATE_WORDS,
    desk_page,
    gate_page,
    market_page,
    number,
)
from workflows.reconciliation_page import reconciliation_page
from workflows.strategy_page import strategy_page
from workflows.trade_page import (
    EXIT_WORDS,
    STATE_WORDS,
    command_summary,
    plan_details,
    plan_summary,
    trade_details,
)

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)

MakePlan = Callable[..., TradePlan]


@pytest.fixture
def make_plan(make_instrument: Callable[..., Instrument]) -> MakePlan:
    def make(**changes: object) -> TradePlan:
        fields = {
            "trade_id": "tw" + "a" * 16,
            "account": "main",
            "preset": "ema",
            "preset_hash": "c0ffee",
            "symbol": "BTCUSDT",
            "side": Side.BUY,
            "qty": Decimal("0.100"),
            "price": Decimal(50_000),
            "stop_loss": Decimal("49500.0"),
            "exits": ExitRules(timeframe=Timeframe.M1),
            "leverage": Decimal(3),
            "instrument": make_instrument(),
            "reason": "fast crossed slow",
            "trigger": NOON,
            "decided_at": NOON,
            "expires_at": NOON + timedelta(seconds=30),
        }
        return TradePlan.model_validate(fields | changes)

    return make


def fill(side: Side, price: str, qty: str) -> Execution:
    return Execution(
        exec_id=f"{side}{price}{qty}",
        seq=1,
        order_id="o",
        symbol="BTCUSDT",
        side=side,
        price=Decimal(price),
        qty=Decimal(qty),
        fee=Decimal("0.05"),
        at=NOON,
    )


def account(**changes: object) -> Account:
    return Account.model_validate({"name": "main", "started_at": NOON} | changes)


# --- trades ---------------------------------------------------------------------------------------


def test_every_state_reason_and_gate_has_its_words() -> None:
    assert STATE_WORDS.keys() == set(TradeState)
    assert EXIT_WORDS.keys() == set(ExitReason)
    assert GATE_WORDS.keys() == set(GateState)
    assert not any("_" in words for words in (*STATE_WORDS.values(), *EXIT_WORDS.values()))


def test_a_plan_says_what_it_risks_and_why(make_plan: MakePlan) -> None:
    plan = make_plan(take_profit=Decimal("51000"))

    details = plan_details(plan)

    assert plan_summary(plan) == "Buy 0.1 BTCUSDT · ema"
    assert "- stop 49500, target 51000" in details
    assert "- at risk between entry and stop: 50.00 USDT (1 R)" in details
    assert "- because: fast crossed slow" in details
    assert "2026-01-01 12:00:00 UTC" in details


def test_an_open_trade_shows_its_average_with_eight_digits(make_plan: MakePlan) -> None:
    trade = Trade(
        plan=make_plan(),
        state=TradeState.OPEN,
        executions=(fill(Side.BUY, "50000", "0.1"), fill(Side.BUY, "50001", "0.2")),
        stop=Decimal("49500.0"),
        wanted_stop=Decimal("49500"),
        opened_at=NOON,
    )

    details = trade_details(trade, "")

    assert details.startswith("### Buy 0.1 BTCUSDT: open\n")
    assert "- entered 0.3 at 50000.667, 2026-01-01 12:00:00 UTC" in details
    assert "- stop at the exchange: 49500\n" in details
    assert "not confirmed" not in details
    assert "Request Cancellation" in details


def test_a_stop_that_is_not_confirmed_is_not_shown_as_standing(make_plan: MakePlan) -> None:
    trade = Trade(plan=make_plan(), state=TradeState.OPEN, wanted_stop=Decimal(49_500))

    details = trade_details(trade, "the exchange is silent")

    assert "stop at the exchange" not in details
    assert "- stop wanted, not confirmed yet: 49500" in details
    assert details.splitlines()[1] == "- **needs a person:** the exchange is silent"


def test_a_closed_trade_shows_what_it_came_to(make_plan: MakePlan) -> None:
    trade = Trade(
        plan=make_plan(),
        state=TradeState.CLOSED,
        executions=(fill(Side.BUY, "50000", "0.1"), fill(Side.SELL, "50500", "0.1")),
        exit_reason=ExitReason.STOP_PASSED,
        exit_note="110017",
        opened_at=NOON,
        closed_at=NOON + timedelta(minutes=1),
    )

    details = trade_details(trade, "")

    assert "- left 0.1 at 50500, 2026-01-01 12:01:00 UTC" in details
    assert "- **+49.90 USDT** (+1.00 R), after fees of 0.10 USDT" in details
    assert "- why it left: the price had passed where the stop was to go: 110017" in details
    assert "still held" not in details
    assert "Request Cancellation" not in details


def test_a_rejected_trade_says_why(make_plan: MakePlan) -> None:
    trade = Trade(plan=make_plan(), state=TradeState.REJECTED, rejection="bybit_110007: no balance")

    details = trade_details(trade, "")

    assert details.endswith("BTCUSDT: entry rejected\n- entry not made: bybit_110007: no balance")


@pytest.mark.parametrize("command", list(Command))
def test_every_command_is_told_in_one_short_line(make_plan: MakePlan, command: Command) -> None:
    summary = command_summary(command, TradeOrder(plan=make_plan(), price=Decimal("49600.0")))

    assert summary
    assert len(summary.encode()) <= 200
    assert "\n" not in summary


@given(st.decimals(min_value=0, max_value=10**9, allow_nan=False, allow_infinity=False))
def test_numbers_stay_short_and_true(value: Decimal) -> None:
    shown = number(value)

    assert "E" not in shown
    assert len(shown.replace(".", "").lstrip("0")) <= 10
    assert abs(Decimal(shown) - value) <= value * Decimal("5e-8")


# --- what lasts -----------------------------------------------------------------------------------


def test_the_desk_says_why_nothing_is_entered() -> None:
    desk = account(
        gate=GateState.EXITS_ONLY,
        gate_reason="maintenance",
        blocks=(Block(symbol="ETHUSDT", reason="a position without an owner"),),
    )

    page = desk_page(desk, Limits(), "the kill switch could not be tripped", "default")

    assert page.startswith("### Account main: gate exits only (safe mode)\n- **needs a person:**")
    assert "- the gate is so because: maintenance" in page
    assert "- **no entries** before the first reconciliation" in page
    assert "- **no entries** before the first snapshot of the account" in page
    assert "- **no entries on ETHUSDT:** a position without an owner" in page


def test_the_desk_links_to_the_trades_that_it_holds_risk_for(make_plan: MakePlan) -> None:
    snapshot = Snapshot(at=NOON, market_at=NOON, equity=Decimal(9_900), wallet=Decimal(9_900))
    desk = account(
        reconciled_at=NOON,
        snapshot=snapshot,
        peak_equity=Decimal("10000"),
        day_equity=Decimal("10000"),
    ).reserved(make_plan(), NOON)

    page = desk_page(desk, Limits(max_daily_loss_fraction=Decimal("0.05")), "", "live")

    assert "- equity 9,900.00 USDT, highest so far 10,000.00 USDT" in page
    assert "- today -1.00%; the kill switch trips at -5.00%" in page
    trade_id = "tw" + "a" * 16
    link = f"/namespaces/live/workflows/trade%2FBTCUSDT%2F{trade_id}"
    assert f"- Buy 0.1 BTCUSDT: trade [`{trade_id}`]({link})" in page
    assert not any(line.startswith(" ") for line in page.splitlines())


def test_the_desk_lists_each_limit_those_that_are_near_first() -> None:
    snapshot = Snapshot(at=NOON, market_at=NOON, equity=Decimal(9_700), wallet=Decimal(9_700))
    desk = account(
        reconciled_at=NOON,
        snapshot=snapshot,
        peak_equity=Decimal(9_700),
        day_equity=Decimal(10_000),
        losses=1,
    )

    lines = desk_page(desk, Limits(loss_streak=10), "", "default").splitlines()
    used = [line for line in lines if line.endswith(" used")]

    assert used[0] == "- **near:** max daily loss fraction 0.05, 60% used"
    assert used[1].startswith("- max open trades 5, 0%")
    assert "- loss streak 10, 10% used" in used
    assert not any("_" in line for line in used)


def test_a_day_without_gain_or_loss_has_no_sign() -> None:
    snapshot = Snapshot(at=NOON, market_at=NOON, equity=Decimal(10_000), wallet=Decimal(10_000))
    desk = account(snapshot=snapshot, peak_equity=Decimal(10_000), day_equity=Decimal(10_000))

    assert "- today 0.00%; " in desk_page(desk, Limits(), "", "default")


def test_what_never_ends_says_that_a_cancel_is_ignored() -> None:
    for page in (
        desk_page(account(), Limits(), "", "default"),
        gate_page(Gate(account="main", at=NOON), "", ""),
        notifier_page(Notices(account="main"), "default"),
    ):
        assert page.endswith("*Request Cancellation is ignored: this workflow never ends.*")


def test_a_halted_gate_says_how_it_is_opened_again() -> None:
    gate = Gate(
        account="main", state=GateState.HALTED, reason="too much lost", by="ann", at=NOON, trip=2
    )

    page = gate_page(gate, "flattening, round 1", "")

    assert page.startswith("### Gate: halted\n- **now:** flattening, round 1")
    assert "- by ann: too much lost" in page
    assert "`rearm`" in page
    assert "`trip`" not in page
    assert "`trip`" in gate_page(Gate(account="main", at=NOON), "", "")


def test_a_paused_strategy_says_why_and_how_it_goes_on() -> None:
    status = StrategyStatus(
        preset="ema",
        preset_hash="c0ffee",
        account="main",
        symbols=("BTCUSDT",),
        timeframe=Timeframe.M1,
        paused=True,
        pause_reason="news",
        note="BTCUSDT refused",
    )

    page = strategy_page(status)

    assert page.startswith("### ema: paused\n- paused because: news")
    assert "- candles: 0 so far\n" in page
    assert "- last remark: BTCUSDT refused" in page
    dated = strategy_page(status.model_copy(update={"note_at": NOON}))
    assert "- last remark (2026-01-01 12:00:00 UTC): BTCUSDT refused" in dated
    ended = strategy_page(status, cancelled=True)
    assert ended.startswith("### ema: cancelled\n")
    assert "`resume`" not in ended
    assert "`resume`" in page
    assert "`pause`" in strategy_page(status.model_copy(update={"paused": False}))


def test_a_reconciliation_lists_what_it_mended_and_what_it_left() -> None:
    discrepancy = Discrepancy(kind=Kind.ORPHAN_POSITION, symbol="BTCUSDT", detail="0.1 is held")
    found = Comparison(at=NOON, discrepancies=(discrepancy,), trades=1, positions=2)

    page = reconciliation_page(found, mended=["adopted"], left=["0.1 is held"], namespace="default")

    assert page.startswith("### 1 difference\n")
    assert "- mended: adopted\n- **left as it is:** 0.1 is held" in page
    agreed = reconciliation_page(Comparison(at=NOON), mended=[], left=[], namespace="default")
    assert agreed.startswith("### Exchange and trades agree\n")


def test_the_market_lists_whom_it_tells() -> None:
    watch = Watch(preset="ema", symbols=("BTCUSDT", "ETHUSDT"), timeframe=Timeframe.M1)

    assert market_page((watch,), "") == (
        "### 1 preset is told of candles\n- `ema`: BTCUSDT, ETHUSDT, candles of 1m"
    )
    assert market_page((), "") == "### No preset is told of candles"
