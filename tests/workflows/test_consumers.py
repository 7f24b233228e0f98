"""The workflows that hold the consumers of the streams."""

import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from temporalio.client import WorkflowExecutionStatus, WorkflowFailureError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import UnsandboxedWorkflowRunner

from tests.workflows.stage import Stage
from tradewright import ids
from tradewright.domain.market import Instrument, Timeframe
from tradewright.ports import Watch
from workflows import channel
from workflows.market import MarketStart, MarketWorkflow
from workflows.stream import StreamStart, StreamWorkflow

Until = Callable[..., Any]
Failure = Callable[..., Any]

BTC = Watch(preset="ema", symbols=("BTCUSDT",), timeframe=Timeframe.M1)


async def start_market(stage: Any) -> Any:
    return await stage.start(
        MarketWorkflow.run,
        MarketStart(account=stage.account),
        ids.market_workflow(stage.account),
    )


async def start_stream(stage: Any) -> Any:
    return await stage.start(
        StreamWorkflow.run,
        StreamStart(account=stage.account),
        ids.stream_workflow(stage.account),
    )


async def needs_operator(handle: Any) -> list[bool]:
    """Return what the workflow has shown, in order."""
    history = await handle.fetch_history()
    shown = [
        event.upsert_workflow_search_attributes_event_attributes.search_attributes.indexed_fields
        for event in history.events
    ]
    return [f["NeedsOperator"].data == b"true" for f in shown if "NeedsOperator" in f]


@pytest.mark.parametrize(
    ("start", "activity"), [(start_stream, "consume_stream"), (start_market, "consume_market")]
)
async def test_a_consumer_that_fails_or_ends_is_run_again(
    stage: Any, failure: Failure, start: Any, activity: str
) -> None:
    script = stage.stream.script if activity == "consume_stream" else stage.market.script
    script.answer(activity, failure("a bug", final=True), failure("reset"))
    hanging = script.hold(activity)
    held_again = script.hold(activity)

    handle = await start(stage)
    await script.called(activity, 3)
    shown = await needs_operator(handle)
    hanging.let_go(0)
    await script.called(activity, 4)
    held_again.let_go(0)

    assert shown == [False, True, False]


@pytest.mark.parametrize(("start", "name"), [(start_stream, "private"), (start_market, "public")])
async def test_the_desk_and_a_person_hear_of_a_stream_whose_consumer_fails(
    stage: Any, failure: Failure, start: Any, name: str
) -> None:
    """F4: nobody follows the stream, so nobody else could tell."""
    desk = await stage.listen_as(ids.account_workflow(stage.account))
    notifier = await stage.listen_as(ids.notifier_workflow(stage.account))
    activity = "consume_stream" if name == "private" else "consume_market"
    script = (stage.stream if name == "private" else stage.market).script
    script.answer(activity, failure("a bug", final=True))
    hanging = script.hold(activity)

    await start(stage)
    await script.called(activity, 2)
    ((signal, told),) = await desk.query("heard")
    ((word, notice),) = await notifier.query("heard")
    hanging.let_go(0)

    assert (signal, told["name"], word) == ("channel", name, "tell")
    assert "a bug" in told["fault"]
    assert notice["key"] == f"channel/{stage.account}/{name}"
    assert not notice["resolved"]


@pytest.mark.parametrize(
    ("start", "activity"), [(start_stream, "consume_stream"), (start_market, "consume_market")]
)
async def test_a_cancel_ends_the_consumer(stage: Any, start: Any, activity: str) -> None:
    script = stage.stream.script if activity == "consume_stream" else stage.market.script
    script.hold(activity)
    handle = await start(stage)
    await script.called(activity)

    await handle.cancel()

    with pytest.raises(WorkflowFailureError):
        await handle.result()
    assert (await handle.describe()).status is WorkflowExecutionStatus.CANCELED


@pytest.mark.parametrize(("start", "name"), [(start_stream, "private"), (start_market, "public")])
async def test_a_consumer_that_fails_for_no_final_reason_is_told_of_all_the_same(
    stage: Any, failure: Failure, start: Any, name: str
) -> None:
    """F4: a bug that may pass fails for ever, too."""
    desk = await stage.listen_as(ids.account_workflow(stage.account))
    activity = "consume_stream" if name == "private" else "consume_market"
    script = (stage.stream if name == "private" else stage.market).script
    script.answer(activity, *(failure("a bug") for _ in range(5)))
    hanging = script.hold(activity)

    await start(stage)
    await script.called(activity, 6)
    ((signal, told),) = await desk.query("heard")
    hanging.let_go(0)

    assert (signal, told["name"]) == ("channel", name)
    assert told["fault"].endswith(": a bug")


