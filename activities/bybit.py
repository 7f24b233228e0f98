"""Bybit's REST interface, through pybit: every answer becomes a value or a fact of the domain.

On the way there a request passes the breaker of its group and the buckets of its budget. Neither
holds back what leaves the market.
"""

import asyncio
import functools
import json
import math
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple, Protocol
from urllib.parse import urlsplit

import structlog
from pybit.exceptions import FailedRequestError, InvalidRequestError
from pybit.unified_trading import HTTP
from requests import RequestException

from activities.breaker import Breaker, BreakerChange, BreakerView, OnChange
from activities.bucket import BucketView
from activities.budget import LEFT, Budget
from activities.endpoint import PUBLIC, Endpoint, endpoint_of
from activities.instruments import InstrumentCache
from activities.refusal import (
    Failure,
    Sign,
    gibberish,
    refusal,
    request_name,
    silence,
    until_reset,
)
from activities.secrets import LOOPBACK, ExchangeKey
from activities.skew import ClockSkew
from activities.urgency import Urgency, current_urgency, urgency_of
from tradewright.domain.errors import BreakerOpen, ExchangeUnreachable, KeyRefused, RateLimited
from tradewright.domain.market import Instrument
from tradewright.telemetry.redaction import MASK

log = structlog.get_logger(__name__)

LINEAR: Final = "linear"
SETTLE_COIN: Final = "USDT"
THREADS: Final = {Urgency.EXIT: 8, Urgency.STOP: 8, Urgency.ENTRY: 16, Urgency.READ: 16}
"""Each has its own, and once more for what needs no key: what hangs holds up only its like."""


class KeySource(Protocol):
    async def exchange_key(self) -> ExchangeKey: ...


SessionFactory = Callable[[ExchangeKey | None], Any]
"""Makes what answers pybit's methods, with headers; without a key only the public ones."""


