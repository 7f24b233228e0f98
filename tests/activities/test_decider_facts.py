"""Decisions that know what is held: the open trade, the account, and what moves alike."""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from activities.library import PresetUnusable
from tests.activities.decider_worker import DOCUMENT, MakeWorker, Worker
from tests.activities.exchange_of_data import START
from tradewright.domain.account import Account, Reservation
from tradewright.domain.account.snapshot import Snapshot
from tradewright.domain.errors import ExchangeUnreachable
from tradewright.domain.market import Instrument, Side, Timeframe
from tradewright.domain.plan import ExitRules, TradePlan
from tradewright.domain.trade import Trade
from tradewright.plugin import Needs
from tradewright.ports import TradeView

MakeInstrument = Callable[..., Instrument]


@pytest.fixture
def make_plan(make_instrument: MakeInstrument) -> Callable[..., TradePlan]:
    def make(**changes: Any) -> TradePlan:
        fields = {
            "trade_id": "twaaaaaaaaaaaaaaaa",
            "account": "main",
            "preset": "watched",
            "preset_hash": "unset",
            "symbol": "BTCUSDT",
            "side": Side.BUY,
            "qty": Decimal("0.01"),
            "price": Decimal(30000),
            "stop_loss": Decimal(29000),
            "exits": ExitRules(timeframe=Timeframe.M15),
            "leverage": Decimal(3),
            "instrument": make_instrument(),
            "trigger": START,
            "decided_at": START,
            "expires_at": START,
        }
        return TradePlan.model_validate(fields | changes)

    return make


def desk_with(*plans: TradePlan) -> Account:
    snapshot = Snapshot(at=START, market_at=START, equity=Decimal(12345), wallet=Decimal(12345))
    held = tuple(Reservation(plan=plan, at=START) for plan in plans)
    return Account(name="main", started_at=START, reservations=held, snapshot=snapshot)


FACTS = Needs(
    candles=40,
    series=(
        *("position.r", "position.candles", "position.pnl"),
        *("account.equity", "account.open_trades"),
    ),
)


async def test_exit_rules_see_the_open_trade_and_the_account(
    make_worker: MakeWorker, make_plan: Callable[..., TradePlan]
) -> None:
    worker = make_worker(needs=FACTS)
    plan = make_plan(preset_hash=worker.hash)
    trade = Trade(
        plan=plan,
        adopted_qty=Decimal("0.01"),
        adopted_price=Decimal(30000),
        opened_at=START - timedelta(minutes=50),
    )
    worker.ask_desk(
        {
            "account/main": desk_with(plan),
            f"trade/BTCUSDT/{plan.trade_id}": TradeView(trade=trade, busy=False),
        }
    )

    await worker.decide()

    (view,) = worker.strategy.seen
    gain = worker.exchange.close() - 30_000
    last = {name: float(values[-1]) for name, values in view.series.items()}
    assert last == pytest.approx(
        {
            "position.r": gain / 1000,
            "position.candles": 3.0,
            "position.pnl": gain * 0.01,
            "account.equity": 12345.0,
            "account.open_trades": 1.0,
        }
    )


async def test_exit_rules_see_the_virtual_trade_where_there_is_no_other(
    make_worker: MakeWorker, make_plan: Callable[..., TradePlan]
) -> None:
    worker = make_worker(needs=FACTS)
    plan = make_plan(preset_hash=worker.hash)
    trade = Trade(
        plan=plan, adopted_qty=Decimal("0.01"), adopted_price=Decimal(30000), opened_at=START
    )
    virtual = f"shadow/BTCUSDT/{plan.trade_id}"
    desk = worker.ask_desk(
        {"account/main": desk_with(), virtual: TradeView(trade=trade, busy=False)}
    )

    await worker.decide(shadows=("shadow/ETHUSDT/other", virtual))

    (view,) = worker.strategy.seen
    assert view.series["position.candles"][-1] == 0.0
    assert desk.asked == ["account/main", virtual]


async def test_a_trade_of_another_version_is_not_its_own(
    make_worker: MakeWorker, make_plan: Callable[..., TradePlan]
) -> None:
    worker = make_worker(needs=FACTS)
    plan = make_plan(preset_hash="other")
    trade = Trade(
        plan=plan, adopted_qty=Decimal("0.01"), adopted_price=Decimal(30000), opened_at=START
    )
    other = f"trade/BTCUSDT/{plan.trade_id}"
    worker.ask_desk({"account/main": desk_with(plan), other: TradeView(trade=trade, busy=False)})

    await worker.decide()

    (view,) = worker.strategy.seen
    assert np.isnan(view.series["position.r"][-1])
    assert view.series["account.open_trades"][-1] == 1.0


