"""A WebSocket of Bybit's for asyncio: pybit's connection, its messages in a queue.

pybit reads in threads of its own, reconnects without a word about what was missed, gives up
after a tenth of a second, and dies of a refused subscription. Here it connects, authenticates
and pings, and is thrown away when it is lost; whoever follows the stream builds the next one
and fills the gap.
"""

import asyncio
import contextlib
import json
import random
import time
from collections.abc import Iterable
from typing import Any, Literal, Self

import structlog
import websocket
from pybit.unified_trading import WebSocket

from activities.secrets import ExchangeKey
from tradewright.domain.errors import Retry, TradewrightError

log = structlog.get_logger(__name__)

Channel = Literal["private", "linear"]

ANSWER_WITHIN = 10.0
AUTH_VALID = 10
"""Seconds; pybit's one second does not survive a slow handshake."""
PING_EVERY = 20.0
PONG_WITHIN = 10.0
MUTE_AFTER = 50.0
"""Seconds without any frame, pongs among them: two pings were not answered."""
FIRST_WAIT = 0.1
LONGEST_WAIT = 5.0
STEADY_AFTER = 10.0
"""Seconds that a connection must have held for the next one to be tried at once."""
# Without it a peer that accepts and says nothing holds a thread for ever
websocket.setdefaulttimeout(ANSWER_WITHIN)


class WireLost(TradewrightError):
    """The connection is gone; what happened since has to be asked for."""

    retry = Retry.SAFE

    def __init__(self, url: str, detail: str) -> None:
        super().__init__(f"stream {url} was lost: {detail}; connect again")
        self.url = url


class WireRefused(TradewrightError):
    """The exchange does not let us listen."""

    retry = Retry.SAFE

    def __init__(self, url: str, op: str, detail: str) -> None:
        super().__init__(
            f"stream {url} refused {op}: {detail!r}; check the key and the symbols, "
            f"and that the clock is right"
        )
        self.url = url


class _Socket(WebSocket):  # type: ignore[misc]  # pybit is untyped
    """pybit's socket at any URL, which says when it is gone."""

    def __init__(self, url: str, lost: Any, **options: Any) -> None:
        self._url = url
        self._lost = lost
        self.heard_at = time.monotonic()
        super().__init__(testnet=False, **options)

    def _connect(self, url: str) -> None:
        super()._connect(self._url)
        self._plain = getattr(self.ws.sock, "sock", None)

    def _on_message(self, message: str) -> None:
        self.heard_at = time.monotonic()
        super()._on_message(message)

    def close(self) -> None:
        self.exit()
        # websocket-client forgets its socket when both sides close at the same moment
        if self._plain is not None:
            self._plain.close()

    def _on_error(self, error: Exception) -> None:
        self._lost(f"{type(error).__name__}: {error}")
        super()._on_error(error)

    def _on_close(self) -> None:
        self._lost("closed by the other side")
        super()._on_close()


