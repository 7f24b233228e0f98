"""The market's clock, and the turns that a lockstep takes with those who follow it."""

import asyncio
import http.client
import json
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal, Protocol
from urllib.parse import quote, urlencode, urlsplit

from pydantic import AwareDatetime

from tradewright.clock import MarketClock
from tradewright.domain.errors import Retry, TradewrightError
from tradewright.domain.market import Value

Role = Literal["market", "preset", "account"]

LONG_POLL_MS = 5_000
ANSWER_WITHIN = 10.0
ANCHOR_MAX_AGE = timedelta(seconds=5)
THREADS = 8


class PaceUnreachable(TradewrightError):
    retry = Retry.SAFE

    def __init__(self, url: str, detail: str) -> None:
        super().__init__(
            f"paper exchange {url} does not answer: {detail}; start it, or correct "
            f"TRADEWRIGHT_PAPER_URL"
        )
        self.url = url


class PaceRefused(TradewrightError):
    """The paper exchange answers, and does not do what was asked."""

    def __init__(self, request: str, status: int, detail: str) -> None:
        super().__init__(
            f"paper exchange refused {request}: {detail!r} (status {status}); it does not take "
            f"this request, check that it is of the same version"
        )
        self.status = status


class Pace(Protocol):
    """How the market's time goes by."""

    async def lockstep(self) -> bool:
        """Return whether the market waits until everybody has dealt with a candle."""

    async def speed(self) -> float:
        """Return how many market seconds pass in a second; 0 in a lockstep."""

    async def market_now(self) -> datetime:
        """Return the market's time."""

    async def subscribe(
        self, name: str, role: Role, symbols: Sequence[str], timeframe: str | None
    ) -> None:
        """Let the lockstep wait for *name* at every candle that concerns it."""

    async def unsubscribe(self, name: str) -> None:
        """Let the lockstep wait for *name* no more."""

    async def done(self, name: str, at: datetime) -> None:
        """Tell the lockstep that *name* has dealt with the candles that closed at *at*."""

    async def wait_for(self, name: str, at: datetime) -> None:
        """Wait until *name* has dealt with the candles that closed at *at*."""

    async def awaited(self, name: str) -> datetime | None:
        """Return the close at which the lockstep waits for *name* right now, if it does."""

    async def holdings(self) -> Mapping[str, Decimal]:
        """Return what the market's own ledger holds by symbol, shorts negative, if it has one."""


class WallPace:
    """A real venue: its time is ours and it waits for nobody."""

    async def lockstep(self) -> bool:
        return False

    async def speed(self) -> float:
        return 1.0

    async def market_now(self) -> datetime:
        return datetime.now(UTC)

    async def subscribe(
        self, name: str, role: Role, symbols: Sequence[str], timeframe: str | None
    ) -> None:
        """Do nothing."""

    async def unsubscribe(self, name: str) -> None:
        """Do nothing."""

    async def done(self, name: str, at: datetime) -> None:
        """Do nothing."""

    async def wait_for(self, name: str, at: datetime) -> None:
        """Do nothing."""

    async def awaited(self, name: str) -> datetime | None:
        return None

    async def holdings(self) -> Mapping[str, Decimal]:
        return {}


class Turn(Value):
    """A barrier at which the account's subscriber is awaited, or the end of the market."""

    barrier: int = -1
    at: AwareDatetime | None = None
    step: int = 0
    ended: bool = False