async def test_who_wants_to_know_nothing_asks_nobody(make_worker: MakeWorker) -> None:
    worker = make_worker()
    desk = worker.ask_desk({})

    await worker.decide()

    assert desk.asked == []


async def test_correlations_with_what_is_held_go_with_the_proposal(
    make_worker: MakeWorker, make_plan: Callable[..., TradePlan]
) -> None:
    text = DOCUMENT.replace("notional: 500}", "notional: 500, correlation: {max: 0.8}}")
    worker = make_worker()
    again = Worker(worker.exchange, text, worker.strategy)
    held = [make_plan(symbol=symbol) for symbol in ("BTCUSDT", "ETHUSDT", "CTBUSDT", "GONE")]
    again.ask_desk({"account/main": desk_with(*held)})
    answering = worker.exchange.call

    async def call(method: str, **arguments: Any) -> Any:
        if arguments.get("symbol") == "GONE":
            raise ExchangeUnreachable(method, "symbol invalid")
        return await answering(method, **arguments)

    worker.exchange.call = call  # type: ignore[method-assign]

    (wish,) = (await again.decide()).proposals

    # CTB is drawn from the same seed as BTC: it moves alike; of itself and GONE nothing is told
    assert wish.correlations.keys() == {"ETHUSDT", "CTBUSDT"}
    assert wish.correlations["CTBUSDT"] == pytest.approx(1.0)
    assert abs(wish.correlations["ETHUSDT"]) < 0.5


# --- what is left ---------------------------------------------------------------------------------


async def test_where_it_rests_it_is_asked_only_what_to_leave_of_what_it_holds(
    make_worker: MakeWorker, make_plan: Callable[..., TradePlan]
) -> None:
    worker = make_worker()
    held = [make_plan(), make_plan(symbol="CTBUSDT", preset="another")]
    worker.ask_desk({"account/main": desk_with(*held)})

    wishes = await worker.decide(symbols=(), resting=("BTCUSDT", "ETHUSDT", "CTBUSDT"))

    assert [wish.symbol for wish in wishes.exits] == ["BTCUSDT"]
    assert (wishes.proposals, wishes.refusals, wishes.fault) == ((), (), "")


@pytest.mark.parametrize("desk", ["silent", "virtual"])
async def test_what_may_be_held_is_asked_about(make_worker: MakeWorker, desk: str) -> None:
    worker = make_worker()
    worker.ask_desk({} if desk == "silent" else {"account/main": desk_with()})
    shadows = () if desk == "silent" else ("shadow/BTCUSDT/twa",)

    wishes = await worker.decide(symbols=(), resting=("BTCUSDT",), shadows=shadows)

    assert [wish.symbol for wish in wishes.exits] == ["BTCUSDT"]


@pytest.mark.parametrize(("opened_by", "is_told"), [("gone", True), ("another", False)])
async def test_a_person_is_told_of_a_trade_whose_version_cannot_be_asked_what_to_leave(
    make_worker: MakeWorker, make_plan: Callable[..., TradePlan], opened_by: str, is_told: bool
) -> None:
    worker = make_worker()
    worker.ask_desk({"account/main": desk_with(make_plan(preset_hash=opened_by))})
    library = worker.market._library

    async def unusable(preset_hash: str) -> Any:
        raise PresetUnusable(preset_hash, "its plugin has another version here")

    library._load = unusable  # type: ignore[method-assign]

    wishes = await worker.decide(earlier=("gone",))

    assert ("its plugin has another version" in wishes.fault) is is_told
    assert wishes.proposals


async def test_a_person_is_told_of_a_trade_whose_exits_are_unknown_where_it_rests(
    make_worker: MakeWorker, make_plan: Callable[..., TradePlan]
) -> None:
    worker = make_worker()
    worker.ask_desk({"account/main": desk_with(make_plan())})

    async def call(method: str, **_: Any) -> Any:
        raise ExchangeUnreachable(method, "no answer")

    worker.exchange.call = call  # type: ignore[method-assign]

    wishes = await worker.decide(symbols=(), resting=("BTCUSDT",))

    assert wishes.fault.startswith("BTCUSDT is not left by its rules")
