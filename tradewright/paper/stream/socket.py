"""The WebSocket sides: ``/v5/private`` and ``/v5/public/linear``."""

import asyncio
import uuid
from contextlib import suppress
from typing import Any

import msgspec
from starlette.websockets import WebSocket, WebSocketDisconnect

from tradewright.paper.auth import Keys
from tradewright.paper.clock import ms, wall
from tradewright.paper.exchange import Exchange
from tradewright.paper.stream.feed import PRIVATE_TOPICS
from tradewright.paper.stream.hub import Connection


class Streams:
    def __init__(self, exchange: Exchange, keys: Keys) -> None:
        self._exchange = exchange
        self._feed = exchange.feed
        self._keys = keys
        self._delay = exchange.settings.ack_delay_ms / 1000

    async def private(self, socket: WebSocket) -> None:
        await self._serve(socket, is_private=True)

    async def public(self, socket: WebSocket) -> None:
        await self._serve(socket, is_private=False)

    async def _serve(self, socket: WebSocket, *, is_private: bool) -> None:
        await socket.accept()
        connection = Connection(socket, uuid.uuid4().hex[:20])
        delivery = asyncio.create_task(connection.deliver())
        try:
            while not delivery.done():
                frame = _frame(await socket.receive_text())
                await self._answer(connection, frame, is_private=is_private)
        except (WebSocketDisconnect, RuntimeError):
            # Starlette raises RuntimeError where the socket was closed from this side
            pass
        finally:
            self._feed.hub.forget(connection)
            delivery.cancel()
            with suppress(asyncio.CancelledError, WebSocketDisconnect, RuntimeError):
                await delivery

    async def _answer(
        self, connection: Connection, frame: dict[str, Any], *, is_private: bool
    ) -> None:
        """Answer one frame; in order, for clients subscribe before auth is answered."""
        op = frame.get("op")
        req_id = frame.get("req_id", "")
        args = frame.get("args") or []
        if op == "ping":
            connection.send(_pong(connection, req_id, is_private=is_private))
        elif op == "auth" and is_private:
            wrong = self._keys.check_stream(args, ms(wall()))
            connection.is_authorised = not wrong
            connection.send(_ack(connection, "auth", None, wrong))
        elif op == "subscribe":
            await asyncio.sleep(self._delay)
            self._subscribe(connection, args, req_id, is_private=is_private)
        elif op == "unsubscribe":
            for topic in args:
                self._feed.hub.unsubscribe(connection, topic)
            connection.send(_ack(connection, "unsubscribe", req_id))
        else:
            connection.send(_ack(connection, str(op), req_id, "error:op not supported"))

    def _subscribe(
        self, connection: Connection, topics: list[str], req_id: object, *, is_private: bool
    ) -> None:
        if is_private and not connection.is_authorised:
            connection.send(_ack(connection, "subscribe", req_id, "Request not authorized"))
            return
        for topic in topics:
            known = (
                topic.removesuffix(".linear") in PRIVATE_TOPICS
                if is_private
                else self._feed.is_known(topic)
            )
            if not known:
                text = f"error:handler not found,topic:{topic}"
                connection.send(_ack(connection, "subscribe", req_id, text))
                return
        connection.send(_ack(connection, "subscribe", req_id))
        for topic in topics:
            self._feed.hub.subscribe(connection, topic)
            if not is_private:
                for message in self._feed.greeting(topic):
                    connection.send(message)


def _frame(text: str) -> dict[str, Any]:
    try:
        frame = msgspec.json.decode(text)
    except msgspec.DecodeError:
        frame = None
    return frame if isinstance(frame, dict) else {}


def _ack(connection: Connection, op: str, req_id: object, wrong: str = "") -> dict[str, Any]:
    message = {
        "success": not wrong,
        "ret_msg": wrong,
        "conn_id": connection.conn_id,
        "op": op,
    }
    return message if req_id is None else message | {"req_id": req_id}


def _pong(connection: Connection, req_id: object, *, is_private: bool) -> dict[str, Any]:
    if is_private:
        return {
            "req_id": req_id,
            "op": "pong",
            "args": [str(ms(wall()))],
            "conn_id": connection.conn_id,
        }
    return _ack(connection, "ping", req_id) | {"ret_msg": "pong"}
