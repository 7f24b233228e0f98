"""The market's clock and its turns, against the paper exchange itself."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from activities.pace import PaceRefused, PaceUnreachable, PaperPace, WallPace
from tradewright.paper import PaperSettings, running

START = datetime(2025, 1, 1, tzinfo=UTC)


@asynccontextmanager
async def market(**settings: Any) -> AsyncIterator[PaperPace]:
    defaults = {"port": 0, "symbols": ("BTCUSDT",), "history": 10, "start": START}
    async with running(PaperSettings.model_validate(defaults | settings)) as paper:
        pace = PaperPace(paper.http_url)
        try:
            yield pace
        finally:
            pace.close()


async def test_a_real_venue_keeps_our_own_time_and_waits_for_nobody() -> None:
    pace = WallPace()

    await pace.subscribe("me", "market", ["BTCUSDT"], None)
    await pace.done("me", START)
    await pace.wait_for("somebody else", START)
    await pace.unsubscribe("me")

    assert not await pace.lockstep()
    assert await pace.awaited("me") is None
    assert not await pace.holdings()
    assert abs(await pace.market_now() - datetime.now(UTC)) < timedelta(seconds=5)


async def test_market_time_runs_at_the_market_s_speed() -> None:
    async with market(speed=6000) as pace:
        first, began = await pace.market_now(), time.monotonic()
        while time.monotonic() - began < 0.02:  # noqa: ASYNC110 - asked, as its clients do
            await asyncio.sleep(0)
        second, passed = await pace.market_now(), time.monotonic() - began

    assert await pace.speed() == 6000
    assert not await pace.lockstep()
    # The anchor is exact to a fraction of the round trip
    assert (second - first).total_seconds() == pytest.approx(6000 * passed, rel=0.5)


async def test_a_lockstep_stands_until_all_have_dealt_with_the_candle() -> None:
    async with market(speed="lockstep", steps=2) as pace:
        await pace.subscribe("market", "market", ["BTCUSDT"], None)
        await pace.subscribe("preset", "preset", ["BTCUSDT"], "1m")
        await pace.subscribe("desk", "account", [], None)
        await pace.start()
        close = START + timedelta(minutes=1)
        while await pace.awaited("market") is None:  # noqa: ASYNC110 - asked, as its clients do
            await asyncio.sleep(0)

        assert await pace.lockstep()
        assert await pace.market_now() == close
        assert await pace.awaited("market") == close

        others = asyncio.create_task(pace.wait_for("preset", close))
        await pace.done("market", close)
        assert not others.done()
        await pace.done("preset", close)
        await others

        turn = await pace.turn("desk", -1)
        assert (turn.at, turn.step, turn.ended) == (close, 0, False)
        await pace.pass_barrier("desk", turn.barrier)
        while await pace.market_now() == close:  # noqa: ASYNC110 - asked, as its clients do
            await asyncio.sleep(0)
        assert await pace.market_now() == START + timedelta(minutes=2)


async def test_the_end_of_the_market_ends_the_turns() -> None:
    async with market(speed="lockstep", steps=1) as pace:
        await pace.start()

        turn = await pace.turn("desk", -1)

    assert turn.ended


async def test_who_is_no_subscriber_any_more_is_not_waited_for() -> None:
    async with market(speed="lockstep", steps=1) as pace:
        await pace.subscribe("preset", "preset", ["BTCUSDT"], "1m")
        await pace.start()
        waiting = asyncio.create_task(pace.wait_for("preset", START + timedelta(minutes=1)))

        await pace.unsubscribe("preset")

        await waiting
        assert (await pace.turn("desk", -1)).ended


async def test_a_refused_request_says_why() -> None:
    async with market(speed="lockstep") as pace:
        with pytest.raises(PaceRefused, match=r"refused POST /subscribers: .*4 weeks"):
            await pace.subscribe("preset", "preset", ["BTCUSDT"], "4 weeks")


async def test_a_paper_exchange_that_is_away_is_named(free_port: int) -> None:
    pace = PaperPace(f"http://127.0.0.1:{free_port}")

    with pytest.raises(PaceUnreachable, match=rf"127.0.0.1:{free_port} does not answer"):
        await pace.market_now()

    pace.close()
