"""Faults of orders, over the wire: refused, accepted and ended, filled in part."""

from typing import Any

import pytest
from structlog.typing import EventDict

from tests.paper.conftest import Desk, eventually
from tests.paper.fault import LINK, put, struck


async def order_of(desk: Desk, link: str = LINK) -> dict[str, Any]:
    (row,) = await desk.rows("get_open_orders", symbol="BTCUSDT", orderLinkId=link)
    return row


async def test_an_order_is_refused_with_the_code_that_was_asked_for(
    desk: Desk, lines: list[EventDict]
) -> None:
    await put(desk, "{kind: rejected_order, code: 110012, text: not enough, when: {times: 1}}")

    assert await desk.refused_buy(orderLinkId=LINK) == (110012, "not enough")

    await desk.buy(orderLinkId=LINK)
    assert len(await desk.executions()) == 1
    (line,) = struck(lines)
    assert (line["kind"], line["order_link_id"]) == ("rejected_order", LINK)
    assert line["effect"] == "gets retCode 110012"


@pytest.mark.parametrize(("how", "status"), [("rejected", "Rejected"), ("cancelled", "Cancelled")])
async def test_an_accepted_order_may_end_at_once_on_the_stream(
    desk: Desk, how: str, status: str, lines: list[EventDict]
) -> None:
    stream = await desk.private()
    await put(desk, f"{{kind: rejected_order, how: {how}, reason: EC_ReachRiskPriceLimit}}")

    accepted = await desk.buy(orderLinkId=LINK)

    await eventually(lambda: any(r["orderStatus"] == status for r in stream.rows("order")))
    told = stream.rows("order")[-1]
    assert told["orderId"] == accepted["orderId"]
    assert told["rejectReason"] == "EC_ReachRiskPriceLimit"
    row = await order_of(desk)
    assert (row["orderStatus"], row["cumExecQty"], row["leavesQty"]) == (status, "0", "0")
    assert await desk.executions() == []
    assert (await desk.refused_buy(orderLinkId=LINK))[0] == 110072
    assert len(struck(lines)) == 2


async def test_one_order_of_a_batch_is_refused_alone(desk: Desk) -> None:
    await put(desk, "{kind: rejected_order, when: {order_link: tw-b}}")
    order = {"symbol": "BTCUSDT", "side": "Buy", "orderType": "Market", "qty": "0.1"}

    await desk.call(
        "place_batch_order", request=[order | {"orderLinkId": link} for link in ("tw-a", "tw-b")]
    )

    assert [e["orderLinkId"] for e in await desk.executions()] == ["tw-a"]


async def test_a_market_order_fills_in_part_and_then_nobody_speaks(
    desk: Desk, lines: list[EventDict]
) -> None:
    stream = await desk.private()
    await put(
        desk,
        "{kind: partial_fill, fraction: 0.25, silence_ms: 60000, when: {order_link: 'tw-*'}}",
    )

    await desk.buy(orderLinkId=LINK)
    await eventually(lambda: stream.rows("wallet"))
    await desk.buy(orderLinkId="other")
    await desk.paper.exchange.told()

    row = await order_of(desk)
    assert (row["orderStatus"], row["cumExecQty"]) == ("Cancelled", "0.025")
    assert row["rejectReason"] == "EC_NoImmediateQtyToFill"
    assert (await desk.position())["size"] == "0.125"
    assert [e["execQty"] for e in stream.rows("execution")] == ["0.025"]
    assert {r["orderLinkId"] for r in stream.rows("order")} == {LINK}
    assert {r["size"] for r in stream.rows("position")} == {"0.025"}
    (line,) = struck(lines)
    assert line["effect"] == "fills at most 0.25 of its quantity, then 60000 ms of silence"


async def test_a_limit_order_fills_in_part_and_its_rest_waits(desk: Desk) -> None:
    await put(desk, "{kind: partial_fill, silence_ms: 0}")

    await desk.limit("50100", orderLinkId=LINK)

    row = await order_of(desk)
    assert (row["orderStatus"], row["cumExecQty"], row["leavesQty"]) == (
        *("PartiallyFilled", "0.05", "0.05"),
    )
    await desk.call("cancel_order", symbol="BTCUSDT", orderLinkId=LINK)
    assert (await order_of(desk))["orderStatus"] == "Cancelled"
    assert (await desk.get("/paper/ledger"))["balanced"]


@pytest.mark.parametrize(("time_in_force", "filled"), [("IOC", "0.05"), ("FOK", "0")])
async def test_what_may_not_wait_ends_with_what_it_got(
    desk: Desk, time_in_force: str, filled: str
) -> None:
    await put(desk, "{kind: partial_fill, silence_ms: 0}")

    await desk.limit("50100", orderLinkId=LINK, timeInForce=time_in_force)

    row = await order_of(desk)
    assert (row["orderStatus"], row["cumExecQty"]) == ("Cancelled", filled)


async def test_the_rest_of_a_partial_fill_trades_when_the_market_comes_by(desk: Desk) -> None:
    await put(desk, "{kind: partial_fill, silence_ms: 0, when: {times: 1}}")
    await desk.limit("50020", orderLinkId=LINK)

    await desk.step(2)

    row = await order_of(desk)
    assert (row["orderStatus"], row["cumExecQty"]) == ("Filled", "0.1")
    assert (await desk.get("/paper/ledger"))["balanced"]


async def test_a_conditional_order_is_not_counted_as_filled_in_part(
    desk: Desk, lines: list[EventDict]
) -> None:
    await put(desk, "{kind: partial_fill}")

    await desk.buy(orderLinkId=LINK, triggerPrice="51000", triggerDirection=1)

    assert struck(lines) == []
    assert (await order_of(desk))["orderStatus"] == "Untriggered"
