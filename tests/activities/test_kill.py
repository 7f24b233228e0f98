"""The kill switch at the exchange: it goes on until nothing is left."""

import asyncio
import math
import threading
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from activities.bybit import THREADS
from activities.flattening import Links, slices
from activities.kill import BybitKillSwitch
from activities.urgency import Urgency, urgency_of
from tradewright import ids
from tradewright.domain.errors import TradewrightError
from tradewright.domain.gate import Gate, GateState
from tradewright.domain.market import Instrument
from tradewright.ports import GateWish, TradeOrder, TripOrder

TRIP = TripOrder(account="main", trip=3)


@pytest.fixture
def kill(bench: Any) -> BybitKillSwitch:
    return BybitKillSwitch(bench.client, bench.journal)


@pytest.fixture
async def crowd(bench: Any, make_plan: Any) -> None:
    """Three positions with their stops, two entries that wait, and a target by hand."""
    for symbol, side in (("BTCUSDT", "Buy"), ("ETHUSDT", "Sell"), ("SOLUSDT", "Buy")):
        await bench.run(
            bench.exchange.place_entry, TradeOrder(plan=make_plan(symbol=symbol, side=side))
        )
    low, high = f"{bench.price() // 2:f}", f"{bench.price() * 2:f}"
    await bench.order("BTCUSDT", "Buy", "0.1", orderType="Limit", price=low)
    await bench.order(
        "BTCUSDT", "Buy", "0.1", triggerPrice=high, triggerDirection=1, triggerBy="LastPrice"
    )
    await bench.order("BTCUSDT", "Sell", "0.01", orderType="Limit", price=high, reduceOnly=True)


@pytest.mark.usefixtures("crowd")
async def test_entries_are_cancelled_and_stops_stay(bench: Any, kill: BybitKillSwitch) -> None:
    before = {o.order_id for o in bench.open_orders() if o.reduce_only or o.stop.is_of_position}

    cancelled = await bench.run(kill.cancel_entries, TRIP)

    assert cancelled == 2
    assert {o.order_id for o in bench.open_orders()} == before
    assert len(before) == 7
    assert bench.line.count("cancel_all_orders") == 0


@pytest.mark.usefixtures("crowd")
async def test_every_position_is_closed_and_nothing_is_left(
    bench: Any, kill: BybitKillSwitch
) -> None:
    exposure = await bench.run(kill.flatten_all, TRIP)

    assert exposure.is_flat
    assert [bench.held(s) for s in ("BTCUSDT", "ETHUSDT", "SOLUSDT")] == [0, 0, 0]
    assert bench.open_orders() == []
    links = [sent["orderLinkId"] for sent in bench.line.sent("place_order")[-3:]]
    assert sorted(links) == [ids.kill_link(3, number) for number in (1, 2, 3)]
    assert all(sent["reduceOnly"] for sent in bench.line.sent("place_order")[-3:])


@pytest.mark.usefixtures("crowd")
async def test_the_flattening_goes_on_through_errors(bench: Any, kill: BybitKillSwitch) -> None:
    faults = bench.faults
    bench.line.spoil("get_positions", faults.http_status(502), faults.answers(10006))
    bench.line.spoil("place_order", faults.lost_answer, faults.lost_request, faults.answers(10016))
    bench.line.spoil("cancel_all_orders", faults.answers(10000))

    exposure = await bench.run(kill.flatten_all, TRIP)

    assert exposure.is_flat
    assert (bench.held(), bench.held("ETHUSDT"), bench.open_orders()) == (0, 0, [])


@pytest.mark.usefixtures("crowd")
async def test_an_attempt_begins_behind_the_links_of_the_one_before(
    bench: Any, kill: BybitKillSwitch
) -> None:
    await bench.run(kill.flatten_all, TRIP, details=(41,))
    await bench.order("BTCUSDT", "Buy", "0.02")
    # Its last heartbeat was lost: links that are taken are passed over, further each time
    exposure = await bench.run(kill.flatten_all, TRIP, details=(42,))

    sent = [s["orderLinkId"] for s in bench.line.sent("place_order") if "orderLinkId" in s]
    kill_links = [link for link in sent if ids.is_kill_link(link)]
    assert exposure.is_flat
    assert set(kill_links[:3]) == {ids.kill_link(3, n) for n in (41, 42, 43)}
    assert kill_links[3:] == [ids.kill_link(3, n) for n in (42, 44)]


