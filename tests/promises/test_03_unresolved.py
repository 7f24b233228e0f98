"""No time-out decides an order's outcome: only the exchange's own answer does."""

from typing import Any

import pytest

from tests.system.live_system import LiveSystem, TradeHandle, until
from tradewright import ids
from tradewright.domain.account import RefusalCode
from tradewright.domain.plan import TradePlan
from tradewright.domain.trade import TradeState

pytestmark = pytest.mark.timeout(300)


def entry_link(plan: TradePlan) -> str:
    return ids.order_link(plan.trade_id, "e", 1)


async def attempts(handle: TradeHandle) -> int:
    """Return at which attempt the workflow's pending entry is."""
    found = (await handle.describe()).raw_description.pending_activities
    return max((a.attempt for a in found if a.activity_type.name == "place_entry"), default=0)


async def tried(handle: TradeHandle, times: int) -> None:
    async def is_so() -> bool:
        return await attempts(handle) >= times

    await until(is_so)


SURFACES = ("/v5/order/realtime", "/v5/order/history", "/v5/execution/list")


async def blind(live: LiveSystem, symbol: str) -> None:
    """Let every read that may show an order of *symbol* fail."""
    for number, endpoint in enumerate(SURFACES):
        when = {"endpoint": endpoint, "symbol": symbol}
        await live.fault("http_error", f"{symbol.lower()}-{number}", when=when)


async def see(live: LiveSystem, symbol: str) -> None:
    for number in range(len(SURFACES)):
        await live.mend(f"{symbol.lower()}-{number}")


async def test_an_unresolved_entry_keeps_asking_and_blocks_its_symbol(live: LiveSystem) -> None:
    """A1, A4: accepted, unanswered and not to be looked up, it is not given up, nor stacked."""
    plan = await live.approved("BTCUSDT")
    link = entry_link(plan)
    await blind(live, "BTCUSDT")
    await live.fault("reset", link, when={"order_link": link, "times": 1})

    handle = await live.start(plan)
    await tried(handle, 4)

    view = await live.view(handle)
    assert (view.trade.state, view.trade.rejection) == (TradeState.ENTERING, "")
    refused = await live.refused("BTCUSDT")
    assert refused.code in {RefusalCode.SYMBOL_TAKEN, RefusalCode.SYMBOL_UNRESOLVED}
    assert len(await live.orders_with(plan.trade_id)) == 1

    await see(live, "BTCUSDT")
    trade = await live.is_open(handle)
    assert [o["orderLinkId"] for o in await live.orders_with(plan.trade_id)] == [link]
    trade = await live.leave(handle)
    assert await live.differences(trade) == []


async def test_an_unresolved_exit_keeps_asking_until_the_exchange_says_flat(
    live: LiveSystem,
) -> None:
    """A3: a close that was not answered is neither failed nor done."""
    handle = await live.open("ETHUSDT")
    out = ids.order_link(handle.id.rpartition("/")[2], "x", 2)
    await live.fault("reset", out, when={"order_link": out, "times": 1})
    when = {"endpoint": "/v5/order/realtime", "symbol": "ETHUSDT"}
    await live.fault("malformed_json", "eth", body="cut", when=when)

    await handle.signal("exit", {"note": "enough", "by": "ann"})
    await live.struck("eth", times=3)
    assert not (await live.view(handle)).trade.is_final
    await live.mend("eth")
    trade = await live.ended(handle)

    assert trade.state is TradeState.CLOSED
    exits = [o for o in await live.orders("ETHUSDT") if o["orderLinkId"].startswith(out[:-1])]
    assert [o["orderLinkId"] for o in exits] == [out]
    assert await live.differences(trade) == []


