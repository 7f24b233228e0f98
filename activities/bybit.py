"""Bybit's REST interface, through pybit: every answer becomes a value or a fact of the domain."""

import asyncio
import functools
import json
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

import structlog
from pybit.exceptions import FailedRequestError, InvalidRequestError
from pybit.unified_trading import HTTP
from requests import ConnectionError as ConnectionFailed
from requests import ConnectTimeout, RequestException
from urllib3.exceptions import NewConnectionError

from activities import parse
from activities.secrets import LOOPBACK, ExchangeKey
from tradewright.domain.errors import (
    ClockSkewed,
    ExchangeUnreachable,
    KeyRefused,
    OrderRejected,
    OutcomeUnknown,
    RateLimited,
    SymbolUnknown,
    TradewrightError,
)
from tradewright.domain.market import Instrument
from tradewright.telemetry.redaction import MASK

log = structlog.get_logger(__name__)

LINEAR: Final = "linear"
SETTLE_COIN: Final = "USDT"
THREADS = 16
INSTRUMENT_MAX_AGE = 3600.0
SHORT_PAUSE = timedelta(seconds=1)
BAN_PAUSE = timedelta(minutes=1)
"""After HTTP 403: Bybit wants ten minutes of silence, an exit cannot wait so long."""

PUBLIC = frozenset(
    {
        *("get_server_time", "get_instruments_info", "get_kline", "get_mark_price_kline"),
        *("get_tickers", "get_orderbook", "get_funding_rate_history", "get_risk_limit"),
        *("get_public_trade_history", "get_price_limit"),
    }
)
"""Methods that are sent without a key."""

# retCodes, sorted by what may follow them
UNSURE = frozenset({429, 10000, 10014, 10016, 10019, 10403, 10429, 40004})
TOO_SOON = frozenset({10006, 10018, 20003, 110063, 110079})
OUT_OF_TIME = frozenset({-1, 10002})

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


class KeySource(Protocol):
    async def exchange_key(self) -> ExchangeKey: ...


SessionFactory = Callable[[ExchangeKey | None], Any]
"""Makes what answers pybit's methods, with headers; without a key only the public ones."""


