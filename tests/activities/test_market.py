"""Candles become wishes."""

import asyncio
import dataclasses
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from activities import lookout, market, ticker
from activities.feed import LastPrice
from activities.market import BybitMarket
from activities.pace import WallPace, milliseconds, moment
from tests.activities.decider_worker import Desk
from tradewright import ids
from tradewright.domain.errors import ExchangeUnreachable, OrderRejected
from tradewright.domain.market import Instrument, Side, Timeframe
from tradewright.domain.plan import ExitRules, TradePlan
from tradewright.plugin import Evaluation as Answer
from tradewright.plugin import Needs, View
from tradewright.ports import (
    CandlesDone,
    Evaluation,
    Proposals,
)
from tradewright.preset import loads

START = datetime(2025, 1, 1, tzinfo=UTC)
PRESET = """\
version: 1
name: breakout
market: {category: linear, symbols: [BTCUSDT]}
trigger: {on: candle, timeframe: 1m}
strategy: {plugin: donchian_breakout, params: {period: 2, atr_period: 2}}
entry: {type: market, expires_after: 30s}
exits: {stop: {indicator: atr, times: 2}, target: {r: 2}}
risk: {sizing: risk_fraction, risk_fraction: 0.005}
"""
HASH = loads(PRESET).hash

MakeInstrument = Callable[..., Instrument]


