"""A trade that cannot go on by itself: it says why, offers choices, and waits for a person."""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from temporalio.client import WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError

from tests.workflows.life import is_open, needs_operator, result_of
from tests.workflows.script import NOON
from tradewright import ids
from tradewright.domain.event import EventKind
from tradewright.domain.plan import LimitEntry
from tradewright.domain.trade import (
    EntryExpired,
    EntryPlaced,
    Executed,
    PositionRead,
    TradeState,
)
from tradewright.ports import Choice, TradeEvents
from workflows import trade_command
from workflows.trade import ResolveWish, TradeWorkflow

Until = Callable[..., Any]
Failure = Callable[..., ApplicationError]

NOTHING = TradeEvents(events=(PositionRead(qty=Decimal(0), at=NOON),))


def wish(choice: Choice) -> ResolveWish:
    return ResolveWish(choice=choice, by="ann", reason="looked at the exchange")


async def stuck(stage: Any, until: Until, failure: Failure, times: int = 1) -> Any:
    """Start a trade whose entry fails for good, *times* over."""
    final = failure("no answer for ten minutes", final=True)
    stage.exchange.script.answer("place_entry", *([final] * times))
    handle = await stage.start_trade(stage.plan())
    await until(handle, "trade", needs_operator)
    return handle


async def test_an_entry_beyond_its_budget_waits_for_a_person_and_says_what_the_choices_are(
    stage: Any, until: Until, failure: Failure
) -> None:
    """A3: no time-out decides; A4: what is unresolved is not stacked upon."""
    handle = await stuck(stage, until, failure)

    view = await until(handle, "trade", needs_operator)

    assert view["needs_operator"] == (
        "place_entry failed: TestFailure: no answer for ten minutes; say how to go on"
    )
    assert view["choices"] == ["retry", "adopt", "abandon"]
    assert view["trade"]["state"] == "entering"
    assert stage.exchange.script.count("place_entry") == 1


async def test_the_desk_hears_of_the_doubt_and_of_its_end(
    stage: Any, until: Until, failure: Failure
) -> None:
    desk = await stage.listen_as(ids.account_workflow(stage.account))
    handle = await stuck(stage, until, failure)
    await handle.execute_update("resolve", wish(Choice.RETRY))
    await until(handle, "trade", is_open)

    heard = await until(desk, "heard", lambda told: len(told) == 2)

    link = ids.order_link(stage.plan().trade_id, "e", 1)
    assert [(n, m["order_link_id"], m["over"]) for n, m in heard] == [
        ("unresolved", link, False),
        ("unresolved", link, True),
    ]


async def test_a_journal_that_is_away_is_no_doubt_about_an_order(stage: Any, until: Until) -> None:
    away = ApplicationError("the journal is away", type="JournalUnavailable", non_retryable=True)
    desk = await stage.listen_as(ids.account_workflow(stage.account))
    stage.exchange.script.answer("place_entry", away)
    handle = await stage.start_trade(stage.plan())
    await until(handle, "trade", needs_operator)

    await handle.execute_update("resolve", wish(Choice.RETRY))
    await until(handle, "trade", is_open)

    assert await desk.query("heard") == []


async def test_a_retry_tries_the_same_order_again(
    stage: Any, until: Until, failure: Failure
) -> None:
    handle = await stuck(stage, until, failure)

    await handle.execute_update("resolve", wish(Choice.RETRY))
    view = await until(handle, "trade", is_open)

    assert (view["needs_operator"], view["choices"]) == ("", [])
    first, second = stage.exchange.script.of("place_entry")
    assert first == second
    resolved = [e for e in stage.journal.events if e.kind is EventKind.TRADE_RESOLVED]
    assert [event.data["wish"]["by"] for event in resolved] == ["ann"]


async def test_adopting_goes_on_from_what_the_exchange_shows(
    stage: Any, until: Until, failure: Failure
) -> None:
    handle = await stuck(stage, until, failure)
    plan = stage.plan()
    stage.exchange.execute(plan, plan.side, link=ids.order_link(plan.trade_id, "e", 1))

    await handle.execute_update("resolve", wish(Choice.ADOPT))
    view = await until(handle, "trade", is_open)

    assert view["trade"]["stop"] == "49500"
    assert stage.exchange.script.count("place_entry") == 1


async def test_a_trade_of_which_the_exchange_shows_nothing_can_be_abandoned(
    stage: Any, until: Until, failure: Failure
) -> None:
    handle = await stuck(stage, until, failure)

    await handle.signal("resolve", {"choice": "abandon", "by": "ann", "reason": "gone"})
    trade = await result_of(handle)

    assert (trade.state, trade.exit_by, trade.exit_note) == (TradeState.CANCELLED, "ann", "gone")


@pytest.mark.parametrize("choice", [Choice.ABANDON, Choice.ADOPT])
async def test_a_choice_that_the_exchange_contradicts_changes_nothing_and_may_be_made_again(
    stage: Any, until: Until, failure: Failure, choice: Choice
) -> None:
    handle = await stuck(stage, until, failure)
    held = TradeEvents(events=(PositionRead(qty=Decimal("0.1"), at=NOON),))
    stage.exchange.script.answer("look_up", held if choice is Choice.ABANDON else NOTHING)

    await handle.execute_update("resolve", wish(choice))
    told = f"there is nothing to {choice}"
    view = await until(handle, "trade", lambda v: told in v["needs_operator"])

    assert not view["trade"]["leaving"]
    assert view["choices"] == ["retry", "adopt", "abandon"]
    await handle.execute_update("resolve", wish(Choice.RETRY))
    await until(handle, "trade", is_open)


