"""Order books, universes, and what a strategy does where it fails."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from tradewright import ids
from tradewright.domain.account import LeaveWish
from tradewright.domain.breaker import SymbolBreaker
from tradewright.domain.event import EventKind
from tradewright.domain.plan import Mode
from tradewright.ports import ApplyWish, BookTrigger, CandleClosed, Proposals, Refusal, Universe
from workflows.strategy import StrategyWorkflow

Until = Callable[..., Any]
Failure = Callable[..., Any]

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
TERMS = SymbolBreaker(failures=2, pause=5 * MINUTE)


def candle(minute: int = 0, *symbols: str) -> CandleClosed:
    return CandleClosed(
        symbols=symbols or ("BTCUSDT", "ETHUSDT"), close_time=NOON + minute * MINUTE
    )


def trigger(number: int, symbol: str = "BTCUSDT") -> BookTrigger:
    return BookTrigger(
        number=number,
        symbol=symbol,
        at=NOON + timedelta(milliseconds=number),
        book={"imbalance": 0.8},
        price=Decimal(50_000),
    )


def candles_are(count: int) -> Callable[[Any], bool]:
    return lambda status: bool(status["candles"] == count)


def broken(*symbols: str) -> Proposals:
    return Proposals(
        refusals=tuple(
            Refusal(symbol=s, code="plugin_failed", reason="it raised", fault=True) for s in symbols
        )
    )


def changes(stage: Any) -> list[tuple[str, str]]:
    found = [e for e in stage.journal.events if e.kind is EventKind.STRATEGY_CHANGED]
    return [(event.data["change"], event.symbol) for event in found]


async def test_a_book_trigger_is_decided_on_once_however_often_it_is_told(
    stage: Any, until: Until
) -> None:
    proposal = stage.proposal()
    stage.market.script.answer("evaluate", Proposals(proposals=(proposal,)))
    strategy = await stage.start_strategy(book_depth=50)

    for number in (7, 7, 6):
        await strategy.signal("book_trigger", trigger(number))
    status = await until(strategy, "status", lambda s: s["approved"] == 1)
    await strategy.signal("candle", candle())
    await until(strategy, "status", candles_are(1))

    by_book, by_candle = stage.market.script.of("evaluate")
    assert (by_book.book.number, by_book.symbols) == (7, ("BTCUSDT",))
    assert not by_book.exits_only
    # Candles say when to leave, the book when to enter
    assert (by_candle.book, by_candle.exits_only) == (None, True)
    assert status["last_book"] == {"BTCUSDT": 7}


async def test_of_triggers_that_wait_only_the_newest_of_each_symbol_is_still_true(
    stage: Any, until: Until
) -> None:
    hanging = stage.market.script.hold("evaluate")
    strategy = await stage.start_strategy(book_depth=50)
    await strategy.signal("book_trigger", trigger(1))
    await stage.market.script.called("evaluate")

    for number in (2, 3):
        await strategy.signal("book_trigger", trigger(number))
    await strategy.signal("book_trigger", trigger(2, "ETHUSDT"))
    hanging.let_go()
    await stage.market.script.called("evaluate", 3)

    asked = [(one.book.symbol, one.book.number) for one in stage.market.script.of("evaluate")]
    assert asked == [("BTCUSDT", 1), ("BTCUSDT", 3), ("ETHUSDT", 2)]


async def test_a_book_changes_nothing_for_who_did_not_ask(stage: Any, until: Until) -> None:
    strategy = await stage.start_strategy()
    await strategy.signal("book_trigger", trigger(1))
    await strategy.signal("candle", candle())
    await until(strategy, "status", candles_are(1))
    wish = ApplyWish(applied=stage.applied(book_depth=50))
    await strategy.execute_update(StrategyWorkflow.apply, wish)

    await strategy.signal("book_trigger", trigger(3, "DOGEUSDT"))
    await strategy.signal("candle", candle(1))
    await until(strategy, "status", candles_are(2))

    assert [one.book for one in stage.market.script.of("evaluate")] == [None, None]


@pytest.mark.parametrize("stop", ["pause", "disable"])
async def test_what_is_held_is_left_by_the_book_while_nothing_is_entered(
    stage: Any, until: Until, stop: str
) -> None:
    desk = await stage.listen_as(ids.account_workflow(stage.account))
    leave = LeaveWish(preset=stage.preset, symbol="BTCUSDT", reason="the bids are gone")
    stage.market.script.answer("evaluate", Proposals(exits=(leave,)))
    strategy = await stage.start_strategy(book_depth=50)
    if stop == "pause":
        await strategy.signal("pause", {"by": "ann"})
    else:
        wish = ApplyWish(applied=stage.applied(book_depth=50, enabled=False))
        await strategy.execute_update(StrategyWorkflow.apply, wish)

    await strategy.signal("book_trigger", trigger(1))
    heard = await until(desk, "heard", lambda heard: len(heard) == 1)

    [asked] = stage.market.script.of("evaluate")
    assert (asked.book.number, asked.exits_only) == (1, True)
    assert heard[0][0] == "leave"


async def test_what_is_kept_for_its_trade_is_left_by_the_book(stage: Any, until: Until) -> None:
    universe = Universe(symbols=("ETHUSDT",), kept=("BTCUSDT",))
    stage.market.script.answer("universe", universe)
    with stage.env.with_time_skipping_disabled():
        strategy = await stage.start_strategy(book_depth=50, universe_every=timedelta(hours=1))
        await until(strategy, "status", lambda s: s["kept"] == ["BTCUSDT"])

        await strategy.signal("book_trigger", trigger(1))
        await stage.market.script.called("evaluate")

    [asked] = stage.market.script.of("evaluate")
    assert (asked.symbols, asked.book.number) == (("BTCUSDT",), 1)


async def test_the_market_hears_which_book_is_wanted(stage: Any, until: Until) -> None:
    market = await stage.listen_as(ids.market_workflow(stage.account))
    await stage.start_strategy(book_depth=200)

    [(name, watch)] = await until(market, "heard", lambda heard: len(heard) == 1)

    assert (name, watch["book_depth"], watch["preset_hash"]) == ("watch", 200, "c0ffee")


async def test_a_symbol_that_fails_again_and_again_rests_and_is_tried_once(
    stage: Any, until: Until
) -> None:
    for _ in range(2):
        stage.market.script.answer("evaluate", broken("BTCUSDT"))
    strategy = await stage.start_strategy(breaker=TERMS)

    for minute in range(7):
        await strategy.signal("candle", candle(minute))
    status = await until(strategy, "status", candles_are(7))
    await strategy.cancel()
    await until(strategy, "status", lambda _: any(c[0] == "stopped" for c in changes(stage)))

    asked = [one.symbols for one in stage.market.script.of("evaluate")]
    both, alone = ("BTCUSDT", "ETHUSDT"), ("ETHUSDT",)
    assert asked == [both, both, alone, alone, alone, alone, both]
    # What is held there is left all the same
    resting = [one.resting for one in stage.market.script.of("evaluate")]
    assert resting == [(), (), *(4 * [("BTCUSDT",)]), ()]
    assert status["broken"] == []
    assert changes(stage)[1:3] == [("symbol_rests", "BTCUSDT"), ("symbol_works", "BTCUSDT")]


async def test_where_it_rests_everywhere_it_still_leaves_and_what_was_said_stands(
    stage: Any, until: Until
) -> None:
    desk = await stage.listen_as(ids.account_workflow(stage.account))
    failing = broken("BTCUSDT", "ETHUSDT").model_copy(update={"fault": "it raised"})
    leave = LeaveWish(preset=stage.preset, symbol="BTCUSDT", reason="the trend is over")
    for answer in (failing, failing, Proposals(exits=(leave,))):
        stage.market.script.answer("evaluate", answer)
    strategy = await stage.start_strategy(breaker=TERMS)

    for minute in range(3):
        await strategy.signal("candle", candle(minute))
    status = await until(strategy, "status", candles_are(3))

    heard = await desk.query("heard")
    assert [name for name, _ in heard] == ["resting", "leave"]
    assert status["needs_operator"] == "it cannot decide: it raised"
    assert [one["symbol"] for one in status["broken"]] == ["BTCUSDT", "ETHUSDT"]


async def test_a_symbol_that_rests_is_shown_with_its_reason(stage: Any, until: Until) -> None:
    notifier = await stage.listen_as(ids.notifier_workflow(stage.account))
    await stage.listen_as(ids.account_workflow(stage.account))
    for _ in range(2):
        stage.market.script.answer("evaluate", broken("BTCUSDT"))
    strategy = await stage.start_strategy(breaker=TERMS)

    for minute in range(2):
        await strategy.signal("candle", candle(minute))
    status = await until(strategy, "status", candles_are(2))
    heard = await until(notifier, "heard", lambda heard: len(heard) == 1)

    [one] = status["broken"]
    assert (one["symbol"], one["failures"]) == ("BTCUSDT", 2)
    page = str(await strategy.query("__temporal_workflow_metadata"))
    assert "rests on BTCUSDT" in page
    assert "plugin_failed: BTCUSDT, it raised" in page
    assert heard[0][1]["title"] == f"{stage.preset} rests on BTCUSDT"


async def test_the_desk_is_told_where_a_preset_rests_each_time_that_changes(
    stage: Any, until: Until
) -> None:
    desk = await stage.listen_as(ids.account_workflow(stage.account))
    for _ in range(2):
        stage.market.script.answer("evaluate", broken("BTCUSDT", "ETHUSDT"))
    strategy = await stage.start_strategy(breaker=TERMS)

    for minute in range(8):
        await strategy.signal("candle", candle(minute))
    await until(strategy, "status", candles_are(8))
    heard = await until(desk, "heard", lambda heard: len(heard) == 2)

    assert [name for name, _ in heard] == ["resting", "resting"]
    rests, works = (told for _, told in heard)
    assert [one["symbol"] for one in rests["symbols"]] == ["BTCUSDT", "ETHUSDT"]
    assert (rests["preset"], works["symbols"]) == (stage.preset, [])


async def test_what_does_not_trade_is_no_concern_of_the_desk(stage: Any, until: Until) -> None:
    desk = await stage.listen_as(ids.account_workflow(stage.account))
    for _ in range(2):
        stage.market.script.answer("evaluate", broken("BTCUSDT", "ETHUSDT"))
    strategy = await stage.start_strategy(breaker=TERMS, mode=Mode.SHADOW)

    for minute in range(3):
        await strategy.signal("candle", candle(minute))
    status = await until(strategy, "status", candles_are(3))

    assert len(status["broken"]) == 2
    assert await desk.query("heard") == []


async def test_a_desk_that_is_not_there_calls_a_person(stage: Any, until: Until) -> None:
    for _ in range(2):
        stage.market.script.answer("evaluate", broken("BTCUSDT", "ETHUSDT"))
    strategy = await stage.start_strategy(breaker=TERMS)

    for minute in range(2):
        await strategy.signal("candle", candle(minute))
    status = await until(strategy, "status", candles_are(2))

    assert status["needs_operator"].startswith("the desk could not be told where it rests")
    assert status["rests_told"] == []


async def test_another_version_forgets_what_was_broken(stage: Any, until: Until) -> None:
    for _ in range(2):
        stage.market.script.answer("evaluate", broken("BTCUSDT"))
    strategy = await stage.start_strategy(breaker=TERMS)
    for minute in range(2):
        await strategy.signal("candle", candle(minute))
    await until(strategy, "status", candles_are(2))

    wish = ApplyWish(applied=stage.applied(preset_hash="beef", breaker=TERMS))
    status = await strategy.execute_update(StrategyWorkflow.apply, wish)

    assert (status.broken, status.refusals) == ((), ())


async def test_a_universe_is_chosen_at_once_and_anew_on_schedule(stage: Any, until: Until) -> None:
    market = await stage.listen_as(ids.market_workflow(stage.account))
    chosen = [
        Universe(symbols=("BTCUSDT",)),
        Universe(symbols=("SOLUSDT",), kept=("BTCUSDT",), note="top 1 by turnover"),
    ]
    # The time may skip more than an hour; what is chosen then is the same
    stage.market.script.answer("universe", *chosen, *[chosen[-1]] * 20)
    with stage.env.with_time_skipping_disabled():
        strategy = await stage.start_strategy(symbols=(), universe_every=timedelta(hours=1))
        await until(market, "heard", lambda heard: len(heard) == 1)
        await stage.env.fast_forward(strategy, timedelta(hours=1))
        heard = await until(market, "heard", lambda heard: len(heard) == 2)
        status = await until(strategy, "status", lambda s: s["symbols"] == ["SOLUSDT"])
        await strategy.signal("candle", candle(0, "SOLUSDT", "BTCUSDT"))
        await until(strategy, "status", candles_are(1))

    assert [watch["symbols"] for _, watch in heard[:2]] == [["BTCUSDT"], ["SOLUSDT", "BTCUSDT"]]
    assert status["kept"] == ["BTCUSDT"]
    first, second = stage.market.script.of("universe")[:2]
    assert (first.symbols, second.symbols) == ((), ("BTCUSDT",))
    [asked] = stage.market.script.of("evaluate")
    assert set(asked.symbols) == {"SOLUSDT", "BTCUSDT"}


async def test_a_symbol_that_is_only_kept_is_not_entered(stage: Any, until: Until) -> None:
    kept = Universe(symbols=("SOLUSDT",), kept=("BTCUSDT",))
    stage.market.script.answer("universe", kept)
    stage.market.script.answer("evaluate", Proposals(proposals=(stage.proposal(),)))
    with stage.env.with_time_skipping_disabled():
        strategy = await stage.start_strategy(symbols=(), universe_every=timedelta(hours=1))
        await until(strategy, "status", lambda s: s["kept"] == ["BTCUSDT"])

        await strategy.signal("candle", candle())
        status = await until(strategy, "status", candles_are(1))

    assert not stage.desk.script.count("reserve")
    assert status["approved"] == 0


async def test_a_first_choice_that_fails_is_made_again_soon(
    stage: Any, until: Until, failure: Failure
) -> None:
    chosen = Universe(symbols=("BTCUSDT",))
    stage.market.script.answer("universe", failure("no list", final=True), chosen)
    with stage.env.with_time_skipping_disabled():
        strategy = await stage.start_strategy(symbols=(), universe_every=timedelta(hours=6))
        await until(strategy, "status", lambda s: bool(s["note"]))
        await stage.env.fast_forward(strategy, timedelta(minutes=3))
        status = await until(strategy, "status", lambda s: bool(s["symbols"]))

    assert status["symbols"] == ["BTCUSDT"]


async def test_what_a_filter_had_chosen_is_left_by_its_rules_when_names_replace_it(
    stage: Any, until: Until
) -> None:
    chosen = Universe(symbols=("BTCUSDT", "ETHUSDT"))
    stage.market.script.answer("universe", chosen)
    with stage.env.with_time_skipping_disabled():
        strategy = await stage.start_strategy(symbols=(), universe_every=timedelta(hours=1))
        await until(strategy, "status", lambda s: bool(s["symbols"]))

        for preset_hash in ("beef", "dead"):
            named = stage.applied(symbols=("ETHUSDT",), preset_hash=preset_hash)
            status = await strategy.execute_update(StrategyWorkflow.apply, ApplyWish(applied=named))

    assert (status.symbols, status.kept) == (("ETHUSDT",), ("BTCUSDT",))


async def test_a_universe_that_cannot_be_chosen_leaves_the_last_one(
    stage: Any, until: Until, failure: Failure
) -> None:
    await stage.listen_as(ids.market_workflow(stage.account))
    stage.market.script.answer("universe", failure("no list", final=True))
    with stage.env.with_time_skipping_disabled():
        strategy = await stage.start_strategy(universe_every=timedelta(hours=1))

        status = await until(strategy, "status", lambda s: bool(s["note"]))

    assert status["note"] == "the symbols could not be chosen: TestFailure: no list"
    assert status["symbols"] == ["BTCUSDT", "ETHUSDT"]
