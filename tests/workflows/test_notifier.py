"""The notifier: who has to know is told, and nobody waits for it."""

from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from temporalio.client import WorkflowExecutionStatus, WorkflowUpdateFailedError
from temporalio.testing import WorkflowEnvironment

from activities.notify import Notifier
from activities.secrets import VaultSecrets
from tests.webhook import PASSWORD, TOKEN, Webhook, listening
from tests.workflows.script import NOON
from tests.workflows.stage import Stage
from tradewright import ids
from tradewright.app.services import free_port
from tradewright.domain.account import RefusalCode, Refused
from tradewright.domain.event import EventKind
from tradewright.domain.market import Instrument
from tradewright.domain.notice import Notice, NotifySettings, Priority
from tradewright.domain.notification import ESCALATION, RETRY_AFTER, Delivery, Failure
from tradewright.ports import CandleClosed, Proposals
from tradewright.settings import Settings, VaultSettings
from workflows.notifier import AcknowledgeWish, NotifierWorkflow, TrialWish

Until = Callable[..., Any]


def notice(stage: Stage, key: str = "a", **changes: Any) -> Notice:
    fields = {
        "key": key,
        "account": stage.account,
        "priority": Priority.URGENT,
        "title": f"{key} fails",
        "workflow_id": "trade/BTCUSDT/tw",
    }
    return Notice.model_validate(fields | changes)


def not_taken(*receivers: str) -> Delivery:
    return Delivery(failed=tuple(Failure(receiver=r, reason="away") for r in receivers))


# --- telling ----------------------------------------------------------------------------------


async def test_what_a_workflow_tells_reaches_the_receivers(stage: Stage, until: Until) -> None:
    notifier = await stage.start_notifier()

    await notifier.signal("tell", notice(stage, priority=Priority.WARNING, text="so it is"))
    told = await until(notifier, "notices", lambda n: n["sent"] and n["sent"][0]["delivered"])

    [message] = stage.receivers.script.of("send")
    assert (message.title, message.text) == ("a fails", "so it is")
    assert (message.priority, message.account) == (Priority.WARNING, stage.account)
    assert [found["key"] for found in told["open"]] == ["a"]
    assert told["sent"][0]["delivered"] == ["log"]


async def test_the_same_news_is_told_once_and_that_it_is_over_once(
    stage: Stage, until: Until
) -> None:
    notifier = await stage.start_notifier()
    for _ in range(5):
        await notifier.signal("tell", notice(stage, priority=Priority.WARNING))
    await stage.receivers.script.called("send")

    for _ in range(2):
        await notifier.signal("tell", notice(stage, priority=Priority.WARNING, resolved=True))
    await stage.receivers.script.called("send", 2)
    await until(notifier, "notices", lambda n: not n["open"])

    assert stage.receivers.titles == ["a fails", "over: a fails"]


async def test_what_is_urgent_is_told_again_until_somebody_answers(
    stage: Stage, until: Until
) -> None:
    with stage.env.with_time_skipping_disabled():
        notifier = await stage.start_notifier()
    await notifier.signal("tell", notice(stage))
    await stage.receivers.script.called("send")
    assert stage.receivers.titles == ["a fails"]

    await stage.env.fast_forward(notifier, ESCALATION[0] + timedelta(seconds=1))
    await stage.receivers.script.called("send", 2)
    told = await notifier.execute_update(
        NotifierWorkflow.acknowledge_by_update, AcknowledgeWish(key="a", by="ann")
    )
    await stage.env.fast_forward(notifier, timedelta(hours=5))

    assert stage.receivers.titles == ["a fails", "again, 2nd time: a fails"]
    assert [(found.key, found.acknowledged_by) for found in told.open] == [("a", "ann")]
    await stage.journal.script.called("record")
    await until(notifier, "notices", lambda _: stage.journal.events)
    [event] = stage.journal.events
    assert (event.kind, event.data["by"]) == (EventKind.NOTICE_ACKNOWLEDGED, "ann")


async def test_unanswered_it_goes_on_every_hour(stage: Stage) -> None:
    notifier = await stage.start_notifier()

    await notifier.signal("tell", notice(stage))
    await stage.receivers.script.called("send", 6)

    sent = stage.receivers.script.of("send")
    begin = sent[0].at
    minutes = [round((message.at - begin) / timedelta(minutes=1)) for message in sent[:6]]
    assert minutes == [0, 5, 15, 60, 120, 180]


