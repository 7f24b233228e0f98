"""Trades are managed from the candles that there are; whoever waits for an entry is asked, too."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from structlog.testing import capture_logs

from activities.feed import Series
from activities.steward import Steward
from tests.activities.noting import plan_of
from tradewright.domain.account import Account, Reservation
from tradewright.domain.errors import ExchangeUnreachable
from tradewright.domain.execution import Execution, ExitReason
from tradewright.domain.market import Candle, Side, Timeframe
from tradewright.domain.plan import ExitRules, LimitEntry, Mode, TradePlan
from tradewright.domain.trade import (
    EntryExpired,
    EntryPlaced,
    Executed,
    ExitRequested,
    Started,
    StopMoved,
    Trade,
    TradeEvent,
)
from tradewright.ports import ShadowCandles, TradeView, Watchlist

START = datetime(2025, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
BTC = Series("BTCUSDT", Timeframe.M1)


class OneTrade:
    """Answers as the desk and as its only trade; keeps what that is told."""

    def __init__(self, trade: Trade) -> None:
        self._trade = trade
        self.told: list[TradeEvent | ShadowCandles] = []
        self.shadows: tuple[TradePlan, ...] = ()
        self.is_silent = False

    async def ask_in_time(
        self, workflow_id: str, query: str, answer: type, within: float | None
    ) -> Any:
        if query == "account":
            held = (Reservation(plan=self._trade.plan, at=START),)
            return Account(name="main", started_at=START, reservations=held)
        if query == "watchlist":
            return Watchlist(account="main", shadows=self.shadows)
        return None if self.is_silent else TradeView(trade=self._trade, busy=False)

    async def tell(
        self, workflow_id: str, signal: str, message: TradeEvent | ShadowCandles
    ) -> bool:
        self.told.append(message)
        return True


class Shelf:
    """Lists what it is given; None is an exchange that does not answer."""

    def __init__(self, *candles: Candle) -> None:
        self.candles: Mapping[datetime, Candle] | None = {c.open_time: c for c in candles}

    async def window(self, *_: object) -> None:
        if self.candles is None:
            raise ExchangeUnreachable("get_kline BTCUSDT", "it is away")

    async def candle(self, symbol: str, timeframe: Timeframe, close: datetime) -> Candle | None:
        assert self.candles is not None
        return self.candles.get(close - timeframe.length)


def candle(minute: int, high: int = 50100, close: int = 50050) -> Candle:
    return Candle(
        open_time=START + minute * MINUTE,
        open=Decimal(50000),
        high=Decimal(high),
        low=Decimal(49900),
        close=Decimal(close),
        volume=Decimal(1),
    )


def opened(plan: TradePlan) -> Trade:
    entry = Execution(
        **{"exec_id": "e", "seq": 1, "order_id": "o", "symbol": "BTCUSDT", "side": Side.BUY},
        **{"price": Decimal(50000), "qty": plan.qty, "fee": Decimal(0)},
        at=START,
    )
    return Trade(plan=plan).after(Started()).after(Executed(execution=entry))


def stewarding(trade: Trade, *candles: Candle) -> tuple[Any, OneTrade, Shelf]:
    messenger: Any = OneTrade(trade)
    shelf: Any = Shelf(*candles)
    return Steward(messenger, shelf, "main"), messenger, shelf


async def test_an_entry_that_waits_for_its_price_is_managed() -> None:
    entry = LimitEntry(rest_until=START + 3 * MINUTE)
    waiting = Trade(plan=plan_of(entry=entry)).after(Started()).after(EntryPlaced(order_id="o"))
    steward, trade, _ = stewarding(waiting)

    for minute in range(4):
        close = START + (minute + 1) * MINUTE
        await steward.manage(close, MINUTE, {BTC: candle(minute)}, 1.0)

    # Once when its time is over, and again at each close until it says that it has heard
    assert [type(event) for event in trade.told] == [EntryExpired, EntryExpired]


async def test_candles_that_a_waiting_entry_missed_are_asked_for() -> None:
    entry = LimitEntry(rest_until=START + timedelta(hours=1))
    plan = plan_of(entry=entry, take_profit=Decimal(51000))
    waiting = Trade(plan=plan).after(Started()).after(EntryPlaced(order_id="o"))
    steward, trade, _ = stewarding(waiting, candle(0), candle(1, high=51500), candle(2))

    await steward.manage(START + 3 * MINUTE, 3 * MINUTE, {}, 1.0)

    (event,) = trade.told
    assert isinstance(event, EntryExpired)
    assert "without it" in event.reason


async def test_without_stream_and_list_a_time_stop_goes_by_the_last_price_and_says_so() -> None:
    """F4: entries are refused on stale data; what leaves the market does not wait for better."""
    trade = opened(plan_of(exits=ExitRules(timeframe=Timeframe.M1, max_candles=3)))
    steward, told, shelf = stewarding(trade)
    await steward.manage(START + MINUTE, MINUTE, {BTC: candle(0)}, 1.0)
    shelf.candles = None

    with capture_logs() as logs:
        await steward.manage(START + 4 * MINUTE, 3 * MINUTE, {}, 1.0)

    (event,) = told.told
    assert isinstance(event, ExitRequested)
    assert event.reason is ExitReason.TIME_STOP
    assert event.note.endswith("by a price 180 s old")
    assert [line["age_s"] for line in logs if line["event"] == "managed_by_old_candle"] == [180]


async def test_an_old_candle_moves_a_stop_no_further_than_it_did_when_it_was_new() -> None:
    rules = ExitRules(timeframe=Timeframe.M1, break_even_after_r=Decimal(1))
    trade = opened(plan_of(exits=rules))
    steward, told, shelf = stewarding(trade)
    await steward.manage(START + MINUTE, MINUTE, {BTC: candle(0, high=51500, close=51200)}, 1.0)
    (first,) = told.told
    assert isinstance(first, StopMoved)
    shelf.candles = None
    told._trade = trade.after(first)

    await steward.manage(START + 2 * MINUTE, MINUTE, {}, 1.0)

    assert told.told == [first]


@pytest.mark.parametrize("is_away", [True, False])
async def test_without_any_candle_nothing_is_decided(is_away: bool) -> None:
    trade = opened(plan_of(exits=ExitRules(timeframe=Timeframe.M1, max_candles=1)))
    steward, told, shelf = stewarding(trade)
    if is_away:
        shelf.candles = None

    assert not await steward.manage(START + 2 * MINUTE, MINUTE, {}, 1.0)
    assert told.told == []


def shadowed(trade: Trade) -> Trade:
    plan = trade.plan.model_copy(update={"mode": Mode.SHADOW})
    return trade.model_copy(update={"plan": plan, "stop": plan.stop_loss})


async def test_a_virtual_trade_is_told_of_the_candles_in_which_something_happens_to_it() -> None:
    trade = shadowed(opened(plan_of()))
    steward, told, _ = stewarding(trade)
    told.shadows = (trade.plan,)
    stop = int(trade.plan.stop_loss)

    quiet = await steward._follow_shadow(trade.plan, START + MINUTE, MINUTE, {BTC: candle(0)}, 1.0)
    deep = candle(1).model_copy(update={"low": Decimal(stop - 1)})
    hit = await steward._follow_shadow(trade.plan, START + 2 * MINUTE, MINUTE, {BTC: deep}, 1.0)

    assert (quiet, hit) == (False, True)
    [message] = told.told
    assert isinstance(message, ShadowCandles)
    assert [one.close for one in message.closed] == [START + 2 * MINUTE]


async def test_a_virtual_trade_misses_no_minute_while_nobody_ran() -> None:
    trade = shadowed(opened(plan_of()))
    deep = candle(1).model_copy(update={"low": trade.plan.stop_loss - 1})
    steward, told, _ = stewarding(trade, candle(0), deep, candle(2))
    told.shadows = (trade.plan,)

    await steward._follow_shadow(trade.plan, START + 3 * MINUTE, 3 * MINUTE, {}, 1.0)

    [message] = told.told
    assert isinstance(message, ShadowCandles)
    assert [one.close for one in message.closed] == [START + n * MINUTE for n in (1, 2, 3)]


@pytest.mark.parametrize("trouble", ["no candle", "no answer"])
async def test_a_minute_that_a_virtual_trade_could_not_be_told_of_is_made_up_for(
    trouble: str,
) -> None:
    trade = shadowed(opened(plan_of()))
    deep = candle(0).model_copy(update={"low": trade.plan.stop_loss - 1})
    steward, told, shelf = stewarding(trade, deep, candle(1))
    listed, shelf.candles = shelf.candles, None
    told.is_silent = trouble == "no answer"
    first = {BTC: deep} if told.is_silent else {}

    missed = await steward._follow_shadow(trade.plan, START + MINUTE, MINUTE, first, 1.0)
    shelf.candles, told.is_silent = listed, False
    await steward._follow_shadow(trade.plan, START + 2 * MINUTE, MINUTE, {BTC: candle(1)}, 1.0)

    assert not missed
    [message] = told.told
    assert isinstance(message, ShadowCandles)
    assert [one.close for one in message.closed] == [START + n * MINUTE for n in (1, 2)]


class Unreadable(OneTrade):
    """Beside it a trade is held that says what nobody understands."""

    async def ask_in_time(
        self, workflow_id: str, query: str, answer: type, within: float | None
    ) -> Any:
        if query == "trade" and workflow_id.startswith("trade/ETHUSDT/"):
            raise ValueError("an event of a kind that is not known")
        found = await super().ask_in_time(workflow_id, query, answer, within)
        if query != "account":
            for _ in range(5):
                await asyncio.sleep(0)
            return found
        other = found.reservations[0].plan.model_copy(update={"symbol": "ETHUSDT"})
        held = (Reservation(plan=other, at=START), *found.reservations)
        return found.model_copy(update={"reservations": held})


async def test_a_trade_that_cannot_be_read_keeps_no_other_from_its_turn() -> None:
    exits = ExitRules(timeframe=Timeframe.M1, max_candles=1)
    messenger: Any = Unreadable(opened(plan_of(exits=exits)))
    shelf: Any = Shelf()
    steward = Steward(messenger, shelf, "main")

    with pytest.raises(ValueError, match="a kind that is not known"):
        await steward.manage(START + MINUTE, MINUTE, {BTC: candle(0)}, 1.0)

    (told,) = messenger.told
    assert told.reason is ExitReason.TIME_STOP
