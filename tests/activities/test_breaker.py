"""Breakers: by themselves, and in the way of requests to the paper exchange."""

import asyncio
from typing import Any

import pytest

from activities import breaker as breakers
from activities.breaker import FAILURES, LONGEST_PAUSE, PAUSE, Breaker, BreakerChange, BreakerState
from activities.urgency import Urgency, urgent
from tests.activities.conftest import Bench
from tradewright.domain.errors import (
    BreakerOpen,
    ExchangeUnreachable,
    OrderRejected,
    OutcomeUnknown,
    Retry,
)

ORDER = {"category": "linear", "symbol": "BTCUSDT", "side": "Buy", "orderType": "Market"}
EXIT, STOP, ENTRY, READ = Urgency


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Told(list[BreakerChange]):
    @property
    def states(self) -> list[str]:
        return [f"{change.group} {change.state}" for change in self]


def opened(clock: Clock, told: Told) -> Breaker:
    made = Breaker("order", told.append, clock)
    for _ in range(FAILURES):
        made.fail("away")
    return made


# --- by itself --------------------------------------------------------------------------------


def test_failures_in_a_row_open_it_and_it_is_told_once() -> None:
    told, broken = Told(), Breaker("order", lambda change: told.append(change), Clock())

    for _ in range(FAILURES - 1):
        broken.fail("away")
    broken.succeed()
    for _ in range(FAILURES - 1):
        broken.fail("away")
    assert broken.admit(READ) == 0
    for _ in range(5):
        broken.fail("HTTP 503")

    assert broken.admit(READ) == PAUSE
    assert told.states == ["order open"]
    assert told[0].detail == "HTTP 503"


def test_while_it_is_open_what_protects_or_leaves_still_goes() -> None:
    broken = opened(Clock(), Told())

    assert [broken.admit(urgency) == 0 for urgency in Urgency] == [True, True, False, False]


def test_one_probe_goes_and_its_answer_closes_it() -> None:
    clock, told = Clock(), Told()
    broken = opened(clock, told)
    clock.now += PAUSE

    admitted = [broken.admit(READ) == 0 for _ in range(10)]
    assert admitted == [True, *[False] * 9]
    assert broken.view().state is BreakerState.HALF_OPEN
    broken.succeed()

    assert broken.admit(READ) == 0
    assert told.states == ["order open", "order closed"]


def test_a_probe_that_fails_opens_it_for_longer_without_another_word() -> None:
    clock, told = Clock(), Told()
    broken = opened(clock, told)
    pauses = []

    for _ in range(8):
        clock.now += broken.closed_for(READ)
        broken.admit(READ)
        broken.fail("still away")
        pauses.append(broken.closed_for(READ))

    assert pauses[0] == 2 * PAUSE
    assert pauses == sorted(pauses)
    assert pauses[-1] == LONGEST_PAUSE
    assert told.states == ["order open"]


def test_a_probe_of_which_nobody_hears_is_followed_by_another() -> None:
    clock = Clock()
    broken = opened(clock, Told())
    clock.now += PAUSE
    broken.admit(READ)

    clock.now += PAUSE

    assert broken.admit(READ) == 0


def test_an_exit_that_is_answered_closes_it() -> None:
    told = Told()
    broken = opened(Clock(), told)
    broken.admit(EXIT)

    broken.succeed()

    assert broken.admit(ENTRY) == 0
    assert told.states == ["order open", "order closed"]


def test_a_reset_closes_it_and_a_closed_one_says_nothing() -> None:
    told = Told()
    broken = opened(Clock(), told)

    broken.reset()
    broken.reset()

    assert broken.view().state is BreakerState.CLOSED
    assert broken.view().failures == 0
    assert told.states == ["order open", "order closed"]


# --- in the way of requests -------------------------------------------------------------------


def positions(bench: Bench) -> Any:
    return bench.client.call("get_positions", category="linear", symbol="BTCUSDT")


async def break_positions(bench: Bench) -> Told:
    told = Told()
    bench.client.on_breaker = told.append
    bench.line.always["get_positions"] = bench.faults.http_status(503)
    for _ in range(FAILURES):
        with pytest.raises(ExchangeUnreachable):
            await positions(bench)
    return told


async def test_reads_fail_at_once_while_the_exchange_does_not_answer(bench: Bench) -> None:
    told = await break_positions(bench)
    sent = bench.line.count("get_positions")

    with pytest.raises(BreakerOpen, match=r"breaker of position is open, .*HTTP 503") as caught:
        await positions(bench)

    assert bench.line.count("get_positions") == sent
    assert caught.value.retry is Retry.SAFE
    assert caught.value.retry_after is not None
    assert caught.value.retry_after.total_seconds() <= PAUSE
    assert told.states == ["position open"]
    # The other groups are well
    await bench.client.call("get_open_orders", category="linear", symbol="BTCUSDT")