@pytest.mark.usefixtures("crowd")
async def test_an_exposure_that_cannot_be_read_is_not_flat(
    bench: Any, kill: BybitKillSwitch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("activities.kill.ROUND", 0.2)
    bench.line.always["get_positions"] = bench.faults.http_status(502)

    with pytest.raises(TradewrightError):
        await bench.run(kill.flatten_all, TRIP)
    with pytest.raises(TradewrightError):
        await bench.run(kill.read_exposure, TRIP)


async def test_what_can_be_read_is_closed_although_another_row_cannot(
    bench: Any, make_plan: Any, kill: BybitKillSwitch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("activities.kill.ROUND", 1.0)
    await bench.run(bench.exchange.place_entry, TradeOrder(plan=make_plan()))
    low = f"{bench.price() // 2:f}"
    await bench.order("BTCUSDT", "Buy", "0.2", orderType="Limit", price=low)
    await bench.order("BTCUSDT", "Buy", "0.1", orderType="Limit", price=low)
    for method in ("get_positions", "get_open_orders"):
        bench.line.always[method] = bench.faults.with_an_unreadable_row

    cancelled = await bench.run(kill.cancel_entries, TRIP)
    exposure = await bench.run(kill.flatten_all, TRIP)

    assert (cancelled, bench.held()) == (2, 0)
    assert (exposure.positions, exposure.unreadable, exposure.orders) == ((), 1, 1)
    assert not exposure.is_flat
    # The stop of what cannot be read is among the orders
    assert bench.line.count("cancel_all_orders") == 0


@pytest.mark.usefixtures("crowd")
async def test_the_exposure_counts_positions_and_every_order(
    bench: Any, kill: BybitKillSwitch
) -> None:
    exposure = await bench.run(kill.read_exposure, TRIP)

    assert (len(exposure.positions), exposure.orders) == (3, len(bench.open_orders()))


async def test_the_journal_is_not_needed_to_flatten(bench: Any, kill: BybitKillSwitch) -> None:
    await bench.order("BTCUSDT", "Sell", "0.1")
    bench.journal.is_away = True

    with pytest.raises(TradewrightError):
        await bench.run(kill.read_gate, "main")
    exposure = await bench.run(kill.flatten_all, TRIP)

    assert (exposure.is_flat, bench.held()) == (True, 0)


async def test_the_gate_is_written_and_read(bench: Any, kill: BybitKillSwitch) -> None:
    assert (await bench.run(kill.read_gate, "main")).state is GateState.OPEN
    wish = Gate(account="main", state=GateState.HALTED, by="ann", at=datetime.now(UTC), trip=1)
    opened = wish.model_copy(update={"state": GateState.OPEN})

    await bench.run(kill.write_gate, GateWish(gate=wish))
    still = await bench.run(kill.write_gate, GateWish(gate=opened))
    rearmed = await bench.run(kill.write_gate, GateWish(gate=opened, rearm=True))

    assert (still.state, rearmed.state) == (GateState.HALTED, GateState.OPEN)
    assert await bench.run(kill.read_gate, "main") == rearmed


async def test_a_close_is_never_repeated_before_the_position_was_read_again(
    bench: Any, make_plan: Any, kill: BybitKillSwitch
) -> None:
    """C8: Before retrying a close, re-read position."""
    await bench.run(bench.exchange.place_entry, TradeOrder(plan=make_plan()))
    faults = bench.faults
    bench.line.calls.clear()
    bench.line.spoil(
        "place_order",
        *(faults.lost_answer, faults.answers(10006), faults.http_status(502)),
        *(faults.answers(110072), faults.lost_request, faults.answers(110007)),
    )
    bench.line.spoil("get_positions", *[show_first(bench)] * 6)

    exposure = await bench.run(kill.flatten_all, TRIP)

    assert (exposure.is_flat, bench.held()) == (True, 0)
    asked = [m for m, _ in bench.line.calls if m in {"get_positions", "place_order"}]
    sent = [n for n, method in enumerate(asked) if method == "place_order"]
    assert len(sent) >= 6
    assert all(asked[n - 1] == "get_positions" for n in sent)


def show_first(bench: Any) -> Any:
    """A read that lags: it shows the position as it was at first."""
    shown: list[Any] = []

    def fault(send: Any) -> Any:
        answer, elapsed, headers = send()
        rows = [row for row in answer["result"]["list"] if row["size"] not in {"", "0"}]
        shown[:] = shown or rows
        answer["result"]["list"] = list(shown)
        return answer, elapsed, headers

    return fault


async def test_a_close_that_hangs_holds_no_other_up(
    bench: Any, make_plan: Any, kill: BybitKillSwitch
) -> None:
    for symbol in ("BTCUSDT", "ETHUSDT"):
        await bench.run(bench.exchange.place_entry, TradeOrder(plan=make_plan(symbol=symbol)))
    let_go = threading.Event()

    def hang(send: Any) -> Any:
        let_go.wait(20)
        return send()

    # The other one is refused at first, so that it needs a second look
    bench.line.spoil("place_order", hang, bench.faults.answers(10016))
    flattening = asyncio.create_task(bench.run(kill.flatten_all, TRIP))
    async with asyncio.timeout(15):
        while bench.held() and bench.held("ETHUSDT"):  # noqa: ASYNC110 the exchange tells nobody
            await asyncio.sleep(0.02)
    one_is_closed = not flattening.done()
    let_go.set()

    assert one_is_closed
    assert (await flattening).is_flat


async def test_a_position_above_the_largest_market_order_is_sliced(
    bench: Any, kill: BybitKillSwitch
) -> None:
    instrument = await bench.client.instrument("BTCUSDT")
    small = instrument.model_copy(update={"max_market_qty": Decimal("0.03")})
    bench.client.instrument = AlwaysOf(small)
    await bench.order("BTCUSDT", "Buy", "0.1")

    exposure = await bench.run(kill.flatten_all, TRIP)

    qtys = [Decimal(s["qty"]) for s in bench.line.sent("place_order") if s.get("reduceOnly")]
    assert exposure.is_flat
    assert sum(qtys) == Decimal("0.1")
    assert max(qtys) <= Decimal("0.03")
    assert len(qtys) == 4


class AlwaysOf:
    """Answers with one instrument, whatever the symbol."""

    def __init__(self, instrument: Any) -> None:
        self._instrument = instrument

    async def __call__(self, symbol: str) -> Any:
        return self._instrument


@given(
    qty=st.integers(1, 10**7).map(lambda n: Decimal(n) / 1000),
    largest=st.integers(1, 10**6).map(lambda n: Decimal(n) / 1000),
)
def test_slices_add_up_and_none_is_too_large(qty: Decimal, largest: Decimal) -> None:
    instrument = Instrument(
        symbol="BTCUSDT",
        base_coin="BTC",
        tick_size=Decimal("0.1"),
        qty_step=Decimal("0.001"),
        min_qty=Decimal("0.001"),
        max_qty=Decimal(1000),
        max_market_qty=largest,
    )
    assume(qty / largest < 2000)

    found = slices(qty, instrument)

    assert sum(found) == qty
    assert all(0 < one <= largest for one in found)
    assert len(found) == math.ceil(qty / largest)
    assert all(one % instrument.qty_step == 0 for one in found)


def test_links_are_reserved_before_they_are_used_and_leap_over_what_is_taken() -> None:
    reserved: list[int] = []
    links = Links(str, 5, reserved.append)

    taken = [links.take(), links.take()]
    links.leap()
    links.leap()

    assert taken == ["5", "6"]
    assert len(reserved) == 1
    assert reserved[0] > 6
    assert links.take() == "10"


async def test_no_request_of_a_trip_waits_behind_less_urgent_ones(
    bench: Any, kill: BybitKillSwitch, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bench.order("BTCUSDT", "Sell", "0.1")
    seen: set[Urgency] = set()
    call = bench.client.call

    async def listening(method: str, **arguments: Any) -> Any:
        seen.add(urgency_of(method, arguments))
        return await call(method, **arguments)

    monkeypatch.setattr(bench.client, "call", listening)

    await bench.run(kill.cancel_entries, TRIP)
    await bench.run(kill.flatten_all, TRIP)
    await bench.run(kill.read_exposure, TRIP)

    assert seen == {Urgency.EXIT}


@pytest.mark.usefixtures("crowd")
async def test_one_entry_that_cannot_be_cancelled_holds_up_no_other(
    bench: Any, kill: BybitKillSwitch
) -> None:
    entries = [
        o.order_id for o in bench.open_orders() if not (o.reduce_only or o.stop.is_of_position)
    ]
    stubborn, _ = entries

    def refuse(send: Any) -> Any:
        if send.keywords.get("orderId") == stubborn:
            return bench.faults.answers(10016)(send)
        return send()

    bench.line.always["cancel_order"] = refuse

    cancelled = await bench.run(kill.cancel_entries, TRIP)

    assert cancelled == 1
    assert (await bench.run(kill.flatten_all, TRIP)).is_flat


@pytest.mark.usefixtures("crowd")
async def test_rules_that_cannot_be_read_hold_no_close_up(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that has just begun knows no rules, and the endpoint that tells them hangs."""
    monkeypatch.setitem(THREADS, Urgency.EXIT, 2)
    let_go = threading.Event()
    bench.line.always["get_instruments_info"] = lambda send: let_go.wait(30) and send()
    fresh = BybitKillSwitch(bench.make_client(), bench.journal)
    bench.line.calls.clear()

    try:
        async with asyncio.timeout(8):
            exposure = await bench.run(fresh.flatten_all, TRIP)
    finally:
        let_go.set()

    assert exposure.is_flat
    assert bench.line.count("get_instruments_info") == 2
