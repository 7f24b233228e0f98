"""Public topics over several connections."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import structlog

from activities.topics import Message, Topics
from tests.activities.noting import fault
from tradewright.paper import PaperExchange, PaperSettings, running

SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT")
KLINES = [f"kline.1.{symbol}" for symbol in SYMBOLS]
TWO_TOPICS = 2 * (len(KLINES[0]) + 3)
"""Letters of a connection that has room for no more."""


class Heard:
    """Counts the messages of each topic, and notes which topics began together."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.begun: list[set[str]] = []

    def hear(self, message: Message) -> None:
        self.counts[message["topic"]] += 1

    def begin(self, topics: Any) -> None:
        self.begun.append(set(topics))


def settings(**changes: Any) -> PaperSettings:
    fields: dict[str, Any] = {"port": 0, "symbols": SYMBOLS, "history": 10, "speed": 300}
    return PaperSettings.model_validate(fields | changes)


@asynccontextmanager
async def following(paper: PaperExchange, heard: Heard, **options: Any) -> AsyncIterator[Topics]:
    topics = Topics(f"{paper.stream_url}/public/linear", heard.hear, heard.begin, **options)
    run = asyncio.create_task(topics.run())
    try:
        yield topics
    finally:
        run.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await run


async def eventually(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not is_so():  # noqa: ASYNC110 - what is waited for happens at the exchange
            await asyncio.sleep(0.01)


async def test_more_topics_than_a_connection_takes_are_followed_over_several() -> None:
    heard = Heard()
    async with (
        running(settings()) as paper,
        following(paper, heard, most_letters=TWO_TOPICS) as topics,
    ):
        assert topics.fault == ""
        await topics.follow(KLINES)
        assert topics.fault is None

        await eventually(lambda: set(heard.counts) == set(KLINES))

        assert topics.fault == ""
        assert sorted(map(len, heard.begun)) == [2, 2]


async def test_what_is_wanted_no_more_is_not_heard_and_makes_room() -> None:
    heard = Heard()
    async with (
        running(settings()) as paper,
        following(paper, heard, most_letters=TWO_TOPICS, standing=True) as topics,
    ):
        await topics.follow(KLINES[:2])
        await eventually(lambda: set(heard.counts) == set(KLINES[:2]))
        await topics.follow(KLINES[1:3])
        heard.counts.clear()
        await eventually(lambda: heard.counts[KLINES[2]] > 3)

        assert set(topics.wanted) == set(KLINES[1:3])
        assert heard.counts[KLINES[0]] == 0
        assert heard.counts[KLINES[1]] > 0
        assert len(heard.begun) == 1


async def test_one_unknown_topic_keeps_no_other_from_being_heard() -> None:
    heard, unknown = Heard(), "kline.1.NOPEUSDT"
    with structlog.testing.capture_logs() as logs:
        async with running(settings()) as paper, following(paper, heard, standing=True) as topics:
            await eventually(lambda: topics.fault == "")
            await topics.follow([*KLINES, unknown])
            await topics.follow([*KLINES, unknown])
            await eventually(lambda: set(heard.counts) == set(KLINES))
            wanted = set(topics.wanted)

    assert wanted == set(KLINES)
    assert [line["topic"] for line in logs if line["event"] == "topic_refused"] == [unknown]


async def test_all_connections_begin_anew_with_their_topics_when_they_are_lost() -> None:
    heard = Heard()
    async with (
        running(settings()) as paper,
        following(paper, heard, most_letters=TWO_TOPICS) as topics,
    ):
        await topics.follow(KLINES)
        await eventually(lambda: len(heard.begun) == 2)
        await fault(paper, "{kind: stream_drop}")
        await eventually(lambda: len(heard.begun) == 4)
        heard.counts.clear()
        await eventually(lambda: set(heard.counts) == set(KLINES))

        assert sorted(map(sorted, heard.begun[:2])) == sorted(map(sorted, heard.begun[2:]))


async def test_connections_that_are_thrown_away_are_built_again() -> None:
    heard = Heard()
    async with running(settings()) as paper, following(paper, heard) as topics:
        await topics.follow(KLINES)
        await eventually(lambda: set(heard.counts) == set(KLINES))
        await topics.renew()
        await eventually(lambda: len(heard.begun) == 2)
        heard.counts.clear()
        await eventually(lambda: set(heard.counts) == set(KLINES))
