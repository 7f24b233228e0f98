"""The WebSocket door, ``/v5/private`` and ``/v5/public/…``: frames in, answers in order."""

import asyncio
import logging
import time
import uuid
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol
from urllib.parse import parse_qs

from tradewright.matching import RequestRejected
from tradewright.paper.auth import Doorkeeper
from tradewright.paper.clock import told_ms
from tradewright.paper.keys import KeyRing
from tradewright.paper.limits import Limits
from tradewright.paper.settings import PaperSettings
from tradewright.paper.stream import frame
from tradewright.paper.stream.frame import Asked, Refused
from tradewright.paper.stream.hub import Connection, Hub
from tradewright.paper.transport import Receive, Scope, Send, ip_of, transport_of

log = logging.getLogger(__name__)

CHANNELS = {
    "/v5/private": "private",
    "/v5/public/linear": "linear",
    "/v5/public/inverse": "inverse",
    "/v5/public/spot": "spot",
    "/v5/public/option": "option",
    "/v5/public/misc/status": "status",
    "/v5/public/status": "status",
}
IDLE_S, LEAST_IDLE_S = 600, 30
SCAN_S = 30
"""How often idle connections are looked for."""
_LATER = 1_000
_SPOT_ARGS = 10
_ARGS_CHARS = 21_000
_GOING_AWAY, _POLICY, _INTERNAL = 1001, 1008, 1011


class Topics(Protocol):
    """What the market says; only linear contracts have a market here."""

    def is_known(self, topic: str) -> bool: ...

    def greeting(self, topic: str) -> list[dict[str, Any]]:
        """Return what a new subscriber of *topic* is sent at once."""


class Streams:
    def __init__(
        self, hub: Hub, topics: Topics, ring: KeyRing, limits: Limits, settings: PaperSettings
    ) -> None:
        self._hub = hub
        self._topics = topics
        self._door = Doorkeeper(ring)
        self._limits = limits
        self._delay_s = settings.ack_delay_ms / 1000
        self._backlog = settings.stream_backlog
        ring.on_revoked.append(self._cut_key)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        status = self._refusal(scope)
        if status:
            await send({"type": "websocket.http.response.start", "status": status, "headers": []})
            await send({"type": "websocket.http.response.body", "body": b""})
            # uvicorn notes that it is over, and again when it really is
            for _ in range(2):
                await receive()
            return
        await send({"type": "websocket.accept"})
        channel = CHANNELS[scope["path"]]
        connection = Connection(
            self._hub,
            transport_of(scope),
            channel=channel,
            conn_id=_conn_id(channel),
            ip=ip_of(scope),
            idle_s=_idle_s(scope["query_string"]),
            backlog=self._backlog,
        )
        dialogue = _Dialogue(connection, self._answer, self._delay_s)
        try:
            while (message := await receive())["type"] != "websocket.disconnect":
                dialogue.hear(message.get("text") or message.get("bytes") or "")
        finally:
            dialogue.end()
            connection.leave()

    async def watch(self) -> None:
        """Cut connections on which nothing happens, for as long as this runs."""
        while True:
            await asyncio.sleep(SCAN_S)
            self.cut_idle(time.monotonic())

    def cut_idle(self, now_s: float) -> None:
        for connection in tuple(self._hub.connections):
            if now_s - connection.active_s >= connection.idle_s:
                connection.close(_GOING_AWAY, "idle")

    def _cut_key(self, key: str) -> None:
        for connection in tuple(self._hub.connections):
            if connection.key == key:
                connection.close(_POLICY, "api key revoked")

    def _refusal(self, scope: Scope) -> int:
        """Return the HTTP status that a handshake is refused with; 0 if it is not."""
        channel = CHANNELS.get(scope["path"])
        if channel is None:
            return 404
        ip = ip_of(scope)
        same = sum(c.ip == ip and c.channel == channel for c in self._hub.connections)
        return 0 if self._limits.admits_stream(ip, same, told_ms()) else 403

    def _answer(self, connection: Connection, asked: Asked) -> None:
        is_private = connection.channel == "private"
        try:
            match asked.op:
                case "ping":
                    connection.send(frame.pong(connection, asked, told_ms()))
                case "auth" if is_private:
                    self._authorise(connection, asked)
                case "subscribe":
                    self._subscribe(connection, asked)
                case "unsubscribe":
                    self._unsubscribe(connection, asked)
                case _:
                    raise Refused("error:op not supported")
        except Refused as refusal:
            connection.send(frame.ack(connection, asked, str(refusal)))
        except Exception:
            log.exception("frame failed: channel=%s op=%s", connection.channel, asked.op)
            connection.close(_INTERNAL, "internal error")

    def _authorise(self, connection: Connection, asked: Asked) -> None:
        if connection.account:
            raise Refused("Repeat auth")
        try:
            key = self._door.admit_stream(asked.args, connection.ip, told_ms())
        except RequestRejected as rejection:
            raise Refused(rejection.text) from None
        connection.account, connection.key = key.account, key.key
        connection.send(frame.ack(connection, asked))

    def _subscribe(self, connection: Connection, asked: Asked) -> None:
        if connection.channel == "private" and not connection.account:
            raise Refused("Request not authorized")
        topics = asked.topics()
        self._check(connection, topics)
        connection.send(frame.ack(connection, asked))
        for topic in topics:
            if connection.channel in frame.EMPTY_CHANNELS:
                connection.topics.add(topic)
                continue
            self._hub.subscribe(connection, topic, connection.account)
            if connection.channel == "linear":
                for message in self._topics.greeting(topic):
                    connection.send(message, topic)

    def _unsubscribe(self, connection: Connection, asked: Asked) -> None:
        for topic in asked.topics():
            self._hub.unsubscribe(connection, topic, connection.account)
        connection.send(frame.ack(connection, asked))

    def _check(self, connection: Connection, topics: list[str]) -> None:
        """Refuse the whole request for one topic that is wrong, as Bybit does."""
        if connection.channel == "spot" and len(topics) > _SPOT_ARGS:
            raise Refused(f"args size >{_SPOT_ARGS}")
        if sum(map(len, [*connection.topics, *topics])) > _ARGS_CHARS:
            raise Refused(f"args length >{_ARGS_CHARS}")
        for topic in topics:
            is_known = (
                self._topics.is_known(topic)
                if connection.channel == "linear"
                else frame.is_topic(connection.channel, topic)
            )
            if not is_known:
                raise Refused(f"error:handler not found,topic:{topic}")
        if connection.channel == "private" and frame.is_mixed(topics):
            raise Refused("All-in-one and categorised topics cannot be in the same request")
        for number, topic in enumerate(topics):
            if topic in connection.topics or topic in topics[:number]:
                raise Refused(f"error:already subscribed,topic:{topic}")