class _Reply(NamedTuple):
    """What a thread brings back."""

    body: dict[str, Any]
    headers: Mapping[str, str]
    failure: Failure | None
    sent: datetime
    answered: datetime


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
        *,
        urgency: Urgency | None = None,
    ) -> None:
        """Call nobody yet.

        Args:
            rest_url: Of the venue.
            keys: Where the key is read.
            recv_window_ms: How old a request may be when it arrives.
            timeout_s: For connecting, and for each answer.
            session_factory: In the place of pybit's sessions.
            urgency: What every request of this client is at least.
        """
        self.recv_window = timedelta(milliseconds=recv_window_ms)
        self._keys = keys
        self._sessions = session_factory or functools.partial(
            http_session, rest_url, recv_window_ms=recv_window_ms, timeout_s=timeout_s
        )
        self._threads = {
            (urgency, is_public): ThreadPoolExecutor(count, thread_name_prefix=f"bybit-{urgency}")
            for urgency, count in THREADS.items()
            for is_public in (False, True)
        }
        self._local = threading.local()
        self._opened: list[Any] = []
        self._key: ExchangeKey | None = None
        self._turn = asyncio.Lock()
        self._floor = Urgency.READ if urgency is None else urgency
        self._budget = Budget()
        self._breakers: dict[str, Breaker] = {}
        self.on_breaker: OnChange = lambda change: None
        """Told when a breaker opens and when it closes."""
        self._skew = ClockSkew()
        self._instruments = InstrumentCache(self.call)

    @property
    def clock_skew(self) -> timedelta | None:
        """How far the exchange's clock is ahead of this machine's; None before any answer."""
        return self._skew.value

    async def call(self, method: str, **arguments: Any) -> dict[str, Any]:
        """Call pybit's *method* and return Bybit's whole answer, its retCode being 0.

        Raises:
            OutcomeUnknown: A write may or may not have been carried out.
            ExchangeUnreachable: Nothing was sent, or a read was not answered.
            BreakerOpen: Nothing was sent, for the exchange has not been answering.
            RateLimited: Not carried out; the pause is in `retry_after`.
            ClockSkewed: Not carried out.
            KeyRefused: Not carried out; says what to do about the key.
            OrderRejected: Any other retCode.
        """
        return await self.call_by(math.inf, method, **arguments)

    async def call_by(self, send_by: float, method: str, **arguments: Any) -> dict[str, Any]:
        """Do as `call`, but send nothing after *send_by* of the monotonic clock.

        Raises:
            ExchangeUnreachable: Also if it had to wait longer than that for its turn.
        """
        key = None if method in PUBLIC else self._key or await self._renewed_key(None)
        try:
            return await self._attempt(method, key, send_by, arguments)
        except KeyRefused as refused:
            fresh = await self._renewed_key(key)
            if key is None or fresh == key:
                raise
            log.info("exchange_key_renewed", after=str(refused))
            return await self._attempt(method, fresh, send_by, arguments)

    async def instrument(self, symbol: str) -> Instrument:
        """Return the trading rules of *symbol*, at most an hour old; older only for an exit.

        Raises:
            SymbolUnknown: Bybit does not list it.
        """
        for_exit = min(self._floor, current_urgency()) is Urgency.EXIT
        return await self._instruments.instrument(symbol, for_exit=for_exit)

    def breakers(self) -> list[BreakerView]:
        return [self._breakers[group].view() for group in sorted(self._breakers)]

    def buckets(self) -> list[BucketView]:
        return self._budget.views()

    def reset(self, name: str = "") -> list[str]:
        """Close breakers and forget what was learnt of the budget.

        Args:
            name: A group, ``order``; one endpoint's bucket, ``order/create``; or all.

        Returns:
            What was reset; empty if nothing has the name.
        """
        found = [b for group, b in sorted(self._breakers.items()) if name in {"", group}]
        for breaker in found:
            breaker.reset()
        names = [breaker.group for breaker in found]
        return list(dict.fromkeys([*names, *self._budget.reset(name)]))

    def close(self) -> None:
        """Give threads and connections back; what is under way ends unanswered."""
        for threads in self._threads.values():
            threads.shutdown(wait=False, cancel_futures=True)
        for session in self._opened:
            # pybit has no way to close; the session of requests is its `client`
            session.client.close()

    async def _renewed_key(self, refused: ExchangeKey | None) -> ExchangeKey:
        async with self._turn:
            if self._key is None or self._key == refused:
                self._key = await self._keys.exchange_key()
            return self._key

    async def _attempt(
        self, method: str, key: ExchangeKey | None, send_by: float, arguments: Mapping[str, Any]
    ) -> dict[str, Any]:
        endpoint = endpoint_of(method)
        urgency = min(self._floor, urgency_of(method, arguments))
        breaker = self._breaker(endpoint.group)
        if pause := breaker.closed_for(urgency):
            raise self._broken(method, arguments, breaker, pause)
        begun = time.monotonic()
        if pause := await self._budget.enter(endpoint, urgency):
            detail = f"the exchange has asked for a pause of {endpoint.name}"
            raise RateLimited(request_name(method, arguments), detail, timedelta(seconds=pause))
        if pause := breaker.admit(urgency):
            self._budget.leave(endpoint, begun, None)
            raise self._broken(method, arguments, breaker, pause)
        threads = self._threads[urgency, method in PUBLIC]
        # Of one whose asker is gone nobody hears, but it is under way and counts
        headers: Mapping[str, str] | None = {}
        try:
            reply = await asyncio.get_running_loop().run_in_executor(
                threads, self._send, method, key, send_by, dict(arguments)
            )
            said = None if reply is None else reply.failure or reply
            headers = None if said is None else said.headers
        finally:
            self._budget.leave(endpoint, begun, headers)
        if reply is None:
            waited = f"it had waited {time.monotonic() - begun:.1f} s and was not sent"
            raise ExchangeUnreachable(request_name(method, arguments), waited)
        return self._learn(method, arguments, endpoint, urgency, reply)

    def _learn(
        self,
        method: str,
        arguments: Mapping[str, Any],
        endpoint: Endpoint,
        urgency: Urgency,
        reply: _Reply,
    ) -> dict[str, Any]:
        """Return the answer, or raise what it means, once breaker, budget and clock know of it."""
        failure, breaker = reply.failure, self._breaker(endpoint.group)
        server_ms = failure.server_ms if failure else reply.body.get("time")
        if isinstance(server_ms, int):
            self._skew.add(server_ms, reply.sent, reply.answered)
        if failure is None:
            breaker.succeed()
            self._budget.succeed(endpoint, reply.headers)
            if reply.headers.get(LEFT) == "0":
                reset = until_reset(reply.headers, self._skew.value)
                self._budget.spend(endpoint, reset.total_seconds())
            return reply.body
        if failure.sign is Sign.DOWN:
            breaker.fail(failure.detail)
            raise failure.error
        breaker.succeed()
        if failure.sign is Sign.TOO_MANY:
            reset = until_reset(failure.headers or {}, self._skew.value)
            self._budget.refuse(endpoint, reset.total_seconds())
        elif failure.sign is Sign.BUSY:
            self._budget.calm(endpoint.group)
        elif failure.sign is Sign.BARRED:
            pause = timedelta(seconds=self._budget.ban(urgency))
            raise RateLimited(request_name(method, arguments), failure.detail, pause)
        raise failure.error

    def _breaker(self, group: str) -> Breaker:
        breaker = self._breakers.get(group)
        if breaker is None:
            breaker = self._breakers[group] = Breaker(group, self._breaker_changed)
        return breaker

    def _breaker_changed(self, change: BreakerChange) -> None:
        self.on_breaker(change)

    @staticmethod
    def _broken(
        method: str, arguments: Mapping[str, Any], breaker: Breaker, pause: float
    ) -> BreakerOpen:
        request = request_name(method, arguments)
        return BreakerOpen(request, breaker.group, breaker.detail, timedelta(seconds=pause))

    def _send(
        self, method: str, key: ExchangeKey | None, send_by: float, arguments: dict[str, Any]
    ) -> _Reply | None:
        """Return what was answered; None if it was too late to send it."""
        known, session = getattr(self._local, "session", (None, None))
        if session is None or (key is not None and known != key):
            session = self._sessions(key)
            self._local.session = (key, session)
            self._opened.append(session)
        if time.monotonic() > send_by:
            return None
        sent = datetime.now(UTC)
        failure: Failure | None = None
        body: Any = {}
        headers: Mapping[str, str] = {}
        # pybit writes into what it is given
        try:
            body, _, headers = getattr(session, method)(**arguments)
        except (FailedRequestError, InvalidRequestError) as e:
            # Bybit repeats the key when it does not like the signature
            text = (
                str(e.message).replace(key.api_key.get_secret_value(), MASK) if key else e.message
            )
            failure = refusal(method, arguments, e, str(text))
        except RequestException as e:
            failure = silence(method, arguments, e)
        except (TypeError, AttributeError, KeyError, json.JSONDecodeError) as e:
            # What pybit trips over when the body is JSON, and not Bybit's
            failure = gibberish(method, arguments, f"unreadable answer, {type(e).__name__}")
        else:
            if not isinstance(body, dict) or body.get("retCode") != 0:
                failure = gibberish(method, arguments, "unreadable answer, no retCode")
        return _Reply(body, headers, failure, sent, datetime.now(UTC))


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
