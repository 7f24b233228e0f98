"""What a stream is worth: told when it changes, and again while nobody may know."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Any

import pytest

from activities import channel
from activities.channel import ChannelReport
from tradewright import ids
from tradewright.domain.account import Channel
from tradewright.domain.notice import Notice

SINCE = datetime(2025, 1, 1, tzinfo=UTC)
DESK = ids.account_workflow("main")


class NotingMessenger:
    """Keeps what is told; the desk may be away."""

    def __init__(self, *, desk_runs: bool = True) -> None:
        self.desk_runs = desk_runs
        self.channels: asyncio.Queue[Channel] = asyncio.Queue()
        self.notices: list[Notice] = []

    async def tell(self, workflow_id: str, signal: str, message: Any) -> bool:
        if workflow_id == DESK:
            assert signal == "channel"
            self.channels.put_nowait(message)
            return self.desk_runs
        assert (workflow_id, signal) == (ids.notifier_workflow("main"), "tell")
        self.notices.append(message)
        return True

    async def next(self) -> Channel:
        async with asyncio.timeout(20):
            return await self.channels.get()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel, "BLIP", 0.01)
    monkeypatch.setattr(channel, "REMIND_EVERY", 0.02)


async def eventually(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not is_so():  # noqa: ASYNC110 - what is waited for happens in another task
            await asyncio.sleep(0.001)


@asynccontextmanager
async def reporting(messenger: NotingMessenger, **before: Any) -> AsyncIterator[ChannelReport]:
    told: Any = messenger
    report = ChannelReport(told, "main", "public", **before)
    running = asyncio.create_task(report.run())
    try:
        yield report
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


async def test_a_desk_that_may_have_been_restarted_is_reminded_of_a_fault() -> None:
    """F4: the fault is not forgotten with the desk that was told of it."""
    messenger = NotingMessenger()
    async with reporting(messenger) as report:
        report.degraded("lost")
        first, again = await messenger.next(), await messenger.next()

    assert first == again
    assert (first.name, first.fault) == ("public", "lost")


async def test_a_desk_that_does_not_run_yet_is_told_when_it_does() -> None:
    messenger = NotingMessenger(desk_runs=False)
    async with reporting(messenger) as report:
        report.healthy()
        await messenger.next()
        messenger.desk_runs = True
        heard = await messenger.next()

    assert heard.fault == ""


async def test_a_fault_that_was_there_before_is_as_old_as_it_is() -> None:
    messenger = NotingMessenger()
    async with reporting(messenger, fault="lost", since=SINCE) as report:
        report.degraded("still lost")
        heard = await messenger.next()

    assert (heard.fault, heard.since) == ("still lost", SINCE)
    assert messenger.notices[0].key == "channel/main/public"
    assert messenger.notices[0].text == "still lost; no entries until it works again"


async def test_a_channel_that_is_not_heeded_is_told_to_a_person_alone() -> None:
    messenger = NotingMessenger()
    told: Any = messenger
    books = ChannelReport(told, "main", "books", heeded=False)
    running = asyncio.create_task(books.run())

    books.degraded("lost")
    await eventually(lambda: len(messenger.notices) == 1)
    books.healthy()
    await eventually(lambda: len(messenger.notices) == 2)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)

    lost, back = messenger.notices
    assert lost.text.startswith("lost; presets that order books trigger enter nothing")
    assert (lost.resolved, back.resolved) == (False, True)
    assert messenger.channels.empty()


async def test_the_end_of_a_fault_that_another_consumer_told_of_is_told() -> None:
    messenger = NotingMessenger()
    async with reporting(messenger, fault="lost", since=SINCE) as report:
        report.healthy()
        heard = await messenger.next()

    assert heard.fault == ""
    assert [notice.resolved for notice in messenger.notices] == [True]


async def test_health_is_told_once() -> None:
    messenger = NotingMessenger()
    async with reporting(messenger) as report:
        report.healthy()
        await messenger.next()
        for _ in range(5):
            report.healthy()
            await asyncio.sleep(0)
        report.degraded("lost")
        heard = await messenger.next()

    assert heard.fault == "lost"
