"""Parameters of a request, in the types that the engine wants."""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Any, TypeVar

from tradewright.matching import Market, RequestRejected

Params = Mapping[str, Any]
E = TypeVar("E", bound=StrEnum)

_TRIGGERS = ("LastPrice", "MarkPrice", "IndexPrice")
_DIGITS = 20
_WHOLE_DIGITS = 16
"""Of times and counts; what they become in SQL must fit 64 bits."""


def invalid(name: str) -> RequestRejected:
    return RequestRejected(10001, f"params error: {name} invalid")


def text(params: Params, name: str) -> str:
    value = params.get(name)
    return "" if value is None else str(value)


def needed(params: Params, name: str) -> str:
    value = text(params, name)
    if not value:
        raise RequestRejected(10001, f"params error: {name} is required")
    return value


def flag(params: Params, name: str) -> bool:
    return params.get(name) in (True, "true", "True")


def choice(params: Params, name: str, kind: type[E], default: E | None = None) -> E:
    if default is not None and name not in params:
        return default
    value = text(params, name)
    if not value and default is not None:
        return default
    try:
        return kind(value)
    except ValueError:
        raise invalid(name) from None


def trigger(params: Params, name: str) -> str | None:
    if name not in params:
        return None
    value = text(params, name)
    if value and value not in _TRIGGERS:
        raise invalid(name)
    return value or None


def number(params: Params, name: str) -> int | None:
    """Return the whole number of parameter *name*; None if it is absent or empty."""
    value = text(params, name)
    if not value:
        return None
    if len(value) > _WHOLE_DIGITS:
        raise invalid(name)
    try:
        return int(value)
    except ValueError:
        raise invalid(name) from None


def decimal(params: Params, name: str, *, signed: bool = False) -> Decimal | None:
    """Return a number; None if it is absent or empty. Negative ones only if *signed*."""
    if name not in params:
        return None
    value = text(params, name)
    if not value:
        return None
    try:
        parsed = Decimal(value)
    except InvalidOperation:
        raise invalid(name) from None
    if not parsed.is_finite() or (parsed < 0 and not signed):
        raise invalid(name)
    # No price or quantity has so many digits, and arithmetic on exponents like these fails
    if abs(parsed.adjusted()) > _DIGITS or len(parsed.as_tuple().digits) > 2 * _DIGITS:
        raise invalid(name)
    return parsed


def one_way(params: Params) -> None:
    if number(params, "positionIdx") not in (None, 0):
        raise RequestRejected(10001, "position idx not match position mode")


def symbol_of(markets: Mapping[str, Market], params: Params) -> str:
    symbol = text(params, "symbol")
    if symbol not in markets:
        raise RequestRejected(10001, "params error: symbol invalid")
    return symbol


def symbols_of(
    markets: Mapping[str, Market], params: Params, *, needs: str = ""
) -> frozenset[str] | None:
    """Return the symbols that symbol, base coin or settle coin name, in that priority.

    None stands for all of them; *needs* says what the client is told if it names nothing.
    """
    if text(params, "symbol"):
        return frozenset((symbol_of(markets, params),))
    if coin := text(params, "baseCoin"):
        return frozenset(s for s, m in markets.items() if m.instrument.base_coin == coin)
    if coin := text(params, "settleCoin"):
        # All that is traded here settles in one coin
        return None if coin == "USDT" else frozenset()
    if needs:
        raise RequestRejected(10001, f"Missing some parameters that must be filled in, {needs}")
    return None
