"""The exits of the version that runs, reckoned from the entry of a trade that another opened."""

import dataclasses
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest
from temporalio.service import RPCError, RPCStatusCode

from activities.evaluation import propose, reckon_exits
from activities.market import BybitMarket
from tests.activities.exchange_of_data import START, DataExchange, StandingPace
from tradewright.domain.market import Instrument, Side, Timeframe
from tradewright.domain.plan import Proposal, TradePlan
from tradewright.domain.signal import Signal
from tradewright.plugin import Evaluation, Needs, View
from tradewright.ports import ExitsWish, ExitTerms, StrategyStatus
from tradewright.preset import LoadedPreset, loads

MakeInstrument = Callable[..., Instrument]
HOUR = timedelta(hours=1)
DOCUMENT = """\
version: 1
name: watched
market: {category: linear, symbols: [BTCUSDT]}
trigger: {on: candle, timeframe: 15m}
strategy: {plugin: donchian_breakout}
entry: {type: market, expires_after: 30s}
exits:
  stop: {fraction: 0.01}
  targets: [{r: 1, close_fraction: 0.5}, {r: 2}]
  trailing: {indicator: atr, times: 2, after_r: 1, by: candle}
  break_even: {after_r: 1}
  max_candles: 9
risk: {sizing: fixed_notional, notional: 500}
"""


class Measuring:
    """Says at which candle it was asked, as a factor."""

    needs = Needs(candles=40)
    factor_names = frozenset({"atr"})

    def __init__(self) -> None:
        self.seen: list[View] = []

    def evaluate(self, view: View) -> Evaluation:
        self.seen.append(view)
        return Evaluation(factors={"atr": 12.5, "unknown": float("nan")})


class Temporal:
    """A client of one strategy, which may not run."""

    def __init__(self, status: StrategyStatus | None, *, is_closed: bool = False) -> None:
        self._status = status
        self._is_closed = is_closed

    def get_workflow_handle(self, workflow_id: str) -> "Temporal":
        assert workflow_id == "strategy/watched"
        return self

    async def describe(self) -> Any:
        if self._status is None:
            raise RPCError("no such workflow", RPCStatusCode.NOT_FOUND, b"")
        return SimpleNamespace(close_time=START if self._is_closed else None)

    async def query(self, name: str, **_: Any) -> StrategyStatus | None:
        return self._status


def make_plan(instrument: Instrument, **changes: Any) -> TradePlan:
    fields = {
        "trade_id": "tw" + "a" * 16,
        "account": "main",
        "preset": "watched",
        "preset_hash": "c0ffee",
        "symbol": "BTCUSDT",
        "side": Side.BUY,
        "qty": Decimal("0.1"),
        "price": Decimal(50_000),
        "stop_loss": Decimal(49_500),
        "exits": {"timeframe": "1m"},
        "leverage": Decimal(3),
        "instrument": instrument,
        "trigger": START - HOUR,
        "decided_at": START,
        "expires_at": START,
    }
    return TradePlan.model_validate(fields | changes)


def running(loaded: LoadedPreset, **changes: Any) -> StrategyStatus:
    fields = {
        "preset": "watched",
        "preset_hash": loaded.hash,
        "account": "main",
        "symbols": ("BTCUSDT",),
        "timeframe": Timeframe.M15,
    }
    return StrategyStatus.model_validate(fields | changes)


@pytest.mark.parametrize("side", Side)
def test_the_same_preset_gives_a_trade_the_exits_that_it_has(
    make_instrument: MakeInstrument, side: Side
) -> None:
    preset, instrument = loads(DOCUMENT).preset, make_instrument()
    factors = {"atr": 123.456}
    found = propose(
        preset,
        preset_hash="abc",
        symbol="BTCUSDT",
        evaluation=Evaluation(signal=Signal(side=side, reason="crossed"), factors=factors),
        price=Decimal("50000.3"),
        window="w",
        instrument=instrument,
        close_time=START,
    )
    assert isinstance(found, Proposal)
    plan = make_plan(instrument, side=side, price=found.price, stop_loss=found.stop_loss)

    assert reckon_exits(preset, plan, factors) == (found.exits, found.targets, found.take_profit)
    assert reckon_exits(preset, plan, {"atr": float("inf")}) == (
        f"no trailing distance: its factor is unknown at {plan.trigger}"
    )


async def reckoned(
    instrument: Instrument,
    *,
    status: dict[str, Any] | None = None,
    expected: str = "",
    document: str = DOCUMENT,
    **client: Any,
) -> tuple[ExitTerms, Measuring, LoadedPreset]:
    loaded, strategy = loads(document), Measuring()
    told = None if client.pop("is_unknown", False) else running(loaded, **(status or {}))
    temporal: Any = Temporal(told, **client)
    exchange, nobody = DataExchange(instrument), SimpleNamespace(preset=_nothing)
    market = BybitMarket(temporal, exchange, nobody, StandingPace(exchange), "ws://nowhere")
    fake: Any = strategy
    market._library._loaded[loaded.hash] = dataclasses.replace(loaded, strategy=fake)
    wish = ExitsWish(plan=make_plan(instrument), expected_hash=expected)
    return await market.reckon_exits(wish), strategy, loaded


async def _nothing(preset_hash: str) -> None:
    return None


async def test_exits_are_reckoned_from_the_candle_that_the_trade_was_decided_on(
    make_instrument: MakeInstrument,
) -> None:
    terms, strategy, loaded = await reckoned(make_instrument())

    assert (terms.fault, terms.preset_hash) == ("", loaded.hash)
    assert [view.at for view in strategy.seen] == [START - HOUR]
    assert terms.exits is not None
    assert terms.exits.trailing is not None
    assert (terms.exits.trailing.distance, terms.exits.max_candles) == (Decimal(25), 9)
    assert [target.price for target in terms.targets] == [Decimal(50_500)]
    assert terms.take_profit == Decimal(51_000)


async def test_a_temporal_that_is_away_is_asked_again_and_not_taken_for_a_stop(
    make_instrument: MakeInstrument, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(_: Temporal) -> Any:
        raise RPCError("away", RPCStatusCode.UNAVAILABLE, b"")

    monkeypatch.setattr(Temporal, "describe", away)

    with pytest.raises(RPCError):
        await reckoned(make_instrument())


async def test_a_version_whose_exits_need_no_indicator_is_asked_nothing(
    make_instrument: MakeInstrument,
) -> None:
    fixed = DOCUMENT.replace("{indicator: atr, times: 2, after", "{fraction: 0.01, after")

    terms, strategy, _ = await reckoned(make_instrument(), document=fixed)

    assert (terms.fault, strategy.seen) == ("", [])


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"is_unknown": True}, "preset watched does not run; apply it"),
        ({"is_closed": True}, "preset watched does not run; apply it"),
        ({"status": {"account": "other"}}, "trades account other, not main"),
        ({"status": {"symbols": ("ETHUSDT",)}}, "does not watch BTCUSDT"),
        ({"status": {"preset_hash": "dead"}}, "the journal does not hold it"),
        ({"expected": "dead"}, "not dead"),
    ],
)
async def test_what_cannot_be_moved_is_told_with_its_reason(
    make_instrument: MakeInstrument, changes: dict[str, Any], why: str
) -> None:
    terms, _, _ = await reckoned(make_instrument(), **changes)

    assert why in terms.fault
    assert terms.exits is None
