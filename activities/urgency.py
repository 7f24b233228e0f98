"""How urgent a request to the exchange is: what leaves the market goes before what enters it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from enum import IntEnum
from typing import Any, Final


class Urgency(IntEnum):
    """Who goes first when the budget is short; the smaller, the more urgent."""

    EXIT = 0
    """Leaves the market or takes an order back; nothing of ours ever holds it up."""
    STOP = 1
    """Protects what is held."""
    ENTRY = 2
    READ = 3


_PREFIXES: Final = (
    ("cancel_", Urgency.EXIT),
    ("set_trading_stop", Urgency.STOP),
    ("amend_", Urgency.STOP),
    ("get_", Urgency.READ),
)
_current: ContextVar[Urgency] = ContextVar("urgency", default=Urgency.READ)


@contextmanager
def urgent(urgency: Urgency) -> Iterator[None]:
    """Let every request made inside be at least so urgent.

    Example:
        >>> with urgent(Urgency.EXIT), urgent(Urgency.STOP):
        ...     urgency_of("get_positions", {})
        <Urgency.EXIT: 0>
    """
    token = _current.set(min(urgency, _current.get()))
    try:
        yield
    finally:
        _current.reset(token)


def current_urgency() -> Urgency:
    """Return what `urgent` says here; READ outside."""
    return _current.get()


def urgency_of(method: str, arguments: Mapping[str, Any]) -> Urgency:
    """Return how urgent a call of pybit's *method* is, by itself or by what it is made for.

    Example:
        >>> urgency_of("place_order", {"reduceOnly": True}), urgency_of("place_order", {})
        (<Urgency.EXIT: 0>, <Urgency.ENTRY: 2>)
    """
    return min(_derived(method, arguments), _current.get())


def _derived(method: str, arguments: Mapping[str, Any]) -> Urgency:
    for prefix, urgency in _PREFIXES:
        if method.startswith(prefix):
            return urgency
    orders = arguments.get("request", [arguments])
    reduces = all(o.get("reduceOnly") or o.get("closeOnTrigger") for o in orders)
    return Urgency.EXIT if orders and reduces else Urgency.ENTRY
