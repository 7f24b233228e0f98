"""The public stream of candles, over the wire."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import structlog

from activities.feed import CandleFeed, Closed, LastPrice, Series
from tests.activities.noting import fault, no_faults
from tradewright.domain.market import Timeframe
from tradewright.paper import PaperExchange, PaperSettings, running

KNOWN = Series("BTCUSDT", Timeframe.M1)
UNKNOWN = Series("NOPEUSDT", Timeframe.M1)


@asynccontextmanager
async def feeding(
    paper: PaperExchange, prices: dict[str, LastPrice] | None = None
) -> AsyncIterator[CandleFeed]:
    feed = CandleFeed(f"{paper.stream_url}/public/linear", prices)
    following = asyncio.create_task(feed.run())
    try:
        async with asyncio.timeout(20):
            assert await feed.closed.get() is None
        yield feed
    finally:
        following.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await following


def settings(**changes: Any) -> PaperSettings:
    fields: dict[str, Any] = {"port": 0, "symbols": ("BTCUSDT", "ETHUSDT"), "history": 10}
    return PaperSettings.model_validate(fields | {"speed": "lockstep"} | changes)


async def eventually(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not is_so():  # noqa: ASYNC110 - what is waited for happens at the exchange
            await asyncio.sleep(0.01)


async def test_what_was_refused_once_is_not_asked_for_again_and_again() -> None:
    with structlog.testing.capture_logs() as logs:
        async with running(settings(symbols=("BTCUSDT",))) as paper, feeding(paper) as feed:
            for _ in range(3):
                await feed.follow([KNOWN, UNKNOWN])
            wanted = set(feed.wanted)

    assert wanted == {KNOWN}
    assert [line["topic"] for line in logs if line["event"] == "topic_refused"] == [UNKNOWN.topic]


async def test_a_connection_that_is_lost_is_subscribed_again() -> None:
    """F2, F5: pybit reconnects without subscribing; here every connection begins with all."""
    async with running(settings(speed=300)) as paper, feeding(paper) as feed:
        await feed.follow([KNOWN])
        await next_closed(feed)
        await fault(paper, "{kind: stream_drop}")
        while await feed.closed.get() is not None:
            pass

        closed = await next_closed(feed)

    assert closed.series == KNOWN
    assert feed.fault == ""


async def next_closed(feed: CandleFeed) -> Closed:
    async with asyncio.timeout(20):
        while (closed := await feed.closed.get()) is None:
            pass
    return closed


async def test_a_stream_that_cannot_be_opened_says_why() -> None:
    async with running(settings()) as paper, feeding(paper) as feed:
        shut = "{kind: http_error, status: 503, when: {endpoint: /v5/public/linear}}"
        await fault(paper, shut)
        await fault(paper, "{kind: stream_drop}")
        await eventually(lambda: bool(feed.fault))
        assert "was lost" in (feed.fault or "")
        await no_faults(paper)
        await eventually(lambda: feed.fault == "")


async def test_a_topic_that_was_asked_for_anew_is_followed() -> None:
    """F2: the exchange forgot one subscription of many."""
    async with running(settings(speed=300)) as paper, feeding(paper) as feed:
        other = Series("ETHUSDT", Timeframe.M1)
        await feed.follow([KNOWN, other])
        wire = feed._topics._lines[0]._wire
        assert wire is not None
        await wire.unsubscribe([KNOWN.topic])
        while not feed.closed.empty():
            feed.closed.get_nowait()
        for _ in range(3):
            assert (await next_closed(feed)).series == other
        assert feed.silent_for(KNOWN) > feed.silent_for(other)

        await feed.resubscribe([KNOWN])
        async with asyncio.timeout(20):
            while (await next_closed(feed)).series != KNOWN:
                pass


async def test_the_last_price_is_kept_with_its_time() -> None:
    prices: dict[str, LastPrice] = {}
    async with running(settings(speed=60)) as paper, feeding(paper, prices) as feed:
        await feed.follow([KNOWN])
        await eventually(lambda: "BTCUSDT" in prices)
        first = prices["BTCUSDT"]
        await eventually(lambda: prices["BTCUSDT"].heard_at > first.heard_at)

    assert first.price > 0