class ScriptedExchange:
    """Candles that all look alike, but the last one closes at *last*; everything else as Bybit."""

    def __init__(self, instrument: Instrument, last: str, count: int = 100) -> None:
        self._instrument = instrument
        self._last = last
        self._count = count

    async def call(self, method: str, **arguments: Any) -> dict[str, Any]:
        if method == "get_tickers":
            row = {"lastPrice": "50010.5", "markPrice": "50011", "indexPrice": "50009"}
            return {"result": {"list": [row]}}
        assert method == "get_kline"
        first, last = (arguments[name] // 60_000 for name in ("start", "end"))
        born = milliseconds(START) // 60_000 - self._count
        rows = [self._row(n) for n in range(max(first, born), last + 1)]
        return {"result": {"list": list(reversed(rows))}}

    async def instrument(self, symbol: str) -> Instrument:
        return self._instrument

    def _row(self, number: int) -> list[str]:
        is_last = moment(number * 60_000) == START - timedelta(minutes=1)
        close = self._last if is_last else "50000"
        prices = ("50000", max("50010", close), "49990", close)
        return [str(number * 60_000), *prices, "1", "50000"]


class MemoryPresets:
    def __init__(self, **documents: str) -> None:
        self._documents = documents

    async def preset(self, preset_hash: str) -> Any:
        text = self._documents.get(preset_hash)
        return None if text is None else dataclasses.make_dataclass("Stored", ["document"])(text)


class StandingMarket(WallPace):
    def __init__(self, now: datetime = START, speed: float = 1.0) -> None:
        self.now = now
        self.pace = speed
        self.finished: list[tuple[str, datetime]] = []

    async def market_now(self) -> datetime:
        return self.now

    async def speed(self) -> float:
        return self.pace

    async def done(self, name: str, at: datetime) -> None:
        self.finished.append((name, at))


MakeMarket = Callable[..., BybitMarket]


@pytest.fixture
def make_plan(make_instrument: MakeInstrument) -> Callable[..., TradePlan]:
    def make(**changes: Any) -> TradePlan:
        fields = {
            "trade_id": "twaaaaaaaaaaaaaaaa",
            "account": "main",
            "preset": "breakout",
            "preset_hash": HASH,
            "symbol": "BTCUSDT",
            "side": Side.BUY,
            "qty": Decimal("0.01"),
            "price": Decimal(50000),
            "stop_loss": Decimal(49000),
            "exits": ExitRules(timeframe=Timeframe.M1, max_candles=2),
            "leverage": Decimal(3),
            "instrument": make_instrument(),
            "trigger": START,
            "decided_at": START,
            "expires_at": START,
        }
        return TradePlan.model_validate(fields | changes)

    return make


@pytest.fixture
def make_market(make_instrument: MakeInstrument) -> MakeMarket:
    def make(last: str = "50100", count: int = 100, **changes: Any) -> BybitMarket:
        nobody: Any = None
        fields = {
            "client": nobody,
            "bybit": ScriptedExchange(make_instrument(), last, count),
            "presets": MemoryPresets(**{HASH: PRESET}),
            "pace": StandingMarket(),
            "url": "ws://nowhere",
        }
        market = BybitMarket(**(fields | changes))
        silent: Any = Desk({})
        market._decider._holdings._messenger = silent
        return market

    return make


def candle_of(preset_hash: str = HASH, close_time: datetime = START) -> Evaluation:
    return Evaluation(
        account="main",
        preset="breakout",
        preset_hash=preset_hash,
        symbols=("BTCUSDT",),
        close_time=close_time,
    )


async def test_a_breakout_becomes_a_priced_proposal(make_market: MakeMarket) -> None:
    wishes = await make_market().evaluate(candle_of())

    (wish,) = wishes.proposals
    assert wishes.note == ""
    assert (wish.signal.side, wish.price, wish.trigger) == (Side.BUY, Decimal(50100), START)
    assert wish.trade_id == ids.trade_id("main", "breakout", "BTCUSDT", START)
    assert wish.stop_loss < wish.price < (wish.take_profit or 0)
    assert wish.window.startswith("BTCUSDT/1m/2024-12-31T23:")
    assert wish.signal.factors["close"] == 50100


async def test_the_same_candle_gives_the_same_proposal(make_market: MakeMarket) -> None:
    assert await make_market().evaluate(candle_of()) == await make_market().evaluate(candle_of())


async def test_without_a_signal_there_is_nothing_to_say(make_market: MakeMarket) -> None:
    wishes = await make_market(last="50000").evaluate(candle_of())

    assert (wishes.proposals, wishes.note) == ((), "")


async def test_a_stale_candle_is_not_traded(make_market: MakeMarket) -> None:
    late = StandingMarket(START + timedelta(seconds=61))

    wishes = await make_market(pace=late).evaluate(candle_of())

    assert wishes.proposals == ()
    assert wishes.note == "stale candle: it closed 0:01:01 ago"


async def test_a_candle_of_a_long_timeframe_is_no_longer_fresh_than_an_entry_may_take(
    make_market: MakeMarket,
) -> None:
    hours = PRESET.replace("timeframe: 1m", "timeframe: 4h")
    presets = MemoryPresets(**{loads(hours).hash: hours})
    late = make_market(presets=presets, pace=StandingMarket(START + timedelta(seconds=31)))

    wishes = await late.evaluate(candle_of(loads(hours).hash))

    assert wishes.note == "stale candle: it closed 0:00:31 ago"


# --- exits ----------------------------------------------------------------------------------------

LEAVES = PRESET.replace(
    "{plugin: donchian_breakout, params: {period: 2, atr_period: 2}}",
    "{plugin: rules, params: {indicators: {atr: {ta: ATR, timeperiod: 2}}, "
    "long: close > 0, exit_short: close > open}}",
)
STAYS = LEAVES.replace("close > open", "close > 90000")
VERSIONS = {loads(text).hash: text for text in (LEAVES, STAYS)}
LEAVING, STAYING = VERSIONS


def sides(wishes: Proposals) -> list[tuple[str, Side | None]]:
    return [(wish.preset_hash, wish.side) for wish in wishes.exits]


async def test_a_rule_that_comes_true_wants_its_trades_left(make_market: MakeMarket) -> None:
    evaluating = make_market(count=1000, presets=MemoryPresets(**VERSIONS))

    wishes = await evaluating.evaluate(candle_of(LEAVING))

    assert sides(wishes) == [(LEAVING, Side.SELL)]
    assert wishes.exits[0].reason == "exit_short: close > open (close=50100, open=50000)"
    assert [wish.signal.side for wish in wishes.proposals] == [Side.BUY]


async def test_a_paused_preset_still_leaves(make_market: MakeMarket) -> None:
    evaluating = make_market(count=1000, presets=MemoryPresets(**VERSIONS))
    paused = candle_of(LEAVING).model_copy(update={"exits_only": True})

    wishes = await evaluating.evaluate(paused)

    assert (wishes.proposals, sides(wishes)) == ((), [(LEAVING, Side.SELL)])


async def test_a_stale_candle_still_leaves(make_market: MakeMarket) -> None:
    late = StandingMarket(START + timedelta(seconds=61))
    evaluating = make_market(count=1000, presets=MemoryPresets(**VERSIONS), pace=late)

    wishes = await evaluating.evaluate(candle_of(LEAVING))

    assert (wishes.proposals, sides(wishes)) == ((), [(LEAVING, Side.SELL)])


async def test_a_trade_is_left_by_the_rules_of_the_version_that_opened_it(
    make_market: MakeMarket,
) -> None:
    evaluating = make_market(count=1000, presets=MemoryPresets(**VERSIONS))
    left = candle_of(STAYING).model_copy(update={"earlier": (LEAVING, "unknown")})
    kept = candle_of(LEAVING).model_copy(update={"earlier": (STAYING,)})

    assert sides(await evaluating.evaluate(left)) == [(LEAVING, Side.SELL)]
    assert sides(await evaluating.evaluate(kept)) == [(LEAVING, Side.SELL)]


class WithoutEther(ScriptedExchange):
    async def call(self, method: str, **arguments: Any) -> dict[str, Any]:
        if arguments.get("symbol") == "ETHUSDT" and method == "get_kline":
            raise OrderRejected(method, 10001, "symbol invalid")
        return await super().call(method, **arguments)


async def test_a_symbol_that_only_an_earlier_version_trades_ends_no_decision(
    make_market: MakeMarket, make_instrument: MakeInstrument
) -> None:
    both = LEAVES.replace("[BTCUSDT]", "[BTCUSDT, ETHUSDT]")
    documents = VERSIONS | {(earlier := loads(both).hash): both}
    exchange = WithoutEther(make_instrument(), "50100", 1000)
    evaluating = make_market(presets=MemoryPresets(**documents), bybit=exchange)

    wishes = await evaluating.evaluate(
        candle_of(STAYING).model_copy(update={"earlier": (earlier,)})
    )

    assert sides(wishes) == [(earlier, Side.SELL)]
    assert [wish.symbol for wish in wishes.proposals] == ["BTCUSDT"]


@pytest.mark.parametrize(
    ("expires_after", "speed", "age", "is_stale"),
    [
        ("30s", 1.0, 29, False),
        # A candle is listed and told of some seconds late
        ("1s", 1.0, 4, False),
        ("1s", 1.0, 6, True),
        ("30s", 60.0, 29 * 60, False),
        ("30s", 60.0, 31 * 60, True),
        # A lockstep, in which nothing is late
        ("30s", 0.0, 0, False),
        ("30s", 0.0, 60, True),
    ],
)
async def test_a_candle_is_fresh_for_as_long_as_an_entry_may_take(
    make_market: MakeMarket, expires_after: str, speed: float, age: int, is_stale: bool
) -> None:
    text = PRESET.replace("expires_after: 30s", f"expires_after: {expires_after}")
    pace = StandingMarket(START + timedelta(seconds=age), speed)
    market = make_market(presets=MemoryPresets(**{loads(text).hash: text}), pace=pace)

    wishes = await market.evaluate(candle_of(loads(text).hash))

    assert ("stale" in wishes.note, len(wishes.proposals)) == (is_stale, 0 if is_stale else 1)


async def test_a_market_that_is_too_young_is_not_traded(make_market: MakeMarket) -> None:
    wishes = await make_market(count=5).evaluate(candle_of())

    assert wishes.note == "BTCUSDT: warming up, 5 of 17 candles"


async def test_a_candle_that_is_not_listed_is_not_traded(
    make_market: MakeMarket, make_instrument: MakeInstrument, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Lagging(ScriptedExchange):
        async def call(self, method: str, **arguments: Any) -> dict[str, Any]:
            if method == "get_kline":
                arguments["end"] = min(arguments["end"], milliseconds(START) - 120_000)
            return await super().call(method, **arguments)

    monkeypatch.setattr(lookout, "CANDLE_WAIT", 0.0)
    lagging = make_market(bybit=Lagging(make_instrument(), "50100"))

    wishes = await lagging.evaluate(candle_of())

    assert wishes.note == f"BTCUSDT: the candle that closed at {START} is not listed yet"


async def test_a_preset_that_the_journal_does_not_hold_is_told(make_market: MakeMarket) -> None:
    wishes = await make_market().evaluate(candle_of("unknown"))

    assert wishes.note == (
        "preset version unknown cannot be evaluated: the journal does not hold it; apply it again"
    )


async def test_a_plugin_of_another_version_does_not_trade_under_the_old_hash(
    make_market: MakeMarket,
) -> None:
    wishes = await make_market(presets=MemoryPresets(older=PRESET)).evaluate(candle_of("older"))

    assert wishes.proposals == ()
    assert (
        "its plugin has another version here; restart the workers, or apply it again" in wishes.note
    )


async def test_a_preset_that_became_invalid_is_told(make_market: MakeMarket) -> None:
    broken = MemoryPresets(broken=PRESET.replace("donchian_breakout", "donchian_breakaut"))

    wishes = await make_market(presets=broken).evaluate(candle_of("broken"))

    assert "did you mean 'donchian_breakout'?" in wishes.note


async def test_a_plugin_that_raises_ends_its_decision_and_nothing_else(
    make_market: MakeMarket,
) -> None:
    class Failing:
        needs = Needs(candles=1)

        def evaluate(self, view: View) -> Answer:
            raise ZeroDivisionError("volume is zero")

    failing: Any = Failing()
    consumer = make_market()
    await consumer.evaluate(candle_of())
    loaded = consumer._library._loaded
    loaded[HASH] = dataclasses.replace(loaded[HASH], strategy=failing)

    wishes = await consumer.evaluate(candle_of())

    assert wishes.note == "BTCUSDT: the strategy failed: ZeroDivisionError: volume is zero"
    assert wishes.fault == wishes.note
    (refusal,) = wishes.refusals
    assert (refusal.symbol, refusal.code, refusal.fault) == ("BTCUSDT", "strategy_failed", True)


async def test_what_a_trade_saw_is_price_market_and_indicators(
    make_market: MakeMarket, make_plan: Callable[..., TradePlan]
) -> None:
    view = await make_market().observe(make_plan(preset_hash=HASH))
    bare = await make_market().observe(make_plan(preset_hash="adopted"))

    assert view.price == Decimal("50010.5")
    assert view.market == {"mark_price": "50011", "index_price": "50009"}
    assert view.factors["close"] == 50100
    assert (bare.price, bare.factors) == (view.price, {})


class Unreachable(ScriptedExchange):
    """Answers until it is away."""

    is_away = False
    hangs = False

    async def call(self, method: str, **arguments: Any) -> dict[str, Any]:
        if self.hangs:
            await asyncio.Event().wait()
        if self.is_away:
            raise ExchangeUnreachable(method, "it is away")
        return await super().call(method, **arguments)


async def test_without_the_exchange_an_exit_is_seen_by_what_was_read_last_and_its_age(
    make_market: MakeMarket,
    make_plan: Callable[..., TradePlan],
    make_instrument: MakeInstrument,
) -> None:
    """F4: an old price is shown with its age, and is good for the record of an exit alone."""
    exchange = Unreachable(make_instrument(), "50100")
    consumer = make_market(bybit=exchange)
    fresh = await consumer.observe(make_plan(preset_hash="adopted"))
    exchange.is_away = True

    old = await consumer.observe(make_plan(preset_hash=HASH))

    assert old.price == fresh.price
    assert "age_s" not in fresh.market
    assert old.market == fresh.market | {"age_s": old.market["age_s"]}
    assert float(old.market["age_s"]) >= 0
    assert old.factors == {}
    with pytest.raises(ExchangeUnreachable):
        await make_market(bybit=exchange).observe(make_plan())


async def test_what_the_stream_told_last_is_newer_than_what_was_read_before(
    make_market: MakeMarket,
    make_plan: Callable[..., TradePlan],
    make_instrument: MakeInstrument,
) -> None:
    exchange = Unreachable(make_instrument(), "50100")
    consumer = make_market(bybit=exchange)
    await consumer.observe(make_plan(preset_hash="adopted"))
    heard_at = datetime.now(UTC)
    consumer._prices["BTCUSDT"] = LastPrice(Decimal(49000), heard_at)
    exchange.is_away = True

    view = await consumer.observe(make_plan(preset_hash="adopted"))

    assert view.price == Decimal(49000)
    assert list(view.market) == ["age_s"]


async def test_an_exchange_that_hangs_keeps_no_record_waiting(
    make_market: MakeMarket,
    make_plan: Callable[..., TradePlan],
    make_instrument: MakeInstrument,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ticker, "WITHIN", 0.01)
    monkeypatch.setattr(market, "FACTORS_WITHIN", 0.01)
    exchange = Unreachable(make_instrument(), "50100")
    consumer = make_market(bybit=exchange)
    fresh = await consumer.observe(make_plan(preset_hash="adopted"))
    exchange.hangs = True

    view = await consumer.observe(make_plan(preset_hash=HASH))

    assert (view.price, view.factors) == (fresh.price, {})


async def test_no_entry_is_decided_on_a_price_that_is_only_remembered(
    make_market: MakeMarket, make_plan: Callable[..., TradePlan], make_instrument: MakeInstrument
) -> None:
    """F4: what exits may go by is refused to entries."""
    exchange = Unreachable(make_instrument(), "50100")
    consumer = make_market(bybit=exchange)
    await consumer.observe(make_plan(preset_hash="adopted"))
    exchange.is_away = True

    with pytest.raises(ExchangeUnreachable):
        await consumer.evaluate(candle_of())


async def test_done_is_said_in_the_strategy_s_name(make_market: MakeMarket) -> None:
    pace = StandingMarket()

    await make_market(pace=pace).done(CandlesDone(preset="breakout", close_time=START))

    assert pace.finished == [(ids.strategy_workflow("breakout"), START)]