async def test_a_signal_from_the_web_ui_answers_too(stage: Stage, until: Until) -> None:
    with stage.env.with_time_skipping_disabled():
        notifier = await stage.start_notifier()
    await notifier.signal("tell", notice(stage))

    await notifier.signal("acknowledge", {"key": "b", "by": "ann"})
    unknown = await until(notifier, "notices", lambda n: n["needs_operator"])
    await notifier.signal("acknowledge", {"key": "a", "by": "ann"})
    told = await until(notifier, "notices", lambda n: n["open"][0]["acknowledged_by"] == "ann")

    assert "there is no open notice 'b'" in unknown["needs_operator"]
    assert told["needs_operator"] == ""


async def test_an_update_for_what_is_not_open_is_refused(stage: Stage) -> None:
    notifier = await stage.start_notifier()

    with pytest.raises(WorkflowUpdateFailedError) as refusal:
        await notifier.execute_update("acknowledge", AcknowledgeWish(key="x", by="ann"))

    assert "there is no open notice 'x'" in str(refusal.value.cause)


# --- receivers that are down ------------------------------------------------------------------


async def test_a_receiver_that_was_down_gets_it_later(stage: Stage, until: Until) -> None:
    notifier = await stage.start_notifier()
    stage.receivers.script.answer(
        "send",
        Delivery(delivered=("chat",), failed=not_taken("mail").failed),
        not_taken("mail"),
        Delivery(delivered=("mail",)),
    )

    await notifier.signal("tell", notice(stage, priority=Priority.ROUTINE))
    told = await until(
        notifier, "notices", lambda n: n["sent"] and len(n["sent"][0]["delivered"]) == 2
    )

    assert [m.receivers for m in stage.receivers.script.of("send")] == [(), ("mail",), ("mail",)]
    assert (told["sent"][0]["attempts"], told["faults"]) == (3, [])


async def test_a_receiver_that_stays_down_is_shown_and_holds_up_nothing_else(
    stage: Stage, until: Until
) -> None:
    notifier = await stage.start_notifier()
    attempts = len(RETRY_AFTER) + 1
    stage.receivers.script.answer("send", *(not_taken("mail") for _ in range(attempts)))

    await notifier.signal("tell", notice(stage, priority=Priority.WARNING))
    told = await until(notifier, "notices", lambda n: n["needs_operator"])

    assert stage.receivers.script.count("send") == attempts
    assert told["needs_operator"].startswith("message 1 was given up: mail took it in none of 6")
    # It is shown until the receiver takes something
    stage.receivers.script.answer("send", Delivery(delivered=("mail",)))
    await notifier.signal("tell", notice(stage, "b", priority=Priority.WARNING))
    await until(notifier, "notices", lambda n: not n["needs_operator"])


async def test_an_activity_that_fails_is_tried_again_like_a_receiver(
    stage: Stage, until: Until, failure: Callable[..., Exception]
) -> None:
    notifier = await stage.start_notifier()
    stage.receivers.script.answer("send", failure("no thread left", final=True))

    await notifier.signal("tell", notice(stage, priority=Priority.WARNING))
    told = await until(notifier, "notices", lambda n: n["sent"] and n["sent"][0]["delivered"])

    assert told["sent"][0]["attempts"] == 2


# --- what others send, and how it lives -------------------------------------------------------


async def test_what_cannot_be_understood_is_shown_and_nothing_is_lost(
    stage: Stage, until: Until
) -> None:
    with stage.env.with_time_skipping_disabled():
        notifier = await stage.start_notifier()

    await notifier.signal("tell", {"title": "no key"})
    misread = await until(notifier, "notices", lambda n: n["needs_operator"])
    await notifier.signal("shout")
    unknown = await until(notifier, "notices", lambda n: "shout" in n["needs_operator"])
    fields = notice(stage).model_dump(mode="json")
    await notifier.signal("tell", args=[fields | {"colour": "red"}, "too much"])
    told = await until(notifier, "notices", lambda n: n["open"])

    assert "signal tell was not understood" in misread["needs_operator"]
    assert "no such signal" in unknown["needs_operator"]
    assert "colour" in told["needs_operator"]


