"""What people and machines may send to a trade: nothing is dropped, nothing wedges it."""

from collections.abc import Callable
from typing import Any

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError

from tests.workflows.life import (
    is_open,
    needs_operator,
    result_of,
)
from tradewright import ids
from tradewright.domain.event import EventKind
from tradewright.domain.execution import ExitReason
from tradewright.domain.market import Side
from tradewright.domain.trade import (
    Executed,
    TradeState,
)
from workflows.trade import ExitWish

Until = Callable[..., Any]
Failure = Callable[..., ApplicationError]


async def test_a_misspelled_key_is_told_and_the_trade_leaves_all_the_same(
    stage: Any, until: Until
) -> None:
    handle = await stage.start_trade(stage.plan())
    await until(handle, "trade", is_open)
    held = stage.exchange.script.hold("flatten")

    await handle.signal("exit", {"note": "news", "bye": "ann"})
    view = await until(handle, "trade", needs_operator)
    held.let_go()
    trade = await result_of(handle)

    assert view["needs_operator"] == "signal exit was taken, but unknown keys were ignored: bye"
    assert (trade.exit_note, trade.exit_by) == ("news", "operator")


@pytest.mark.parametrize("args", [[], [None], [{}], [{"note": "a"}, {"note": "b"}, 3]])
async def test_no_number_of_arguments_keeps_a_trade_from_leaving(
    stage: Any, until: Until, args: list[Any]
) -> None:
    handle = await stage.start_trade(stage.plan())
    await until(handle, "trade", is_open)

    await handle.signal("exit", args=args)

    assert (await result_of(handle)).exit_reason is ExitReason.OPERATOR


@pytest.mark.parametrize(
    "argument",
    [
        "please",
        [1, 2],
        {"note": {"deep": 1}},
        RawValue(Payload(metadata={"encoding": b"binary/plain"}, data=b"\xff\xfe")),
    ],
)
async def test_an_exit_that_says_nothing_is_told_and_wedges_nothing(
    stage: Any, until: Until, argument: Any
) -> None:
    handle = await stage.start_trade(stage.plan())
    await until(handle, "trade", is_open)

    await handle.signal("exit", argument)
    view = await until(handle, "trade", needs_operator)
    await handle.signal("exit", ExitWish(by="ann"))

    assert "signal exit was not understood" in view["needs_operator"]
    assert (await result_of(handle)).state is TradeState.CLOSED


async def test_an_argument_that_breaks_the_decoder_wedges_nothing(stage: Any, until: Until) -> None:
    handle = await stage.start_trade(stage.plan())
    await until(handle, "trade", is_open)
    broken = RawValue(Payload(metadata={"encoding": b"json/plain"}, data=b"{oops"))

    await handle.signal("exit", broken)
    await handle.signal("exit", args=[{"by": "bob"}, broken])
    still_open = is_open(await handle.query("trade"))
    await handle.signal("exit", ExitWish(by="ann"))

    assert still_open
    assert (await result_of(handle)).exit_by == "ann"


async def test_an_event_that_cannot_be_read_lets_the_trade_ask_the_exchange(
    stage: Any, until: Until
) -> None:
    handle = await stage.start_trade(stage.plan())
    await until(handle, "trade", is_open)
    asked = stage.exchange.script.count("look_up")

    await handle.signal("report", {"kind": "executed", "execution": {"exec_id": "e9"}})
    await stage.exchange.script.called("look_up", asked + 1)
    view = await until(handle, "trade", is_open)

    assert "executed.execution.price: Field required" in view["needs_operator"]


async def test_an_event_of_a_newer_sender_is_counted(stage: Any, until: Until) -> None:
    plan = stage.plan()
    handle = await stage.start_trade(plan)
    await until(handle, "trade", is_open)
    execution = stage.exchange.execute(plan, Side.SELL, cause=ExitReason.STOP)
    event = Executed(execution=execution).model_dump(mode="json")
    event["execution"]["liquidity"] = "added"

    await handle.signal("report", event)
    trade = await result_of(handle)

    assert (trade.state, trade.exit_reason) == (TradeState.CLOSED, ExitReason.STOP)


async def test_an_unknown_signal_is_told(stage: Any, until: Until) -> None:
    handle = await stage.start_trade(stage.plan())
    await until(handle, "trade", is_open)

    await handle.signal("exti", {"note": "typo"})
    view = await until(handle, "trade", needs_operator)

    assert "signal exti was not understood" in view["needs_operator"]


async def test_an_event_that_does_not_fit_the_state_becomes_a_case_and_changes_nothing(
    stage: Any, until: Until
) -> None:
    case = await stage.listen_as(ids.case_workflow(stage.account, "BTCUSDT", "unknown_event"))
    handle = await stage.start_trade(stage.plan())
    await until(handle, "trade", is_open)

    await handle.signal("report", {"kind": "started"})
    ((name, opening),) = await until(case, "heard", bool)
    assert (name, opening["choices"]) == ("seen", ["ignore"])
    assert "state open cannot take event started" in opening["detail"]
    await handle.signal("exit", ExitWish(by="ann"))
    trade = await result_of(handle)

    assert trade.state is TradeState.CLOSED
    assert [e.kind for e in stage.journal.events].count(EventKind.MESSAGE_REFUSED) == 1
