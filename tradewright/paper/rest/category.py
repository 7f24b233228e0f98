"""Linear contracts are what is traded here; the other categories are there, but empty."""

from tradewright.matching import RequestRejected
from tradewright.paper.call import Answer, Call, Handler, Row

LINEAR = "linear"
_EMPTY = ("spot", "inverse", "option")


def listed(handler: Handler) -> Handler:
    """Answer with an empty list for a category in which nothing is traded."""
    return _listed(handler, required=True)


def listed_by_default(handler: Handler) -> Handler:
    """Answer so, too, where the category may be left out."""
    return _listed(handler, required=False)


def _listed(handler: Handler, *, required: bool) -> Handler:
    def answer(call: Call) -> Row | Answer:
        category = category_of(call, required=required)
        if category in _EMPTY:
            return {"category": category, "list": [], "nextPageCursor": ""}
        return handler(call)

    return answer


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


def cleared(handler: Handler) -> Handler:
    """Answer that all orders are cancelled for a category in which there are none."""

    def answer(call: Call) -> Row | Answer:
        if category_of(call, required=True) in _EMPTY:
            return {"list": [], "success": "1"}
        return handler(call)

    return answer


def category_of(call: Call, *, required: bool) -> str:
    category = call.params.get("category")
    if category is None and not required:
        return LINEAR
    if category != LINEAR and category not in _EMPTY:
        raise RequestRejected(10001, "Illegal category")
    return str(category)
