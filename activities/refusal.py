"""What Bybit's answers mean: which fact of the domain each failure is, and what may follow it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum, auto
from typing import Any

from pybit.exceptions import FailedRequestError, InvalidRequestError
from requests import ConnectionError as ConnectionFailed
from requests import ConnectTimeout, RequestException
from urllib3.exceptions import NewConnectionError

from tradewright.domain.errors import (
    ClockSkewed,
    ExchangeUnreachable,
    KeyRefused,
    OrderRejected,
    OutcomeUnknown,
    RateLimited,
    TradewrightError,
)

LONGEST_RESET = timedelta(seconds=1)
"""A limit is over a rolling second."""
SHORTEST_RESET = timedelta(milliseconds=50)

# retCodes, sorted by what may follow them
UNSURE = frozenset({429, 10000, 10014, 10016, 10019, 10403, 10429, 40004})
TOO_SOON = frozenset({10006, 10018, 20003, 110063, 110079})
OUT_OF_TIME = frozenset({-1, 10002})
# Of these, what is about how often one asks
TOO_MANY = frozenset({10006, 10018, 20003})
BUSY = frozenset({429, 10403, 10429})

_SERVER_CLOCK = re.compile(r"server_timestamp\[(\d{13})\]")
_WRITE_KEY = "write a valid key for this venue to Vault"
_PERMIT = "permit contract orders and positions for the key at Bybit"
_BANNED = "ask Bybit's support, the account may not trade"
KEY_REMEDIES: Mapping[int, str] = {
    401: _WRITE_KEY,
    10003: _WRITE_KEY,
    10004: f"the secret does not belong to the key, {_WRITE_KEY}",
    10005: _PERMIT,
    10007: _WRITE_KEY,
    10008: _BANNED,
    10009: _BANNED,
    10010: "add this machine's address to the key at Bybit",
    10024: _BANNED,
    10027: _BANNED,
    10028: "upgrade the account to a unified one",
    10029: "add the symbol to the key's whitelist at Bybit",
    33004: f"the key has expired, {_WRITE_KEY}",
    -2015: f"the key has expired, {_WRITE_KEY}",
    100028: "use a key of a unified account",
    110018: _BANNED,
    110132: _BANNED,
}


class Sign(Enum):
    """What a failure says of the exchange, beside what it says of the request."""

    ANSWERED = auto()
    """It is well: it said no."""
    TOO_MANY = auto()
    BUSY = auto()
    """It wants to be asked less, and does not say how much less."""
    BARRED = auto()
    """This machine's address is kept out."""
    DOWN = auto()


@dataclass(frozen=True)
class Failure:
    error: TradewrightError
    sign: Sign
    detail: str
    headers: Mapping[str, str] | None = None
    """None when nothing was answered."""
    server_ms: int | None = None
    """The exchange's clock, where it tells."""


def request_name(method: str, arguments: Mapping[str, Any]) -> str:
    names = (arguments.get(name) for name in ("orderLinkId", "orderId", "symbol"))
    return " ".join([method, *(str(name) for name in names if name)][:2])


def refusal(
    method: str,
    arguments: Mapping[str, Any],
    error: FailedRequestError | InvalidRequestError,
    text: str,
) -> Failure:
    """Return what an answer means that pybit does not take for a success."""
    headers: Mapping[str, str] = error.resp_headers or {}
    request, code = request_name(method, arguments), int(error.status_code)
    if isinstance(error, FailedRequestError) and code != 401:
        # An HTTP status, or pybit's own 409 for a body that is no JSON
        detail = f"{text} (HTTP {code})"
        if code == 403:
            return Failure(RateLimited(request, detail, LONGEST_RESET), Sign.BARRED, detail)
        if code in {400, 404}:
            return Failure(OrderRejected(request, code, text), Sign.ANSWERED, detail, headers)
        sign = Sign.BUSY if code in BUSY else Sign.DOWN
        return Failure(_unsure(method, arguments, detail), sign, detail, headers)
    detail = f"{text!r} (retCode {code})"
    if code in KEY_REMEDIES:
        known = KeyRefused(request, code, text, KEY_REMEDIES[code])
        return Failure(known, Sign.ANSWERED, detail, headers)
    if code in TOO_SOON:
        sign = Sign.TOO_MANY if code in TOO_MANY else Sign.ANSWERED
        return Failure(RateLimited(request, detail, until_reset(headers)), sign, detail, headers)
    if code in OUT_OF_TIME:
        said = _SERVER_CLOCK.search(text)
        clock = int(said[1]) if said else None
        return Failure(ClockSkewed(request, text), Sign.ANSWERED, detail, headers, clock)
    if code in UNSURE:
        sign = Sign.BUSY if code in BUSY else Sign.DOWN
        return Failure(_unsure(method, arguments, detail), sign, detail, headers)
    return Failure(OrderRejected(request, code, text), Sign.ANSWERED, detail, headers)


def silence(method: str, arguments: Mapping[str, Any], error: RequestException) -> Failure:
    """Return what it means that no answer came."""
    detail = type(error).__name__
    if isinstance(error, ConnectTimeout) or _was_refused(error):
        detail = f"{detail}, no connection"
        unsent = ExchangeUnreachable(request_name(method, arguments), detail)
        return Failure(unsent, Sign.DOWN, detail)
    return Failure(_unsure(method, arguments, detail), Sign.DOWN, detail)


def gibberish(method: str, arguments: Mapping[str, Any], detail: str) -> Failure:
    """Return what an answer means that is none of Bybit's."""
    return Failure(_unsure(method, arguments, detail), Sign.DOWN, detail)


def until_reset(headers: Mapping[str, str], skew: timedelta | None = None) -> timedelta:
    """Return how long the exchange asks to wait, by its own clock, *skew* ahead of ours."""
    try:
        reset = int(headers["X-Bapi-Limit-Reset-Timestamp"]) / 1000
    except (KeyError, ValueError):
        return LONGEST_RESET
    now = datetime.now(UTC) + (skew or timedelta())
    pause = timedelta(seconds=reset - now.timestamp())
    return min(max(pause, SHORTEST_RESET), LONGEST_RESET)


def _unsure(method: str, arguments: Mapping[str, Any], detail: str) -> TradewrightError:
    request = request_name(method, arguments)
    if method.startswith("get_"):
        return ExchangeUnreachable(request, detail)
    return OutcomeUnknown(request, detail)


def _was_refused(error: RequestException) -> bool:
    """Return whether there never was a connection, so that surely nothing was sent."""
    cause = error.args[0] if error.args else None
    return isinstance(error, ConnectionFailed) and isinstance(
        getattr(cause, "reason", None), NewConnectionError
    )