async def test_a_cancel_does_not_end_it(stage: Stage, until: Until) -> None:
    with stage.env.with_time_skipping_disabled():
        notifier = await stage.start_notifier()
    await until(notifier, "notices", lambda _: True)

    await notifier.cancel()
    await until(notifier, "notices", lambda n: "a cancel was ignored" in n["needs_operator"])
    await notifier.signal("tell", notice(stage))
    await stage.receivers.script.called("send")

    assert (await notifier.describe()).status is WorkflowExecutionStatus.RUNNING


async def test_a_long_life_goes_on_where_it_was(impatient_stage: Stage, until: Until) -> None:
    stage = impatient_stage
    with stage.env.with_time_skipping_disabled():
        notifier = await stage.start_notifier()
    await notifier.signal("tell", notice(stage, "first"))
    # Two that come together are one message
    await stage.receivers.script.called("send")
    first_run = (await notifier.describe()).run_id
    latest = stage.client.get_workflow_handle(notifier.id)

    for number in range(12):
        await latest.signal("tell", notice(stage, f"k{number}"))
        await stage.receivers.script.called("send", number + 2)

    async def has_gone_on() -> bool:
        return (await latest.describe()).run_id != first_run

    await until(latest, "notices", lambda n: len(n["open"]) == 13)
    assert await has_gone_on()
    told = await latest.query("notices")
    assert {found["key"] for found in told["open"]} == {"first", *(f"k{n}" for n in range(12))}
    assert sorted(stage.receivers.titles) == sorted(
        f"{key} fails" for key in ("first", *(f"k{n}" for n in range(12)))
    )


async def test_its_page_says_what_is_open_and_how_to_answer(stage: Stage, until: Until) -> None:
    with stage.env.with_time_skipping_disabled():
        notifier = await stage.start_notifier()
    stage.receivers.script.answer("send", not_taken("mail"))
    await notifier.signal("tell", notice(stage))
    await until(notifier, "notices", lambda n: n["faults"])

    page = await _page(notifier)

    assert page.startswith("### 1 notice waits for an answer")
    assert "**a fails** ([look](/namespaces/default/workflows/trade%2FBTCUSDT%2Ftw))" in page
    assert "told once; key `a`" in page
    assert "**mail fails:** away" in page
    assert "not taken by mail yet" in page
    assert '`acknowledge` with `{"key": "…", "by": "ann"}`' in page


async def _page(handle: Any) -> str:
    found = await handle.query("__temporal_workflow_metadata")
    return str(found.current_details)


# --- who tells --------------------------------------------------------------------------------


async def test_nothing_waits_where_no_notifier_runs(stage: Stage, until: Until) -> None:
    strategy = await stage.start_strategy()

    await strategy.signal("nonsense")
    await until(strategy, "status", lambda s: "no such signal" in s["needs_operator"])
    await strategy.signal("candle", candle(1))

    assert await until(strategy, "status", lambda s: s["candles"] == 1)


async def test_a_strategy_tells_that_it_needs_a_person_and_that_it_does_not_any_more(
    stage: Stage, until: Until
) -> None:
    notifier = await stage.listen_as(ids.notifier_workflow(stage.account))
    strategy = await stage.start_strategy()

    await strategy.signal("nonsense")
    await until(strategy, "status", lambda s: s["needs_operator"])
    await until(notifier, "heard", lambda heard: len(heard) == 1)
    await strategy.signal("pause", {"by": "ann"})
    heard = await until(notifier, "heard", lambda heard: len(heard) == 2)

    assert [name for name, _ in heard] == ["tell", "tell"]
    first, second = (Notice.model_validate(told) for _, told in heard)
    assert (first.resolved, second.resolved) == (False, True)
    assert first.key == second.key == f"strategy/{stage.preset}/needs_operator"
    assert "no such signal" in first.text


async def test_a_refusal_of_note_is_told_once_an_hour_and_everyday_ones_are_not(
    stage: Stage, until: Until
) -> None:
    notifier = await stage.listen_as(ids.notifier_workflow(stage.account))
    with stage.env.with_time_skipping_disabled():
        strategy = await stage.start_strategy()

    async def refuse(number: int, code: RefusalCode) -> None:
        stage.market.script.answer("evaluate", Proposals(proposals=(stage.proposal(),)))
        stage.desk.script.answer("reserve", Refused(code=code, reason="so it is"))
        await strategy.signal("candle", candle(number))
        await until(strategy, "status", lambda s: s["candles"] == number)

    await refuse(1, RefusalCode.SYMBOL_TAKEN)
    await refuse(2, RefusalCode.MAX_DAILY_LOSS)
    await refuse(3, RefusalCode.MAX_DAILY_LOSS)
    await refuse(4, RefusalCode.GATE_CLOSED)
    told = [Notice.model_validate(n) for _, n in await notifier.query("heard")]
    assert [n.key.rpartition("/")[2] for n in told] == ["max_daily_loss", "gate_closed"]

    await stage.env.fast_forward(strategy, timedelta(hours=1, seconds=1))
    await refuse(5, RefusalCode.MAX_DAILY_LOSS)

    assert len(await notifier.query("heard")) == 3


