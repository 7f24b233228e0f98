"""What the exchange's lists show of orders, and the stream has not told; the lists are scripted."""

from typing import Any

from activities.silence import Orders
from tradewright.domain.errors import OrderRejected


class ScriptedOrders:
    """Lists *working*, and how others have ended; what is *unreadable* is refused."""

    def __init__(self, *working: str) -> None:
        self.working = list(working)
        self.ended: list[str] = []
        self.unreadable: set[str] = set()

    async def call(self, method: str, **arguments: Any) -> dict[str, Any]:
        assert "symbol" in arguments or "settleCoin" in arguments
        order_id = arguments.get("orderId")
        if order_id in self.unreadable:
            raise OrderRejected(method, 10001, "no")
        found = self.working if method == "get_open_orders" else self.ended
        status = "New" if method == "get_open_orders" else "Cancelled"
        rows = [
            {"orderId": one, "orderStatus": status, "updatedTime": "1"}
            for one in found
            if order_id in (None, one)
        ]
        return {"result": {"list": rows, "nextPageCursor": ""}}


async def test_an_order_that_cannot_be_read_keeps_no_other_from_being_missed() -> None:
    source = ScriptedOrders("a", "b")
    orders = Orders(source)
    await orders.begin()
    source.working, source.ended, source.unreadable = [], ["a", "b"], {"a"}

    with_one_unreadable = await orders.untold()
    source.unreadable.clear()
    asked_again = await orders.untold()

    assert (with_one_unreadable, asked_again) == (["b"], ["a"])