async def test_exits_stops_and_cancels_pass_an_open_breaker(bench: Bench) -> None:
    bench.line.always["get_open_orders"] = bench.faults.http_status(503)
    await bench.order("BTCUSDT", "Buy", "0.002")
    resting = {"orderType": "Limit", "price": str(bench.price() / 2 // 1), "orderLinkId": "resting"}
    await bench.order("BTCUSDT", "Buy", "0.001", **resting)
    told = Told()
    bench.client.on_breaker = told.append
    for _ in range(FAILURES):
        with pytest.raises(ExchangeUnreachable):
            await bench.client.call("get_open_orders", category="linear", symbol="BTCUSDT")
    with pytest.raises(BreakerOpen):
        await bench.order("BTCUSDT", "Buy", "0.001")
    assert told.states == ["order open"]

    await bench.order("BTCUSDT", "Sell", "0.002", reduceOnly=True)

    assert bench.held() == 0
    assert told.states == ["order open", "order closed"]


async def test_an_exit_that_fails_too_keeps_the_breaker_open_and_is_sent_all_the_same(
    bench: Bench,
) -> None:
    bench.line.always["place_order"] = bench.faults.http_status(503)
    bench.line.always["cancel_order"] = bench.faults.http_status(503)

    for number in range(2 * FAILURES):
        with pytest.raises(OutcomeUnknown):
            await bench.client.call("place_order", **ORDER, qty="0.001", reduceOnly=True)
        with pytest.raises(OutcomeUnknown):
            await bench.client.call(
                "cancel_order", category="linear", symbol="BTCUSDT", orderLinkId=f"x-{number}"
            )

    assert bench.line.count("place_order") == 2 * FAILURES
    assert bench.line.count("cancel_order") == 2 * FAILURES
    assert bench.client.breakers()[0].state is BreakerState.OPEN


async def test_a_read_for_an_exit_passes_too(bench: Bench) -> None:
    await break_positions(bench)
    del bench.line.always["get_positions"]

    with urgent(Urgency.EXIT):
        answer = await positions(bench)

    assert answer["retCode"] == 0
    assert bench.client.breakers()[0].state is BreakerState.CLOSED


async def test_of_many_who_ask_one_finds_out_and_then_all_may(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(breakers, "PAUSE", 0.1)
    told = await break_positions(bench)
    sent = bench.line.count("get_positions")
    bench.line.always.clear()
    await asyncio.sleep(bench.client.breakers()[0].probe_in)

    ends = await asyncio.gather(*(positions(bench) for _ in range(20)), return_exceptions=True)

    assert bench.line.count("get_positions") == sent + 1
    assert sum(isinstance(end, dict) for end in ends) == 1
    assert sum(isinstance(end, BreakerOpen) for end in ends) == 19
    await asyncio.gather(*(positions(bench) for _ in range(5)))
    assert told.states == ["position open", "position closed"]


async def test_what_the_exchange_rejects_opens_nothing(bench: Bench) -> None:
    soon = {"X-Bapi-Limit-Reset-Timestamp": "1"}
    no = [bench.faults.answers(code, **soon) for code in (110007, 10002, 10006, 10003)]
    for _ in range(FAILURES):
        for fault in no:
            bench.line.spoil("place_order", fault)
            ends = await asyncio.gather(
                bench.client.call("place_order", **ORDER, qty="0.001", reduceOnly=True),
                return_exceptions=True,
            )
            assert isinstance(ends[0], Exception)
            bench.line.faults.clear()

    assert bench.client.breakers()[0].state is BreakerState.CLOSED
    assert bench.client.breakers()[0].failures == 0


async def test_a_reset_lets_the_next_request_through(bench: Bench) -> None:
    await break_positions(bench)
    bench.line.always.clear()

    assert bench.client.reset("order/create") == []
    with pytest.raises(BreakerOpen):
        await positions(bench)
    assert bench.client.reset("position") == ["position", "position/list"]

    assert (await positions(bench))["retCode"] == 0


async def test_an_order_the_exchange_says_no_to_is_an_answer_for_the_probe(bench: Bench) -> None:
    await break_positions(bench)
    bench.line.always.clear()
    bench.line.spoil("set_trading_stop", bench.faults.answers(10001, "no position"))

    with pytest.raises(OrderRejected):
        await bench.client.call("set_trading_stop", category="linear", symbol="BTCUSDT")

    assert bench.client.breakers()[0].state is BreakerState.CLOSED