class PaperPace:
    """The paper exchange's control interface, asked without a signature."""

    def __init__(self, base_url: str) -> None:
        parts = urlsplit(base_url)
        self._url = base_url
        self._host, self._port = parts.hostname or "127.0.0.1", parts.port or 80
        self._prefix = parts.path.rstrip("/") + "/paper"
        # Threads of their own: long polls must not keep strategies from theirs
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="pace")
        self._idle: list[http.client.HTTPConnection] = []
        self._guard = threading.Lock()
        self._closed = False
        self._clock: MarketClock | None = None
        self._asked_at = datetime.min.replace(tzinfo=UTC)

    async def lockstep(self) -> bool:
        if self._clock is None:
            await self._ask_clock()
        return self._clock is not None and not self._clock.speed

    async def speed(self) -> float:
        return 0.0 if await self.lockstep() else (self._clock.speed if self._clock else 1.0)

    async def market_now(self) -> datetime:
        now = datetime.now(UTC)
        clock = self._clock
        if clock is None or not clock.speed or now - self._asked_at > ANCHOR_MAX_AGE:
            clock = await self._ask_clock()
        return clock.at(datetime.now(UTC)) if clock.speed else clock.market

    async def subscribe(
        self, name: str, role: Role, symbols: Sequence[str], timeframe: str | None
    ) -> None:
        wish = {"name": name, "role": role, "symbols": list(symbols), "timeframe": timeframe}
        await self._ask("POST", "/subscribers", wish)

    async def unsubscribe(self, name: str) -> None:
        await self._ask("DELETE", f"/subscribers?name={quote(name, safe='')}")

    async def done(self, name: str, at: datetime) -> None:
        await self._ask("POST", "/done", {"name": name, "at_ms": milliseconds(at)})

    async def wait_for(self, name: str, at: datetime) -> None:
        query = {"name": name, "at_ms": milliseconds(at), "timeout_ms": LONG_POLL_MS}
        while not (await self._ask("GET", f"/await?{urlencode(query)}"))["done"]:
            pass

    async def awaited(self, name: str) -> datetime | None:
        told = await self.status()
        stands = told["phase"] == "close" and name in told["waiting_for"]
        return moment(told["market_ms"]) if stands else None

    async def holdings(self) -> Mapping[str, Decimal]:
        positions = (await self._ask("GET", "/ledger"))["positions"]
        return {symbol: Decimal(qty) for symbol, qty in positions.items()}

    async def start(self) -> None:
        """Let a market that waits for its subscribers begin."""
        await self._ask("POST", "/start", {})

    async def status(self) -> dict[str, Any]:
        """Return the clock as the exchange tells it."""
        return await self._ask("GET", "/clock")

    async def turn(self, name: str, after: int) -> Turn:
        """Return the next barrier behind *after* that waits for *name*, or the market's end."""
        query = {"name": name, "after": after, "timeout_ms": LONG_POLL_MS}
        while True:
            answer = await self._ask("GET", f"/turn?{urlencode(query)}")
            if answer["waiting"]:
                at = moment(answer["at_ms"])
                return Turn(barrier=answer["barrier"], at=at, step=answer["step"])
            if answer["ended"]:
                return Turn(ended=True)

    async def pass_barrier(self, name: str, barrier: int) -> None:
        """Tell the lockstep that *name* has nothing left to do at *barrier*."""
        await self._ask("POST", "/done", {"name": name, "barrier": barrier})

    def close(self) -> None:
        """Give the connections back; a long poll that is under way ends its own."""
        with self._guard:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _ask_clock(self) -> MarketClock:
        before = datetime.now(UTC)
        told = await self._ask("GET", "/clock")
        now = datetime.now(UTC)
        speed = 0.0 if told["lockstep"] else float(told["speed"])
        # The answer was true somewhere between the two; its middle errs least
        anchor = before + (now - before) / 2
        self._clock = MarketClock(anchor=anchor, market=moment(told["market_ms"]), speed=speed)
        self._asked_at = now
        return self._clock

    async def _ask(
        self, method: str, path: str, body: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._exchange, method, path, body)

    def _exchange(self, method: str, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        raw = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"} if raw else {}
        for is_last in (False, True):
            connection = self._connection(fresh=is_last)
            try:
                connection.request(method, self._prefix + path, raw, headers)
                answer = connection.getresponse()
                status, content = answer.status, answer.read()
            except (OSError, http.client.HTTPException) as e:
                connection.close()
                # A connection that was kept may have been closed meanwhile; every request here
                # may be repeated
                if is_last:
                    detail = f"{type(e).__name__}: {e}"
                    raise PaceUnreachable(self._url, detail) from e
                continue
            self._keep(connection)
            if status >= http.HTTPStatus.BAD_REQUEST:
                detail = content.decode(errors="replace")[:200]
                raise PaceRefused(f"{method} {path}", status, detail)
            told: dict[str, Any] = json.loads(content or b"{}")
            return told
        raise AssertionError("the last attempt returns or raises")

    def _connection(self, *, fresh: bool) -> http.client.HTTPConnection:
        with self._guard:
            if self._idle and not fresh:
                return self._idle.pop()
        return http.client.HTTPConnection(self._host, self._port, timeout=ANSWER_WITHIN)

    def _keep(self, connection: http.client.HTTPConnection) -> None:
        with self._guard:
            if not self._closed:
                self._idle.append(connection)
                return
        connection.close()


def milliseconds(at: datetime) -> int:
    """Return *at* as Bybit writes it: milliseconds since 1970."""
    return round(at.timestamp() * 1000)


def moment(ms: int | str) -> datetime:
    """Return the time that Bybit writes as *ms*."""
    return datetime.fromtimestamp(int(ms) / 1000, UTC)
