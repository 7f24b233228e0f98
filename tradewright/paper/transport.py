"""The wire below the protocols: uvicorn's connections, which also hand out their transport.

Streams write frames to it that are encoded once for all, and faults reset it.
"""

import asyncio
import socket
import struct
from asyncio.transports import BaseTransport
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class HttpProtocol(HttpToolsProtocol):
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.app_state = {**self.app_state, "transport": transport}


class StreamProtocol(WebSocketsSansIOProtocol):
    def connection_made(self, transport: BaseTransport) -> None:
        super().connection_made(transport)
        self.app_state = {**self.app_state, "transport": transport}


def transport_of(scope: Scope) -> asyncio.Transport:
    return cast(asyncio.Transport, scope["state"]["transport"])


def ip_of(scope: Scope) -> str:
    return str(scope["client"][0]) if scope["client"] else ""


def reset(transport: asyncio.Transport) -> None:
    """End a connection with a TCP reset, as a crashed or overloaded peer does."""
    if transport.is_closing():
        return
    peer = transport.get_extra_info("socket")
    with socket.fromfd(peer.fileno(), peer.family, peer.type) as same:
        same.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