async def test_an_order_that_is_found_on_the_way_to_abandoning_goes_on(
    stage: Any, until: Until, failure: Failure
) -> None:
    handle = await stuck(stage, until, failure)
    found = TradeEvents(events=(EntryPlaced(order_id="o"), *NOTHING.events))
    stage.exchange.script.answer("look_up", found)

    with stage.env.with_time_skipping_disabled():
        await handle.execute_update("resolve", wish(Choice.ABANDON))
    view = await until(handle, "trade", lambda v: v["trade"]["entry_order_id"] == "o")

    assert (view["needs_operator"], view["trade"]["leaving"]) == ("", False)


async def test_an_exit_that_cannot_be_abandoned_is_tried_again(
    stage: Any, until: Until, failure: Failure
) -> None:
    with stage.env.with_time_skipping_disabled():
        handle = await stage.start_trade(stage.plan())
    await until(handle, "trade", is_open)
    stage.exchange.script.answer("flatten", failure("rejected", final=True))
    await handle.signal("exit", {"by": "ann"})
    await until(handle, "trade", needs_operator)

    await handle.execute_update("resolve", wish(Choice.ABANDON))
    trade = await result_of(handle)

    assert trade.state is TradeState.CLOSED
    assert stage.exchange.script.count("flatten") == 2


async def test_a_cancel_of_the_entry_that_takes_long_gives_way_to_an_exit(
    stage: Any, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    # No time is skipped while the exchange is asked
    monkeypatch.setattr(trade_command, "PATIENCE", timedelta(seconds=1))
    rest = LimitEntry(rest_until=NOON + timedelta(hours=1))
    with stage.env.with_time_skipping_disabled():
        handle = await stage.start_trade(stage.plan(entry=rest))
    await until(handle, "trade", lambda v: v["trade"]["entry_order_id"] and not v["busy"])
    plan = stage.plan()
    link = ids.order_link(plan.trade_id, "e", 1)
    part = stage.exchange.execute(plan, plan.side, link=link, qty=Decimal("0.04"))
    await handle.signal("report", Executed(execution=part))
    await until(handle, "trade", is_open)
    held = stage.exchange.script.hold("cancel_entry")
    await handle.signal("report", EntryExpired(reason="late"))
    await stage.exchange.script.called("cancel_entry")

    await handle.signal("exit", {"by": "ann"})
    await stage.exchange.script.called("flatten")
    held.let_go(TradeEvents())
    trade = await result_of(handle)

    assert trade.state is TradeState.CLOSED


async def test_a_signal_that_is_not_understood_takes_no_choice_away(
    stage: Any, until: Until, failure: Failure
) -> None:
    handle = await stuck(stage, until, failure)

    await handle.signal("nonsense", {"x": 1})
    await handle.signal("report", {"kind": "executed"})
    view = await until(handle, "trade", needs_operator)

    assert "place_entry failed" in view["needs_operator"]
    assert view["choices"] == ["retry", "adopt", "abandon"]


async def test_word_of_a_fill_ends_the_wait_for_a_person(
    stage: Any, until: Until, failure: Failure
) -> None:
    handle = await stuck(stage, until, failure)
    plan = stage.plan()
    link = ids.order_link(plan.trade_id, "e", 1)

    execution = stage.exchange.execute(plan, plan.side, link=link)
    await handle.signal("report", Executed(execution=execution))
    view = await until(handle, "trade", is_open)

    assert view["needs_operator"] == ""
    assert stage.exchange.script.count("place_entry") == 1


async def test_a_wish_to_leave_ends_the_wait_for_a_person(
    stage: Any, until: Until, failure: Failure
) -> None:
    handle = await stuck(stage, until, failure)

    await handle.signal("exit", {"by": "ann"})
    trade = await result_of(handle)

    assert trade.state is TradeState.CANCELLED
    assert stage.exchange.script.count("flatten") == 1


async def test_an_exit_is_tried_again_by_itself_and_a_person_may_hurry_it(
    stage: Any, until: Until, failure: Failure
) -> None:
    with stage.env.with_time_skipping_disabled():
        handle = await stage.start_trade(stage.plan())
    await until(handle, "trade", is_open)
    stage.exchange.script.answer("flatten", failure("rejected", final=True))

    await handle.signal("exit", {"by": "ann"})
    view = await until(handle, "trade", needs_operator)
    assert view["choices"] == ["retry", "abandon"]
    await handle.execute_update("resolve", wish(Choice.RETRY))
    trade = await result_of(handle)

    assert trade.state is TradeState.CLOSED
    assert stage.exchange.script.count("flatten") == 2


@pytest.mark.parametrize("choice", list(Choice))
async def test_a_trade_that_goes_on_by_itself_has_nothing_to_resolve(
    stage: Any, until: Until, choice: Choice
) -> None:
    handle = await stage.start_trade(stage.plan())
    await until(handle, "trade", is_open)

    with pytest.raises(WorkflowUpdateFailedError) as refused:
        await handle.execute_update(TradeWorkflow.resolve_by_update, wish(choice))

    assert "nothing to resolve" in str(refused.value.cause)


async def test_a_person_is_told_once_and_told_when_it_is_over(
    stage: Any, until: Until, failure: Failure
) -> None:
    notifier = await stage.listen_as(ids.notifier_workflow(stage.account))
    handle = await stuck(stage, until, failure)
    await handle.execute_update("resolve", wish(Choice.RETRY))
    await until(handle, "trade", is_open)

    heard = await until(notifier, "heard", lambda told: len(told) == 3)

    about = [(notice["key"].rpartition("/")[2], notice["resolved"]) for _, notice in heard]
    assert about == [("needs_operator", False), ("needs_operator", True), ("opened", False)]