async def test_a_consumer_whose_worker_dies_now_and_then_alarms_nobody(
    temporal_env: WorkflowEnvironment,
    make_instrument: Callable[..., Instrument],
    failure: Failure,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # A sandbox would have its own
    monkeypatch.setattr(channel, "WORN_OUT_AFTER", timedelta(seconds=1))
    async with Stage(temporal_env, make_instrument()).running(UnsandboxedWorkflowRunner()) as stage:
        stage.stream.script.answer("consume_stream", *(failure("it died") for _ in range(5)))
        held = stage.stream.script.hold("consume_stream")

        stream = await start_stream(stage)
        await stage.stream.script.called("consume_stream", 6)
        shown = await needs_operator(stream)
        held.let_go(0)

    assert True not in shown


async def test_a_stream_that_no_worker_follows_is_told_of(
    temporal_env: WorkflowEnvironment,
    make_instrument: Callable[..., Instrument],
    until: Until,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """F4: the workers of its queue are gone, and with them all who could have told."""
    # A sandbox would have its own
    monkeypatch.setattr(channel, "TAKEN_WITHIN", timedelta(seconds=0.1))
    async with Stage(temporal_env, make_instrument()).running(UnsandboxedWorkflowRunner()) as stage:
        unserved = f"{stage.account}-2"
        desk = await stage.listen_as(ids.account_workflow(unserved))

        await stage.start(
            StreamWorkflow.run, StreamStart(account=unserved), ids.stream_workflow(unserved)
        )
        ((signal, told), *_) = await until(desk, "heard", bool)

    assert (signal, told["name"]) == ("channel", "private")
    assert f"no worker serves the queue stream-{unserved}" in told["fault"]


async def test_watches_come_and_go(stage: Any, until: Until) -> None:
    held = stage.market.script.hold("consume_market")
    market = await start_market(stage)
    eth = Watch(preset="donchian", symbols=("ETHUSDT",), timeframe=Timeframe.M5)
    more = BTC.model_copy(update={"symbols": ("BTCUSDT", "SOLUSDT")})

    for watch in (BTC, eth, more):
        await market.signal("watch", watch)
    both = await market.query(MarketWorkflow.watchlist)
    await market.signal("unwatch", eth)
    one = await market.query(MarketWorkflow.watchlist)
    held.let_go(0)
    again = await stage.market.script.called("consume_market", 2)

    assert both.watches == (eth, more)
    assert one.watches == (more,)
    assert again.watches == (more,)


@pytest.mark.parametrize(
    ("name", "argument"),
    [("watch", {"preset": "ema"}), ("watch", BTC.model_dump() | {"depth": 5}), ("wach", {})],
)
async def test_what_cannot_be_read_is_told(
    stage: Any, until: Until, name: str, argument: Any
) -> None:
    stage.market.script.hold("consume_market")
    market = await start_market(stage)

    await market.signal(name, argument)
    await market.query(MarketWorkflow.watchlist)

    assert (await needs_operator(market))[-1] is True


async def test_a_signal_to_a_stream_is_told(stage: Any) -> None:
    stage.stream.script.hold("consume_stream")
    stream = await start_stream(stage)
    await stage.stream.script.called("consume_stream")

    await stream.signal("pause", uuid.uuid4().hex)
    await stream.query("__temporal_workflow_metadata")

    assert (await needs_operator(stream))[-1] is True


async def test_continue_as_new_keeps_the_watches(impatient_stage: Any, failure: Failure) -> None:
    stage = impatient_stage
    stage.market.script.answer("consume_market", *(failure("a bug", final=True) for _ in range(8)))
    started = await start_market(stage)
    market = stage.client.get_workflow_handle(started.id)
    held = stage.market.script.hold("consume_market")
    await market.signal("watch", BTC)

    asked = await stage.market.script.called("consume_market", 9)
    described = await market.describe()
    held.let_go(0)

    assert asked.watches == (BTC,)
    assert described.run_id != started.first_execution_run_id
