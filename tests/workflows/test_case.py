"""The case's workflow: it asks until somebody decides, and ends only when that was verified."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from temporalio import workflow
from temporalio.client import WorkflowExecutionStatus, WorkflowHandle, WorkflowUpdateFailedError
from temporalio.worker import Worker

from tradewright import ids
from tradewright.domain.account import Position
from tradewright.domain.case import CaseOpening, Choice, Decision, Sighting
from tradewright.domain.event import EventKind
from tradewright.domain.market import Side
from tradewright.domain.plan import Origin
from tradewright.domain.reconciliation import Discrepancy, Kind
from tradewright.domain.trade import Adopted
from tradewright.ports import Adoption, activities_of
from workflows.case import CaseStart, open_case
from workflows.case_life import CaseWorkflow

Until = Callable[..., Any]
Failure = Callable[..., Any]


def foreign_order(number: int = 1) -> Discrepancy:
    return Discrepancy(
        kind=Kind.FOREIGN_ORDER, symbol="BTCUSDT", detail="not ours", order_id=f"o{number}"
    )


def orphan() -> Discrepancy:
    position = Position(
        symbol="BTCUSDT",
        side=Side.BUY,
        qty=Decimal("0.1"),
        entry_price=Decimal(50_000),
        mark_price=Decimal(50_000),
    )
    return Discrepancy(
        kind=Kind.ORPHAN_POSITION, symbol="BTCUSDT", detail="nobody owns it", position=position
    )


def opening(stage: Any, *subjects: Discrepancy, **changes: Any) -> CaseOpening:
    about = subjects or (foreign_order(),)
    fields: dict[str, Any] = {
        "account": stage.account,
        "symbol": about[0].symbol,
        "kind": about[0].kind,
        "detail": about[0].detail,
        "fingerprint": "+".join(d.fingerprint for d in about),
        "choices": (Choice.ADOPT, Choice.CLOSE, Choice.FIX, Choice.IGNORE),
        "subjects": about,
    }
    return CaseOpening.model_validate(fields | changes)


async def opened(stage: Any, about: CaseOpening | None = None) -> WorkflowHandle[CaseWorkflow, Any]:
    about = about or opening(stage)
    # On real time: its timers would never end
    with stage.env.with_time_skipping_disabled():
        handle: WorkflowHandle[CaseWorkflow, Any] = await stage.start(
            CaseWorkflow.run,
            CaseStart(opening=about),
            ids.case_workflow(stage.account, about.symbol or "-", about.kind),
        )
    return handle


def later(seconds: float = 60) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


def decision(choice: str) -> dict[str, str]:
    return {"choice": choice, "by": "ann", "reason": "looked at it"}


def acted(case: Any) -> bool:
    return case["acted_at"] is not None


async def result_of(handle: WorkflowHandle[CaseWorkflow, Any]) -> Any:
    async with asyncio.timeout(40):
        while (await handle.describe()).status is WorkflowExecutionStatus.RUNNING:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    return await handle.result()


async def notices(notifier: Any, until: Until, count: int) -> Sequence[Any]:
    heard = await until(notifier, "heard", lambda heard: len(heard) >= count)
    return [message for name, message in heard if name == "tell"]


async def test_a_case_tells_a_person_at_once_and_shows_what_may_be_done(
    stage: Any, until: Until
) -> None:
    notifier = await stage.listen_as(ids.notifier_workflow(stage.account))
    handle = await opened(stage)

    [notice] = await notices(notifier, until, 1)
    [attribute] = [
        pair.value
        for pair in (await handle.describe()).typed_search_attributes
        if pair.key.name == "NeedsOperator"
    ]

    assert (notice["priority"], notice["resolved"]) == (3, False)
    assert notice["key"] == handle.id
    assert f"tradewright case decide {handle.id} adopt --by NAME" in notice["text"]
    assert attribute is True


async def test_an_unanswered_case_escalates_until_somebody_decides(
    stage: Any, until: Until
) -> None:
    notifier = await stage.listen_as(ids.notifier_workflow(stage.account))
    # Its timers end at once
    about = opening(stage)
    handle = await stage.start(
        CaseWorkflow.run,
        CaseStart(opening=about),
        ids.case_workflow(stage.account, about.symbol, about.kind),
    )

    await notices(notifier, until, 3)
    await handle.signal("decide", decision("ignore"))
    await until(handle, "case", lambda case: case["state"] == "ignored")
    told = await until(notifier, "heard", lambda heard: heard[-1][1]["resolved"])
    history = await handle.fetch_history()

    titles = [notice["title"].rpartition(", ")[2] for _, notice in told]
    assert titles[1:3] == ["asked 2 times", "asked 3 times"]
    assert [notice["resolved"] for _, notice in told].index(True) == len(told) - 1
    minutes = [
        round(event.timer_started_event_attributes.start_to_fire_timeout.seconds / 60)
        for event in history.events
        if event.HasField("timer_started_event_attributes")
    ]
    assert minutes[:3] == [5, 15, 60]


@pytest.mark.parametrize("way", ["signal", "update"])
async def test_a_decision_is_acted_upon_and_the_case_ends_when_it_was_verified(
    stage: Any, until: Until, way: str
) -> None:
    """B4: what no remedy mends ends in a case that a person decides, and not before."""
    handle = await opened(stage)

    if way == "signal":
        await handle.signal("decide", decision("fix"))
    else:
        await handle.execute_update("decide", decision("fix"))
    case = await until(handle, "case", acted)
    await stage.reconciliation.script.called("look_again")
    assert (case["state"], case["remedy"]) == ("decided", "order cancelled")
    await handle.signal("compared", Sighting(at=later()))
    ended = await result_of(handle)

    assert stage.reconciliation.script.of("cancel_unknown") == [foreign_order()]
    assert ended.outcome == "fix by ann, verified"
    changes = [e.data["change"] for e in stage.journal.events if e.kind is EventKind.CASE_CHANGED]
    assert changes == ["opened", "decided", "acted", "closed"]


async def test_a_comparison_that_is_older_than_the_remedy_verifies_nothing(
    stage: Any, until: Until
) -> None:
    handle = await opened(stage)
    await handle.signal("decide", decision("fix"))
    await until(handle, "case", acted)

    await handle.signal("compared", Sighting(at=datetime.now(UTC) - timedelta(minutes=1)))
    case = await handle.query("case")

    assert case["state"] == "decided"


async def test_a_decision_that_mends_nothing_asks_again(stage: Any, until: Until) -> None:
    notifier = await stage.listen_as(ids.notifier_workflow(stage.account))
    handle = await opened(stage)
    await handle.signal("decide", decision("fix"))
    await until(handle, "case", acted)

    for seconds in (60, 120):
        await handle.signal("seen", opening(stage, at=later(seconds)))
    case = await until(handle, "case", lambda case: case["state"] == "open")
    told = await notices(notifier, until, 3)

    assert case["remark"] == "fix by ann did not mend it (order cancelled)"
    assert [n["resolved"] for n in told] == [False, True, False]


async def test_a_remedy_that_fails_leaves_the_case_to_people(
    stage: Any, until: Until, failure: Failure
) -> None:
    stage.reconciliation.script.answer("cancel_unknown", *(failure("denied") for _ in range(3)))
    handle = await opened(stage)

    await handle.signal("decide", decision("fix"))
    case = await until(handle, "case", acted)

    assert case["remedy"] == "it could not be mended: TestFailure: denied"


async def test_an_ignored_case_is_quiet_while_its_fingerprint_stays(
    stage: Any, until: Until
) -> None:
    notifier = await stage.listen_as(ids.notifier_workflow(stage.account))
    handle = await opened(stage)
    await handle.signal("decide", decision("ignore"))

    await handle.signal("seen", opening(stage))
    same = await until(handle, "case", lambda case: case["state"] == "ignored")
    quiet = await notices(notifier, until, 2)
    await handle.signal("seen", opening(stage, foreign_order(), foreign_order(2)))
    changed = await until(handle, "case", lambda case: case["state"] == "open")
    asked = await notices(notifier, until, 3)

    assert same["decision"]["by"] == "ann"
    assert [n["resolved"] for n in quiet] == [False, True]
    assert changed["remark"] == "it is no longer what was ignored"
    assert asked[-1]["resolved"] is False


async def test_a_difference_that_goes_by_itself_closes_its_case(stage: Any, until: Until) -> None:
    handle = await opened(stage)

    await handle.signal("compared", Sighting(at=later()))
    once = await until(handle, "case", lambda case: case["not_there"] == 1)
    await handle.signal("compared", Sighting(at=later(120)))
    ended = await result_of(handle)

    assert once["state"] == "open"
    assert ended.outcome == "gone"


async def test_to_adopt_starts_the_trade_that_owns_the_position(stage: Any, until: Until) -> None:
    plan = stage.plan(origin=Origin.ADOPTED)
    stage.exchange.execute(plan, Side.BUY)
    adopted = Adopted(qty=plan.qty, price=plan.price, at=plan.trigger)
    stage.reconciliation.script.answer("plan_adoption", Adoption(plan=plan, adopted=adopted))
    handle = await opened(stage, opening(stage, orphan()))

    await handle.signal("decide", decision("adopt"))
    case = await until(handle, "case", acted)
    trade = stage.client.get_workflow_handle(ids.trade_workflow(plan.symbol, plan.trade_id))
    stage.keep(trade)
    view = await until(trade, "trade", lambda view: view["trade"]["stop"] is not None)

    assert case["remedy"] == f"adopted by trade {plan.trade_id}"
    assert view["trade"]["state"] == "open"


async def test_a_case_of_a_trade_tells_that_trade_to_leave(stage: Any, until: Until) -> None:
    plan = stage.plan()
    name = ids.trade_workflow(plan.symbol, plan.trade_id)
    trade = await stage.listen_as(name)
    about = opening(stage, kind="unknown_event", subjects=(), workflow_id=name)
    handle = await opened(stage, about)

    await handle.signal("decide", decision("close"))
    case = await until(handle, "case", acted)
    [(told, event)] = await trade.query("heard")

    assert (told, event["kind"], event["by"]) == ("report", "exit_requested", "ann")
    assert case["remedy"] == "trade leaves the market"


async def test_a_case_of_a_trade_ends_when_it_is_ignored(stage: Any, until: Until) -> None:
    notifier = await stage.listen_as(ids.notifier_workflow(stage.account))
    about = opening(stage, kind="unknown_event", subjects=(), choices=(Choice.IGNORE,))
    handle = await opened(stage, about)

    await handle.signal("decide", decision("ignore"))
    ended = await result_of(handle)

    assert ended.outcome == "ignore by ann"
    assert [n["resolved"] for n in await notices(notifier, until, 2)] == [False, True]
    assert stage.reconciliation.script.count("look_again") == 1
    changes = [e.data["change"] for e in stage.journal.events]
    assert changes == ["opened", "decided", "closed"]


async def test_a_case_of_a_trade_ends_with_it(stage: Any, until: Until) -> None:
    handle = await opened(stage, opening(stage, kind="unknown_event", subjects=()))

    for minutes in (1, 2):
        await handle.signal("compared", Sighting(at=later(60 * minutes)))

    assert (await result_of(handle)).outcome == "gone"


@pytest.mark.parametrize(
    ("wish", "fault"),
    [
        ({"choice": "adopt", "by": ""}, "by: String should have at least 1 character"),
        ({"choice": "sell", "by": "ann"}, "choice: Input should be"),
        ("fix", "message: Input should be a valid dictionary"),
        ({"choice": "close", "by": "ann"}, "close is no choice here; choose one of fix, ignore"),
    ],
)
async def test_a_decision_that_cannot_be_taken_is_shown_and_changes_nothing(
    stage: Any, until: Until, wish: Any, fault: str
) -> None:
    handle = await opened(stage, opening(stage, choices=(Choice.FIX, Choice.IGNORE)))

    await handle.signal("decide", wish)
    case = await until(handle, "case", lambda _: True)
    page = await handle.query("__temporal_workflow_metadata")

    assert case["state"] == "open"
    assert fault in page.current_details


async def test_an_update_that_cannot_be_taken_says_why(stage: Any) -> None:
    handle = await opened(stage, opening(stage, choices=(Choice.IGNORE,)))

    with pytest.raises(WorkflowUpdateFailedError) as refusal:
        await handle.execute_update("decide", Decision(choice=Choice.FIX, by="ann"))

    assert "fix is no choice here; choose one of ignore" in str(refusal.value.cause)


async def test_a_cancel_does_not_end_a_case(stage: Any, until: Until) -> None:
    handle = await opened(stage)
    await until(handle, "case", lambda _: True)

    await handle.cancel()
    page = await until(
        handle,
        "__temporal_workflow_metadata",
        lambda page: "a cancel was ignored" in page.current_details,
    )

    assert "a person has to decide" in page.current_details


async def test_a_case_closes_once_although_comparisons_end_at_once(stage: Any) -> None:
    about, queue = opening(stage), stage.queue("late:trading")
    handle = await stage.client.start_workflow(
        CaseWorkflow.run,
        CaseStart(opening=about),
        id=ids.case_workflow(stage.account, about.symbol, about.kind),
        task_queue=queue,
    )
    stage.keep(handle)
    for _ in range(4):
        await handle.signal("compared", Sighting(at=later()))

    # One task hears of them all
    worker = Worker(stage.client, task_queue=queue, workflows=[CaseWorkflow])
    records = Worker(stage.client, task_queue=queue, activities=activities_of(stage.journal))
    async with worker, records:
        case = await handle.result()

    assert case.outcome == "gone"
    changes = [event.data["change"] for event in stage.journal.events]
    assert sorted(changes) == ["closed", "opened"]


async def test_continue_as_new_carries_what_was_ignored(impatient_stage: Any, until: Until) -> None:
    handle = await opened(impatient_stage)
    latest = impatient_stage.client.get_workflow_handle(handle.id)
    await latest.signal("decide", decision("ignore"))
    for _ in range(60):
        await latest.signal("seen", opening(impatient_stage))
    await latest.signal("tell_me", {})
    case = await until(latest, "case", lambda case: case["state"] == "ignored")
    first_run = handle.first_execution_run_id

    async with asyncio.timeout(40):
        while (await latest.describe()).run_id == first_run:
            await latest.signal("seen", opening(impatient_stage))
    again = await until(latest, "case", lambda case: True)
    page = await latest.query("__temporal_workflow_metadata")
    await latest.signal("seen", opening(impatient_stage, foreign_order(2)))
    asked = await until(latest, "case", lambda case: case["state"] == "open")

    assert (again["state"], again["since"]) == ("ignored", case["since"])
    assert "signal tell_me was not understood" in page.current_details
    assert asked["remark"] == "it is no longer what was ignored"
    numbers = [int(e.event_id.rpartition("/")[2]) for e in impatient_stage.journal.events]
    assert sorted(set(numbers)) == list(range(1, max(numbers) + 1))


async def test_continue_as_new_loses_no_news(impatient_stage: Any, until: Until) -> None:
    stage, changes = impatient_stage, 40
    notifier = await stage.listen_as(ids.notifier_workflow(stage.account))
    handle = await opened(stage)
    latest = stage.client.get_workflow_handle(handle.id)

    for number in range(changes):
        await latest.signal("seen", opening(stage, foreign_order(2 + number)))
    async with asyncio.timeout(40):
        while (await latest.describe()).run_id == handle.first_execution_run_id:
            await latest.signal("seen", opening(stage, foreign_order(1 + changes)))
    await until(latest, "case", lambda case: True)

    assert len(await notices(notifier, until, 1 + changes)) == 1 + changes


async def test_the_case_keeps_to_the_sandbox(strict_stage: Any, until: Until) -> None:
    handle = await opened(strict_stage)

    await handle.signal("decide", decision("fix"))
    case = await until(handle, "case", acted)

    assert case["remedy"] == "order cancelled"


async def test_a_case_that_runs_is_told_instead_of_opened_twice(stage: Any, until: Until) -> None:
    first = opening(stage)
    handle = stage.client.get_workflow_handle(
        ids.case_workflow(stage.account, first.symbol, first.kind)
    )
    stage.keep(handle)
    queue = stage.queue("opener:trading")
    worker = Worker(stage.client, task_queue=queue, workflows=[Opener, CaseWorkflow])
    records = Worker(stage.client, task_queue=queue, activities=activities_of(stage.journal))
    async with worker, records:
        for number in (1, 2):
            await stage.client.execute_workflow(
                Opener.run,
                opening(stage, foreign_order(number)),
                id=f"{stage.account}-opener-{number}",
                task_queue=queue,
            )

        case = await until(
            handle, "case", lambda case: case["opening"]["fingerprint"] != first.fingerprint
        )

    assert case["opening"]["subjects"][0]["order_id"] == "o2"


@workflow.defn(sandboxed=False)
class Opener:
    """Opens a case and ends, as a reconciliation does."""

    @workflow.run
    async def run(self, opening: CaseOpening) -> None:
        await open_case(opening)