class BybitClient:
    """Calls pybit in threads of its own; retries are Temporal's alone.

    The key is read when it is first needed and again when the exchange refuses it, so that a
    Vault that is away or slow never stands between an exit and the exchange.
    """

    def __init__(
        self,
        rest_url: str,
        keys: KeySource,
        recv_window_ms: int = 5000,
        timeout_s: float = 10,
        session_factory: SessionFactory | None = None,
    ) -> None:
        self.recv_window = timedelta(milliseconds=recv_window_ms)
        self._keys = keys
        self._sessions = session_factory or functools.partial(
            http_session, rest_url, recv_window_ms=recv_window_ms, timeout_s=timeout_s
        )
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="bybit")
        self._local = threading.local()
        self._opened: list[Any] = []
        self._key: ExchangeKey | None = None
        self._turn = asyncio.Lock()
        self._resume: dict[str, float] = {}
        self._instruments: dict[str, tuple[float, Instrument]] = {}

    async def call(self, method: str, **arguments: Any) -> dict[str, Any]:
        """Call pybit's *method* and return Bybit's whole answer, its retCode being 0.

        Raises:
            OutcomeUnknown: A write may or may not have been carried out.
            ExchangeUnreachable: Nothing was sent, or a read was not answered.
            RateLimited: Not carried out; the pause is in `retry_after`.
            ClockSkewed: Not carried out.
            KeyRefused: Not carried out; says what to do about the key.
            OrderRejected: Any other retCode.
        """
        key = None if method in PUBLIC else self._key or await self._renewed_key(None)
        try:
            return await self._attempt(method, key, arguments)
        except KeyRefused as refused:
            fresh = await self._renewed_key(key)
            if key is None or fresh == key:
                raise
            log.info("exchange_key_renewed", after=str(refused))
            return await self._attempt(method, fresh, arguments)

    async def instrument(self, symbol: str) -> Instrument:
        """Return the trading rules of *symbol*, at most an hour old.

        Raises:
            SymbolUnknown: Bybit does not list it.
        """
        read_at, known = self._instruments.get(symbol, (0.0, None))
        if known is not None and time.monotonic() - read_at < INSTRUMENT_MAX_AGE:
            return known
        try:
            answer = await self.call("get_instruments_info", category=LINEAR, symbol=symbol)
        except OrderRejected:
            raise SymbolUnknown(symbol) from None
        rows = parse.rows("get_instruments_info", answer)
        if not rows:
            raise SymbolUnknown(symbol)
        instrument = parse.instrument(rows[0])
        self._instruments[symbol] = (time.monotonic(), instrument)
        return instrument

    def close(self) -> None:
        """Give threads and connections back; what is under way ends unanswered."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        for session in self._opened:
            # pybit has no way to close; the session of requests is its `client`
            session.client.close()

    async def _renewed_key(self, refused: ExchangeKey | None) -> ExchangeKey:
        async with self._turn:
            if self._key is None or self._key == refused:
                self._key = await self._keys.exchange_key()
            return self._key

    async def _attempt(
        self, method: str, key: ExchangeKey | None, arguments: Mapping[str, Any]
    ) -> dict[str, Any]:
        pause = self._resume.get(method, 0.0) - time.monotonic()
        if pause > 0:
            await asyncio.sleep(pause)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._send, method, key, dict(arguments))

    def _send(
        self, method: str, key: ExchangeKey | None, arguments: dict[str, Any]
    ) -> dict[str, Any]:
        known, session = getattr(self._local, "session", (None, None))
        if session is None or (key is not None and known != key):
            session = self._sessions(key)
            self._local.session = (key, session)
            self._opened.append(session)
        # pybit writes into what it is given
        try:
            answer, _, headers = getattr(session, method)(**arguments)
        except (FailedRequestError, InvalidRequestError) as e:
            self._heed(method, e.resp_headers or {})
            # Bybit repeats the key when it does not like the signature
            text = (
                str(e.message).replace(key.api_key.get_secret_value(), MASK) if key else e.message
            )
            raise _refusal(method, arguments, e, str(text)) from None
        except RequestException as e:
            raise _silence(method, arguments, e) from None
        except (TypeError, AttributeError, KeyError, json.JSONDecodeError) as e:
            # What pybit trips over when the body is JSON, and not Bybit's
            raise _unsure(method, arguments, f"unreadable answer, {type(e).__name__}") from None
        if not isinstance(answer, dict) or answer.get("retCode") != 0:
            raise _unsure(method, arguments, "unreadable answer, no retCode")
        self._heed(method, headers)
        return answer

    def _heed(self, method: str, headers: Mapping[str, str]) -> None:
        """Let the next call of *method* wait when the budget of this second is used up."""
        if headers.get("X-Bapi-Limit-Status") == "0":
            self._resume[method] = time.monotonic() + _until_reset(headers).total_seconds()


def http_session(
    rest_url: str, key: ExchangeKey | None, *, recv_window_ms: int, timeout_s: float
) -> Any:
    """Return pybit, pointed at *rest_url* and doing nothing twice by itself."""
    session = HTTP(
        testnet=False,
        api_key=key.api_key.get_secret_value() if key else None,
        api_secret=key.api_secret.get_secret_value() if key else None,
        timeout=timeout_s,
        recv_window=recv_window_ms,
        max_retries=1,
        force_retry=False,
        # An empty set would be replaced by pybit's own
        retry_codes={-999999},
        return_response_headers=True,
    )
    session.endpoint = rest_url.rstrip("/")
    # A proxy of the machine is no way to the machine itself
    session.client.trust_env = urlsplit(rest_url).hostname not in LOOPBACK
    return session


def _request(method: str, arguments: Mapping[str, Any]) -> str:
    names = (arguments.get(name) for name in ("orderLinkId", "orderId", "symbol"))
    return " ".join([method, *(str(name) for name in names if name)][:2])


def _unsure(method: str, arguments: Mapping[str, Any], detail: str) -> TradewrightError:
    request = _request(method, arguments)
    if method.startswith("get_"):
        return ExchangeUnreachable(request, detail)
    return OutcomeUnknown(request, detail)


def _refusal(
    method: str,
    arguments: Mapping[str, Any],
    error: FailedRequestError | InvalidRequestError,
    text: str,
) -> TradewrightError:
    request, code = _request(method, arguments), int(error.status_code)
    headers: Mapping[str, str] = error.resp_headers or {}
    if isinstance(error, FailedRequestError) and code != 401:
        # An HTTP status, or pybit's own 409 for a body that is no JSON
        if code == 403:
            return RateLimited(request, f"{text} (HTTP 403)", BAN_PAUSE)
        if code in {400, 404}:
            return OrderRejected(request, code, text)
        return _unsure(method, arguments, f"{text} (HTTP {code})")
    if code in KEY_REMEDIES:
        return KeyRefused(request, code, text, KEY_REMEDIES[code])
    if code in TOO_SOON:
        return RateLimited(request, f"{text!r} (retCode {code})", _until_reset(headers))
    if code in OUT_OF_TIME:
        return ClockSkewed(request, text)
    if code in UNSURE:
        return _unsure(method, arguments, f"{text!r} (retCode {code})")
    return OrderRejected(request, code, text)


def _silence(
    method: str, arguments: Mapping[str, Any], error: RequestException
) -> TradewrightError:
    detail = type(error).__name__
    if isinstance(error, ConnectTimeout) or _was_refused(error):
        return ExchangeUnreachable(_request(method, arguments), f"{detail}, no connection")
    return _unsure(method, arguments, detail)


def _was_refused(error: RequestException) -> bool:
    """Return whether there never was a connection, so that surely nothing was sent."""
    cause = error.args[0] if error.args else None
    return isinstance(error, ConnectionFailed) and isinstance(
        getattr(cause, "reason", None), NewConnectionError
    )


def _until_reset(headers: Mapping[str, str]) -> timedelta:
    try:
        reset = int(headers["X-Bapi-Limit-Reset-Timestamp"]) / 1000
    except (KeyError, ValueError):
        return SHORT_PAUSE
    # The exchange's clock against ours: a limit is over a rolling second, so never longer
    pause = timedelta(seconds=reset - datetime.now(UTC).timestamp())
    return min(max(pause, timedelta(milliseconds=50)), SHORT_PAUSE)