class _Dialogue:
    """Answers the frames of one connection in their order, subscriptions a little later.

    A frame waits for the one before it, not for its own delay after that: a burst of them is
    answered as soon as one.
    """

    def __init__(
        self,
        connection: Connection,
        answer: Callable[[Connection, Asked], None],
        delay_s: float,
    ) -> None:
        self._connection = connection
        self._answer = answer
        self._delay_s = delay_s
        self._waiting: deque[tuple[float, Asked]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def hear(self, text: str | bytes) -> None:
        if not self._connection.is_open:
            return
        self._connection.active_s = time.monotonic()
        asked = frame.read(text)
        loop = asyncio.get_running_loop()
        delay_s = self._delay_s if asked.op == "subscribe" else 0.0
        if not delay_s and not self._waiting:
            self._answer(self._connection, asked)
            return
        if len(self._waiting) >= _LATER:
            self._connection.close(_POLICY, "too many requests")
            return
        self._waiting.append((loop.time() + delay_s, asked))
        if self._timer is None:
            self._timer = loop.call_at(self._waiting[0][0], self._answer_due)

    def end(self) -> None:
        self._waiting.clear()
        if self._timer is not None:
            self._timer.cancel()

    def _answer_due(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = None
        while self._waiting and self._connection.is_open:
            due, asked = self._waiting[0]
            if due > loop.time():
                self._timer = loop.call_at(due, self._answer_due)
                return
            self._waiting.popleft()
            self._answer(self._connection, asked)


def _conn_id(channel: str) -> str:
    unique = uuid.uuid4()
    return f"{unique.hex[:20]}-p" if channel == "private" else str(unique)


def _idle_s(query: bytes) -> float:
    """Return how long nothing may happen: ``max_active_time``, as ``45s`` or ``5m``."""
    (asked,) = parse_qs(query.decode("latin-1")).get("max_active_time", [""])[:1]
    number, unit = asked[:-1], asked[-1:]
    if not (number.isascii() and number.isdigit() and len(number) < 6 and unit in ("s", "m")):
        return IDLE_S
    return min(max(int(number) * (60 if unit == "m" else 1), LEAST_IDLE_S), IDLE_S)