class Wire:
    """One connection, from its opening to its loss."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._loop = asyncio.get_running_loop()
        self._messages: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self._answers: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self._loss = ""
        self._count = 0
        self._socket: _Socket | None = None

    @classmethod
    async def open(cls, url: str, channel: Channel, key: ExchangeKey | None = None) -> Self:
        """Connect, and authenticate if there is a key.

        Raises:
            WireLost: Nobody listens there, or not long enough.
            WireRefused: The key is not accepted.
        """
        wire = cls(url)
        secrets = {}
        if key is not None:
            secrets = {
                "api_key": key.api_key.get_secret_value(),
                "api_secret": key.api_secret.get_secret_value(),
            }
            authenticated = wire._expect("auth")
        try:
            wire._socket = await asyncio.to_thread(
                _Socket,
                url,
                wire._on_loss,
                channel_type=channel,
                callback_function=wire._on_message,
                # pybit counts one attempt too many, and must make no other by itself
                retries=2,
                restart_on_error=False,
                private_auth_expire=AUTH_VALID,
                ping_interval=PING_EVERY,
                ping_timeout=PONG_WITHIN,
                **secrets,
            )
            if key is not None:
                await wire._answered("auth", authenticated)
        except (websocket.WebSocketException, OSError) as e:
            raise WireLost(url, wire._loss or type(e).__name__) from None
        except BaseException:
            await wire.close()
            raise
        return wire

    async def subscribe(self, topics: Iterable[str]) -> None:
        """Ask for *topics* and wait until the exchange says that it sends them.

        Raises:
            WireLost: The connection went away meanwhile.
            WireRefused: A topic does not exist.
        """
        await self._ask("subscribe", topics)

    async def unsubscribe(self, topics: Iterable[str]) -> None:
        """Ask for *topics* no more; raises as `subscribe` does."""
        await self._ask("unsubscribe", topics)

    async def resubscribe(self, topics: Iterable[str]) -> None:
        """Ask anew for *topics*, which have gone silent; raises as `subscribe` does."""
        silent = sorted(topics)
        await self._ask("unsubscribe", silent)
        await self._ask("subscribe", silent)

    async def _ask(self, op: str, topics: Iterable[str]) -> None:
        self._count += 1
        name = f"{op}-{self._count}"
        frame = json.dumps({"op": op, "req_id": name, "args": sorted(topics)})
        answer = self._expect(name)
        socket = self._socket
        try:
            if socket is None:
                raise WireLost(self.url, self._loss or "closed by us")
            await asyncio.to_thread(socket.ws.send, frame)
        except (websocket.WebSocketException, OSError) as e:
            raise WireLost(self.url, type(e).__name__) from None
        await self._answered(name, answer)

    async def receive(self, within: float) -> dict[str, Any] | None:
        """Return the next message of a topic, or None if none came in time.

        Raises:
            WireLost: There will be no more.
        """
        try:
            async with asyncio.timeout(within):
                message = await self._messages.get()
        except TimeoutError:
            # A socket that dies in some way that pybit does not tell of
            socket = self._socket
            if socket is None or not socket.is_connected():
                raise WireLost(self.url, self._loss or "not connected") from None
            if (mute := time.monotonic() - socket.heard_at) > MUTE_AFTER:
                raise WireLost(self.url, f"no answer to pings for {mute:.0f} s") from None
            return None
        if message is None:
            raise WireLost(self.url, self._loss)
        return message

    @property
    def is_drained(self) -> bool:
        """Return whether all that has come was received."""
        return self._messages.empty()

    async def close(self) -> None:
        socket, self._socket = self._socket, None
        if socket is not None:
            await asyncio.to_thread(socket.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def _expect(self, name: str) -> asyncio.Future[dict[str, Any]]:
        return self._answers.setdefault(name, self._loop.create_future())

    async def _answered(self, name: str, answer: asyncio.Future[dict[str, Any]]) -> None:
        try:
            async with asyncio.timeout(ANSWER_WITHIN):
                told = await answer
        except TimeoutError:
            raise WireLost(self.url, f"no answer to {name}") from None
        finally:
            self._answers.pop(name, None)
        if told.get("lost"):
            raise WireLost(self.url, self._loss)
        if not told.get("success"):
            raise WireRefused(self.url, told.get("op", name), str(told.get("ret_msg", told)))

    def _on_message(self, message: dict[str, Any]) -> None:
        self._hand_over(message)

    def _on_loss(self, detail: str) -> None:
        self._loss = self._loss or detail
        self._hand_over(None)

    def _hand_over(self, message: dict[str, Any] | None) -> None:
        # On pybit's thread; a loop that is closed has nobody left to tell
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._take, message)

    def _take(self, message: dict[str, Any] | None) -> None:
        if message is None:
            for answer in self._answers.values():
                if not answer.done():
                    answer.set_result({"lost": True})
        elif "topic" not in message:
            name = "auth" if message.get("op") == "auth" else message.get("req_id", "")
            awaited = self._answers.get(name)
            if awaited is not None and not awaited.done():
                awaited.set_result(message)
            return
        self._messages.put_nowait(message)


class BackOff:
    """Waits between attempts: longer each time, short again once one has succeeded.

    Each wait is drawn between half of it and all of it, so that those who lost the same
    connection do not come back at the same moment.
    """

    def __init__(self) -> None:
        self._wait = FIRST_WAIT

    async def pause(self) -> None:
        await asyncio.sleep(self._wait * random.uniform(0.5, 1.0))  # noqa: S311 - no secret
        self._wait = min(LONGEST_WAIT, 2 * self._wait)

    def reset(self) -> None:
        self._wait = FIRST_WAIT
