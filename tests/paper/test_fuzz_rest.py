"""Whatever is sent to the REST door, Bybit's envelope comes back and nothing is harmed."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.paper import mischief
from tests.paper.conftest import KEY, SECRET, START, Desk, WriteCandles
from tests.paper.visitor import Visitor, sound
from tradewright.paper import PaperSettings
from tradewright.paper.keys import ApiKey

FLAT = (50_000, 50_000, 50_000, 50_000)
DEEP = b'{"cash": ' + b"[" * 100_000
WILD = (50_000, 52_500, 47_500, 50_000)
often = settings(
    max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), database=None
)


@pytest.fixture
async def desk(
    make_settings: Callable[..., PaperSettings], write_candles: WriteCandles, tmp_path: Path
) -> AsyncIterator[Desk]:
    """An exchange that must be whole in the end, and has an account with little money."""
    changes = {
        "market": write_candles(FLAT, FLAT, WILD, WILD, FLAT),
        "data_from": START + timedelta(minutes=1),
        "state": tmp_path / "paper.db",
        "rate_limits": "off",
    }
    async with sound(make_settings(**changes)) as paper:
        paper.exchange.open_account("poor", Decimal(500))
        paper.door.ring.add(ApiKey("poor-key", SECRET, account="poor", uid=100_002))
        desk = Desk(paper)
        await desk.step()
        yield desk
        await desk.close()


def visitor_of(desk: Desk) -> Visitor:
    return Visitor(desk.paper.port, [(KEY, SECRET), ("poor-key", SECRET)])


async def test_every_request_gets_an_envelope_and_none_harms_the_books(desk: Desk) -> None:
    @often
    @given(st.integers(0, 2**32))
    def ask(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(5):
            visitor.ask(mischief.request(chance, 50_000, visitor.links), chance)

    with closing(visitor_of(desk)) as visitor:
        for _ in range(3):
            await asyncio.to_thread(ask)
            # Stops go off, and who has too little margin is liquidated
            await desk.step()

    assert visitor.codes[0] > 50
    assert len(visitor.codes) >= 8


async def test_what_is_hardly_http_is_refused_and_the_next_request_served(desk: Desk) -> None:
    @often
    @given(st.integers(0, 2**32))
    def disturb(seed: int) -> None:
        visitor.disturb(random.Random(seed))

    with closing(visitor_of(desk)) as visitor:
        await asyncio.to_thread(disturb)

    assert (await desk.get("/v5/market/time"))["retCode"] == 0


@pytest.mark.parametrize("path", ["keys", "faults", "script", "subscribers", "done"])
async def test_the_control_side_refuses_in_words(desk: Desk, path: str) -> None:
    for body in (
        b"",
        b"{",
        b"[]",
        b"7",
        b"\xff\xfe",
        b'{"name": {}}',
        b"a: [",
        b"[" * 100_000,
        DEEP,
    ):
        answer = await asyncio.to_thread(desk.send, "POST", f"/paper/{path}", data=body)

        if path != "keys" or body:
            assert answer.status_code == 400
            assert answer.json().keys() - {"kind"} == {"error"}


@pytest.mark.parametrize(
    "query",
    ["name=%00&after=x", "account=nobody", "limit=1e9", "after_seq=" + "9" * 5000, "at_ms=-"],
)
@pytest.mark.parametrize("path", ["ledger", "executions", "orders", "turn", "await"])
async def test_the_control_side_takes_no_odd_query(desk: Desk, path: str, query: str) -> None:
    url = f"/paper/{path}?timeout_ms=0&{query}"

    answer = await asyncio.to_thread(desk.send, "GET", url)

    assert answer.status_code in (200, 400)
    assert isinstance(answer.json(), dict)
