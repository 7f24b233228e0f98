"""Linear contracts are what is traded here; the other categories are there, but empty."""

from collections.abc import Callable

from tradewright.matching import RequestRejected
from tradewright.paper.call import Answer, Call, Handler, Row

LINEAR = "linear"
_EMPTY = ("spot", "inverse", "option")


def listed(*, required: bool = True) -> Callable[[Handler], Handler]:
    """Answer with an empty list for a category in which nothing is traded."""

    def of(handler: Handler) -> Handler:
        def answer(call: Call) -> Row | Answer:
            category = category_of(call, required=required)
            if category in _EMPTY:
                return {"category": category, "list": [], "nextPageCursor": ""}
            return handler(call)

        return answer

    return of


def traded(handler: Handler) -> Handler:
    """Refuse a change in a category in which nothing is traded."""

    def answer(call: Call) -> Row | Answer:
        category = category_of(call, required=True)
        if category == "spot":
            raise RequestRejected(170121, "Invalid symbol.")
        if category != LINEAR:
            raise RequestRejected(10001, "params error: symbol invalid")
        return handler(call)

    return answer


def category_of(call: Call, *, required: bool) -> str:
    category = call.params.get("category")
    if category is None and not required:
        return LINEAR
    if category != LINEAR and category not in _EMPTY:
        raise RequestRejected(10001, "Illegal category")
    return str(category)
