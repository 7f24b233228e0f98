"""Several orders in one request: each succeeds or fails by itself."""

from collections.abc import Callable

from tradewright.matching import Order, RequestRejected
from tradewright.paper.call import Answer, Call, Row
from tradewright.paper.clock import ms
from tradewright.paper.rest import order
from tradewright.paper.rest.param import Params, invalid, text

_MOST = 20
_OVER_LIMIT = RequestRejected(10006, "Too many visits. Exceeded the API Rate Limit.")

Change = Callable[[Call, Params], Order]


def create(call: Call) -> Answer:
    return _each(call, order.placed, _created)


def amend(call: Call) -> Answer:
    return _each(call, order.amended, _known)


def cancel(call: Call) -> Answer:
    return _each(call, order.cancelled, _known)


def _each(call: Call, change: Change, row: Callable[[Params, Order | None], Row]) -> Answer:
    rows: list[Row] = []
    outcomes: list[Row] = []
    for params in _items(call):
        done, code, message = None, 0, "OK"
        try:
            if not call.spend():
                raise _OVER_LIMIT
            done = change(call, params)
        except RequestRejected as rejection:
            code, message = rejection.code, rejection.text
        rows.append(row(params, done))
        outcomes.append({"code": code, "msg": message})
    return Answer({"list": rows}, {"list": outcomes})


def _items(call: Call) -> list[Params]:
    items: list[Params] | None = call.params.get("request")
    if not items:
        raise invalid("request")
    if len(items) > _MOST:
        raise RequestRejected(10001, f"params error: request has more than {_MOST} orders")
    return items


def _known(params: Params, done: Order | None) -> Row:
    return {
        "category": "linear",
        "symbol": text(params, "symbol"),
        "orderId": done.order_id if done else text(params, "orderId"),
        "orderLinkId": done.link if done else text(params, "orderLinkId"),
    }


def _created(params: Params, done: Order | None) -> Row:
    row = _known(params, done)
    row["createAt"] = str(ms(done.created)) if done else ""
    return row
