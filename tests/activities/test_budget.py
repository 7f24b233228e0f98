"""The budget of requests: by itself, and against the paper exchange with its limits on."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from activities import budget
from activities.bucket import PATIENCE, Bucket
from activities.budget import BAN_PAUSE, PRESSING_BAN_PAUSE, Budget
from activities.endpoint import ENDPOINTS, OTHER, PUBLIC, endpoint_of
from activities.urgency import Urgency, urgent
from tests.activities.conftest import KEY, SECRET, Bench
from tradewright.domain.errors import RateLimited
from tradewright.paper import PaperSettings, running

CREATE = endpoint_of("place_order")
POSITIONS = endpoint_of("get_positions")
EXIT, STOP, ENTRY, READ = Urgency
SELL = {"category": "linear", "symbol": "BTCUSDT", "side": "Sell", "orderType": "Market"}


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def bucket(clock: Clock, limit: int = 10, *, others: int = 0, used: int = 0) -> Bucket:
    """A bucket of which an answer has just said how it stands."""
    made = Bucket("order/create", limit, clock=clock)
    for _ in range(used):
        asyncio.run(enter(made, EXIT))
        made.leave(clock.now, answered=True)
    made.heed(limit, limit - others - used)
    return made


async def enter(own: Any, *wish: Any) -> float:
    """Enter at once, or fail: a clock that stands still never lets in who has to wait."""
    async with asyncio.timeout(5):
        pause: float = await own.enter(*wish)
    return pause


# --- delays -----------------------------------------------------------------------------------


@pytest.mark.parametrize("urgency", [STOP, ENTRY, READ])
def test_delays_grow_as_the_limit_nears(urgency: Urgency) -> None:
    clock = Clock()

    delays = [bucket(clock, used=used).delay(urgency, clock.now) for used in range(10)]

    assert delays == sorted(delays)
    assert delays[:4] == [0] * 4
    steps = [delay for delay in delays if 0 < delay < 1]
    assert len(steps) >= 2, "between free and shut there are steps"
    assert delays[-1] == 1


def test_the_more_urgent_waits_less() -> None:
    clock = Clock()

    for used in range(10):
        delays = [bucket(clock, used=used).delay(urgency, clock.now) for urgency in Urgency]
        assert delays == sorted(delays), used


def test_what_others_have_used_counts_as_ours_until_it_is_a_second_old() -> None:
    clock = Clock()
    shared = bucket(clock, others=9)

    assert [shared.delay(u, clock.now) for u in (EXIT, ENTRY, READ)] == [0, 1, 1]
    clock.now += 1.01
    assert [shared.delay(u, clock.now) for u in (EXIT, ENTRY, READ)] == [0, 0, 0]


async def test_before_the_first_answer_only_a_few_are_sent_to_find_out() -> None:
    clock = Clock()
    fresh = Bucket("position/list", 50, clock=clock)

    sent = 0
    while fresh.delay(READ, clock.now) <= 0:
        await enter(fresh, READ)
        sent += 1

    assert 2 <= sent <= 10
    fresh.leave(clock.now, answered=True)
    fresh.heed(50, 49)
    assert fresh.delay(READ, clock.now) <= 0


async def test_a_higher_limit_that_an_answer_names_is_used() -> None:
    clock = Clock()
    vip = Bucket("order/create", 10, clock=clock)

    vip.heed(60, 60)
    for _ in range(20):
        assert await enter(vip, ENTRY) == 0

    assert vip.delay(ENTRY, clock.now) <= 0


async def test_an_exit_waits_for_nothing_but_what_the_exchange_has_refused() -> None:
    clock = Clock()
    budget_ = Budget(clock)
    for _ in range(8):
        await enter(budget_, CREATE, EXIT)
    budget_.spend(CREATE, 1.0)
    budget_.calm(CREATE.group)

    assert await enter(budget_, CREATE, EXIT) == 0

    budget_.refuse(CREATE, 0.5)
    waits = asyncio.create_task(budget_.enter(CREATE, EXIT))
    await asyncio.sleep(0)
    assert not waits.done()
    waits.cancel()


async def test_an_exit_waits_no_longer_than_until_the_exchange_takes_another() -> None:
    clock = Clock()
    own = Bucket("order/create", 10, clock=clock)
    for _ in range(10):
        await enter(own, EXIT)
        clock.now += 0.01
        own.leave(clock.now, answered=True)

    assert own.delay(EXIT, clock.now) == pytest.approx(0.91)


async def test_exits_that_hang_hold_no_exit_back_for_longer_than_the_window() -> None:
    clock = Clock()
    own = Bucket("order/create", 10, clock=clock)
    for _ in range(10):
        await enter(own, EXIT)

    waits = own.delay(EXIT, clock.now)
    clock.now += 1

    assert 0 < waits <= 0.25
    assert own.delay(EXIT, clock.now) == 0


async def test_what_never_arrived_takes_no_exit_s_place() -> None:
    clock = Clock()
    own = Bucket("order/create", 10, clock=clock)
    for _ in range(10):
        await enter(own, EXIT)
    for _ in range(10):
        own.leave(clock.now, answered=False)

    assert own.delay(EXIT, clock.now) == 0


@given(st.lists(st.tuples(st.sampled_from(list(Urgency)), st.floats(0, 0.3)), max_size=60))
def test_nobody_but_exits_uses_what_is_kept_for_them(steps: list[tuple[Urgency, float]]) -> None:
    clock = Clock()
    own = bucket(clock)
    admitted: list[tuple[float, Urgency]] = []

    async def ask() -> None:
        for urgency, later in steps:
            clock.now += later
            if own.delay(urgency, clock.now) <= 0:
                await enter(own, urgency)
                own.leave(clock.now, answered=True)
                admitted.append((clock.now, urgency))

    asyncio.run(ask())

    for number, (at, urgency) in enumerate(admitted):
        window = [then for then, _ in admitted[: number + 1] if at - 1 < then]
        assert len(window) <= 10
        if urgency is READ:
            assert len(window) <= 7


# --- who goes first ---------------------------------------------------------------------------


async def test_those_who_wait_go_by_urgency_and_then_by_turn() -> None:
    own = Bucket("order/create", 10)
    own.heed(10, 10)
    own.pause(0.05, pressing=0.05)
    done: list[str] = []

    async def ask(name: str, urgency: Urgency) -> None:
        await own.enter(urgency)
        done.append(name)

    wishes = (("read", READ), ("entry", ENTRY), ("late entry", ENTRY), ("stop", STOP))
    asking = [asyncio.create_task(ask(*wish)) for wish in wishes]
    await asyncio.sleep(0)
    asking.append(asyncio.create_task(ask("exit", EXIT)))
    await asyncio.gather(*asking)

    assert done == ["exit", "stop", "entry", "late entry", "read"]


async def test_who_is_cancelled_while_waiting_leaves_no_hole() -> None:
    own = Bucket("order/create", 10)
    own.heed(10, 10)
    own.pause(0.02)
    asking = [asyncio.create_task(own.enter(ENTRY)) for _ in range(3)]
    await asyncio.sleep(0)

    asking[0].cancel()
    await asyncio.gather(*asking[1:])

    assert own.view().used == 2
    assert own.view().waiting == 0


# --- pauses -----------------------------------------------------------------------------------


async def test_a_long_pause_is_told_and_not_slept_through() -> None:
    clock = Clock()
    barred = Budget(clock)

    assert barred.ban(READ) == BAN_PAUSE
    assert barred.ban(EXIT) == barred.ban(STOP) == PRESSING_BAN_PAUSE
    assert await enter(barred, POSITIONS, READ) == pytest.approx(BAN_PAUSE)
    assert PATIENCE < await enter(barred, CREATE, EXIT) <= PRESSING_BAN_PAUSE
    clock.now += PRESSING_BAN_PAUSE
    assert await enter(barred, CREATE, EXIT) == 0


def test_a_ban_that_comes_again_is_kept_longer_but_not_once_per_answer() -> None:
    clock = Clock()
    barred = Budget(clock)

    first = [barred.ban(READ) for _ in range(5)]
    clock.now += BAN_PAUSE
    again = barred.ban(READ)
    barred.succeed(POSITIONS, {"X-Bapi-Limit-Status": "1"})
    clock.now += again
    later = barred.ban(READ)

    assert first == [BAN_PAUSE] * 5
    assert (again, later) == (2 * BAN_PAUSE, BAN_PAUSE)


async def test_a_reset_ends_pauses_and_forgets_the_others() -> None:
    own = Budget()
    own.ban(READ)
    own.refuse(CREATE, 100)

    assert own.reset("nothing") == []
    assert own.reset("order") == ["order/create"]
    assert own.reset() == ["order/create", "address"]

    assert await enter(own, CREATE, READ) == 0
    assert not any(view.paused_for for view in own.views())


async def test_a_venue_that_counts_nothing_is_not_waited_for_until_it_refuses() -> None:
    clock = Clock()
    own = Budget(clock)
    await enter(own, CREATE, ENTRY)
    own.leave(CREATE, clock.now, {})
    own.succeed(CREATE, {})

    for _ in range(100):
        assert await enter(own, CREATE, ENTRY) == 0

    own.refuse(CREATE, 0.0)
    own.succeed(CREATE, {})
    waits = asyncio.create_task(own.enter(CREATE, ENTRY))
    await asyncio.sleep(0)
    assert not waits.done()
    waits.cancel()


async def test_one_answer_that_names_no_limit_does_not_undo_what_others_have_named() -> None:
    clock = Clock()
    own = Budget(clock)
    await enter(own, POSITIONS, READ)
    own.leave(POSITIONS, clock.now, {"X-Bapi-Limit": "50", "X-Bapi-Limit-Status": "40"})
    own.succeed(endpoint_of("get_account_info"), {})

    waits = [asyncio.create_task(own.enter(POSITIONS, READ)) for _ in range(100)]
    await asyncio.sleep(0)

    assert sum(task.done() for task in waits) < 35
    for task in waits:
        task.cancel()


def test_public_reads_are_counted_by_address_alone() -> None:
    assert {endpoint_of(method).limit for method in PUBLIC} == {None}
    assert endpoint_of("a_method_of_next_year") is OTHER
    assert {endpoint.group for endpoint in ENDPOINTS.values()} == {
        *("market", "order", "execution", "position", "account", "user")
    }


# --- against the exchange ---------------------------------------------------------------------


@pytest.fixture
async def metered() -> AsyncIterator[Bench]:
    """A paper exchange that counts as Bybit does."""
    settings = PaperSettings(
        port=0,
        api_key=KEY,
        api_secret=SecretStr(SECRET),
        speed="lockstep",
        symbols=("BTCUSDT", "ETHUSDT", "SOLUSDT"),
        history=2,
        rate_limits="bybit",
    )
    async with running(settings) as paper:
        bench = Bench(paper)
        yield bench
        bench.close()


async def refused(calls: Sequence[Awaitable[Any]]) -> int:
    ends = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(end, dict | RateLimited) for end in ends), ends
    return sum(isinstance(end, RateLimited) for end in ends)


def positions(client: Any) -> Any:
    return client.call("get_positions", category="linear", symbol="BTCUSDT")


async def test_a_hundred_reads_at_once_are_never_refused_and_an_exit_s_read_goes_first(
    metered: Bench,
) -> None:
    """F3: standard settings and a hundred coins got whole machines barred."""
    reads = [asyncio.create_task(positions(metered.client)) for _ in range(100)]
    await asyncio.sleep(0.1)
    begun = time.monotonic()

    with urgent(Urgency.EXIT):
        await positions(metered.client)
    waited = time.monotonic() - begun
    left = sum(not read.done() for read in reads)

    assert await refused(reads) == 0
    assert waited < 0.3
    assert left > 50, "the reads were still in line when the exit's had its answer"


async def test_entries_in_line_hold_back_no_exit(metered: Bench) -> None:
    """F3: exits have a reserve."""
    await metered.order("BTCUSDT", "Buy", "0.010")
    buy = SELL | {"side": "Buy", "qty": "0.001"}
    entries = [
        asyncio.create_task(metered.client.call("place_order", **buy, orderLinkId=f"buy-{number}"))
        for number in range(30)
    ]
    await asyncio.sleep(0.5)
    waiting = sum(not entry.done() for entry in entries)
    begun = time.monotonic()

    for number in range(2):
        sell = SELL | {"qty": "0.001", "reduceOnly": True, "orderLinkId": f"sell-{number}"}
        await metered.client.call("place_order", **sell)

    assert waiting > 10
    assert time.monotonic() - begun < 0.3
    for entry in entries:
        entry.cancel()
    ends = await asyncio.gather(*entries, return_exceptions=True)
    assert all(isinstance(end, dict | asyncio.CancelledError) for end in ends), ends


async def test_more_exits_than_the_exchange_takes_go_at_its_pace_without_a_refusal(
    metered: Bench,
) -> None:
    await metered.order("BTCUSDT", "Buy", "0.020")
    begun = time.monotonic()

    order = SELL | {"qty": "0.001", "reduceOnly": True}
    exits = [
        metered.client.call("place_order", **order, orderLinkId=f"kill-1-{number}")
        for number in range(20)
    ]

    assert await refused(exits) == 0
    assert time.monotonic() - begun < 2.5


async def test_what_another_client_uses_of_the_same_budget_is_heard_of_and_left_to_it(
    metered: Bench,
) -> None:
    other = metered.make_client()
    with urgent(Urgency.EXIT):
        await asyncio.gather(*(positions(other) for _ in range(40)))

    own = [asyncio.create_task(positions(metered.client)) for _ in range(30)]
    await asyncio.sleep(0.4)
    soon = sum(task.done() for task in own)

    assert await refused(own) == 0
    assert soon <= 10, "the other has used forty of fifty"
    other.close()


async def test_two_processes_that_want_everything_share_it(metered: Bench) -> None:
    other = metered.make_client()
    calls = [positions(client) for client in (metered.client, other) for _ in range(60)]

    assert await refused(calls) <= 2
    other.close()


async def test_after_a_refusal_even_an_exit_waits_for_the_reset_and_no_longer(
    metered: Bench,
) -> None:
    await positions(metered.client)
    reset = int((time.time() + 0.4) * 1000)
    refusal = metered.faults.answers(
        10006, "Too many visits", **{"X-Bapi-Limit-Reset-Timestamp": str(reset)}
    )
    metered.line.spoil("get_positions", refusal)
    with pytest.raises(RateLimited) as caught:
        await positions(metered.client)
    assert caught.value.retry_after is not None
    assert 0.2 < caught.value.retry_after.total_seconds() <= 0.4
    begun = time.monotonic()

    with urgent(Urgency.EXIT):
        await positions(metered.client)

    assert 0.2 < time.monotonic() - begun < 0.6


async def test_a_busy_exchange_is_asked_less_but_for_exits(metered: Bench) -> None:
    await positions(metered.client)
    metered.line.spoil("get_positions", metered.faults.http_status(429))
    ends = await asyncio.gather(positions(metered.client), return_exceptions=True)
    assert isinstance(ends[0], Exception)
    begun = time.monotonic()

    with urgent(Urgency.EXIT):
        await positions(metered.client)
    exit_waited = time.monotonic() - begun
    await positions(metered.client)

    assert exit_waited < 0.3
    assert time.monotonic() - begun > 0.5 * budget.BUSY_PAUSE


async def test_a_barred_address_is_left_alone_at_once(metered: Bench) -> None:
    metered.line.spoil("get_positions", metered.faults.http_status(403))
    with pytest.raises(RateLimited):
        await positions(metered.client)
    sent = len(metered.line.calls)

    with pytest.raises(RateLimited, match="asked for a pause") as caught:
        await metered.client.call("get_kline", category="linear", symbol="BTCUSDT", interval="1")

    assert caught.value.retry_after is not None
    assert caught.value.retry_after.total_seconds() > 50
    assert len(metered.line.calls) == sent