@pytest.mark.parametrize("symbol", ["SOLUSDT", "XRPUSDT"])
async def test_the_exchanges_own_word_rejects_an_entry_and_nothing_else_does(
    live: LiveSystem, symbol: str
) -> None:
    """A3: refused in its answer, or taken and ended at once, though nobody heard that."""
    plan = await live.approved(symbol)
    link = entry_link(plan)
    if symbol == "SOLUSDT":
        await live.fault("rejected_order", symbol.lower(), how="answer", when={"order_link": link})
    else:
        await live.fault(
            "rejected_order", symbol.lower(), how="rejected", when={"order_link": link}
        )
        await live.fault("reset", link, when={"order_link": link, "times": 1})

    trade = await live.ended(await live.start(plan))

    assert trade.state is TradeState.REJECTED
    expected = "bybit_110007: " if symbol == "SOLUSDT" else "bybit_rejected: EC_Others"
    assert trade.rejection.startswith(expected)
    assert await live.position(symbol) is None
    assert isinstance(await live.approved(symbol), TradePlan)


async def test_a_gate_that_closes_meanwhile_does_not_decide_what_became_of_an_entry(
    live: LiveSystem,
) -> None:
    """A3: the gate has closed meanwhile; whether the order is there, the exchange says."""
    plan = await live.approved("DOGEUSDT")
    link = entry_link(plan)
    await blind(live, "DOGEUSDT")
    await live.fault("reset", link, when={"order_link": link, "times": 1})
    handle = await live.start(plan)
    await tried(handle, 2)
    closed = await live.command("safe-mode", "on", "--reason", "a test", "--by", "ann")
    assert closed.code == 0, closed.err
    try:
        await tried(handle, 3)
        assert (await live.view(handle)).trade.state is TradeState.ENTERING
        await see(live, "DOGEUSDT")
        trade = await live.is_open(handle)
    finally:
        opened = await live.command("safe-mode", "off", "--by", "ann")
        assert opened.code == 0, opened.err

    assert trade.rejection == ""
    trade = await live.leave(handle)
    assert await live.differences(trade) == []


async def test_an_order_is_looked_for_wherever_the_exchange_may_show_it(live: LiveSystem) -> None:
    """A5: an exchange that was restarted shows what ended before in its history alone."""
    plan = await live.approved("ADAUSDT")
    link = entry_link(plan)
    await live.stall(link)
    handle = await live.start(plan)
    await live.struck(link)

    await live.kill_and_restart("paper-exchange")
    trade = await live.is_open(handle)

    assert [o["orderLinkId"] for o in await live.orders_with(plan.trade_id)] == [link]
    assert trade.entry_qty == plan.qty
    trade = await live.leave(handle)
    assert await live.differences(trade) == []


@pytest.mark.parametrize(("symbol", "ms"), [("AVAXUSDT", 3500), ("BNBUSDT", -3500)])
async def test_a_clock_that_is_off_never_makes_two_orders_of_one(
    live: LiveSystem, symbol: str, ms: int
) -> None:
    """F1: a request from another time is not carried out, and is the same one later."""
    plan = await live.approved(symbol)
    link = entry_link(plan)
    await live.fault("reset", link, when={"order_link": link, "times": 1})
    await live.fault("clock_skew", "skew", ms=ms)

    handle = await live.start(plan)
    await live.struck("skew", times=8)
    await live.mend("skew")
    trade = await live.is_open(handle)

    assert [o["orderLinkId"] for o in await live.orders_with(plan.trade_id)] == [link]
    assert trade.entry_qty == plan.qty
    trade = await live.leave(handle)
    assert await live.differences(trade) == []


async def test_words_of_the_stream_reach_a_trade_whose_reads_fail(live: LiveSystem) -> None:
    """A1: the fill is heard of while nothing can be asked, and is not doubted later."""
    plan: Any = await live.approved("LINKUSDT")
    await blind(live, "LINKUSDT")

    handle = await live.start(plan)

    async def is_filled() -> bool:
        trade = (await live.view(handle)).trade
        return trade.state is TradeState.OPEN and trade.entry_qty == plan.qty

    await until(is_filled)
    await see(live, "LINKUSDT")
    await live.is_open(handle)
    trade = await live.leave(handle)
    assert await live.differences(trade) == []