def candle(number: int) -> CandleClosed:
    return CandleClosed(symbols=("BTCUSDT",), close_time=NOON + timedelta(minutes=number))


# --- with a real receiver ---------------------------------------------------------------------


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    with listening() as hook:
        yield hook


@pytest.fixture
async def real(
    temporal_env: WorkflowEnvironment,
    make_instrument: Callable[..., Instrument],
    vault: VaultSettings,
    webhook: Webhook,
) -> AsyncIterator[Stage]:
    """A stage whose notifier tells a real webhook, and one that is down."""
    down = f"json://127.0.0.1:{free_port()}/hooks/{TOKEN}"
    urls = [{"name": "hook", "url": webhook.url}, {"name": "down", "url": down}]
    settings = Settings(vault=vault, notify=NotifySettings.model_validate({"urls": urls}))
    stage = Stage(temporal_env, make_instrument())
    notifier: Any = Notifier(settings, VaultSecrets.of(settings))
    stage.receivers = notifier
    async with stage.running() as running:
        yield running


async def test_a_webhook_hears_and_hears_again_and_hears_that_it_is_over(
    real: Stage, webhook: Webhook, until: Until
) -> None:
    with real.env.with_time_skipping_disabled():
        notifier = await real.start_notifier()
    for _ in range(3):
        await notifier.signal("tell", notice(real))
    await until(notifier, "notices", lambda n: n["faults"])
    assert webhook.titles == ["a fails"]

    await real.env.fast_forward(notifier, ESCALATION[0] + timedelta(seconds=1))
    await until(notifier, "notices", lambda _: len(webhook.titles) == 2)
    await notifier.signal("tell", notice(real, resolved=True))
    await real.env.fast_forward(notifier, timedelta(minutes=2))
    told = await until(notifier, "notices", lambda _: len(webhook.titles) == 3)

    assert webhook.titles == ["a fails", "again, 2nd time: a fails", "over: a fails"]
    assert [fault["receiver"] for fault in told["faults"]] == ["down"]


async def test_a_webhook_that_comes_back_gets_what_it_missed(
    real: Stage, webhook: Webhook, until: Until
) -> None:
    with real.env.with_time_skipping_disabled():
        notifier = await real.start_notifier()
    webhook.status = 503
    await notifier.signal("tell", notice(real, priority=Priority.WARNING))
    await until(notifier, "notices", lambda n: len(n["faults"]) == 2)
    assert webhook.titles == []

    webhook.status = 200
    await real.env.fast_forward(notifier, RETRY_AFTER[0] + timedelta(seconds=1))
    told = await until(notifier, "notices", lambda n: len(n["faults"]) == 1)

    assert webhook.titles == ["a fails"]
    assert told["sent"][0]["delivered"] == ["hook"]


async def test_a_test_message_goes_to_everybody_and_says_who_got_it(
    real: Stage, webhook: Webhook
) -> None:
    notifier = await real.start_notifier()

    delivery: Delivery = await notifier.execute_update(
        "test", TrialWish(by="ann"), result_type=Delivery
    )

    assert delivery.delivered == ("hook",)
    assert [failure.receiver for failure in delivery.failed] == ["down"]
    assert webhook.titles == ["test, asked for by ann"]


async def test_no_secret_of_a_receiver_is_in_the_history(
    real: Stage, webhook: Webhook, until: Until
) -> None:
    notifier = await real.start_notifier()
    webhook.status = 500
    await notifier.signal("tell", notice(real, priority=Priority.WARNING))
    await until(notifier, "notices", lambda n: n["needs_operator"])

    history = b"".join([e.SerializeToString() async for e in notifier.fetch_history_events()])
    told = history + str(await notifier.query("notices")).encode()

    assert b"error=500" in told
    assert [s for s in (TOKEN, PASSWORD, str(webhook.port)) if s.encode() in told] == []
