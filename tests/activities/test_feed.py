"""The public stream of candles, over the wire."""

import asyncio
import contextlib

import structlog

from activities.feed import CandleFeed, Series
from tradewright.domain.market import Timeframe
from tradewright.paper import PaperSettings, running

KNOWN = Series("BTCUSDT", Timeframe.M1)
UNKNOWN = Series("NOPEUSDT", Timeframe.M1)


async def test_what_was_refused_once_is_not_asked_for_again_and_again() -> None:
    paper = PaperSettings(port=0, symbols=("BTCUSDT",), history=10, speed="lockstep")
    with structlog.testing.capture_logs() as logs:
        async with running(paper) as exchange:
            feed = CandleFeed(f"{exchange.stream_url}/public/linear")
            following = asyncio.create_task(feed.run())
            await asyncio.wait_for(feed.closed.get(), 20)

            for _ in range(3):
                await feed.want([KNOWN, UNKNOWN])
            wanted = set(feed.wanted)

            following.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await following

    assert wanted == {KNOWN}
    assert [line["topic"] for line in logs if line["event"] == "candles_refused"] == [UNKNOWN.topic]
