"""The REST door, ``/v5``: one request in, Bybit's envelope out.

Checks stand in this order: address, route, key and signature, rate, parameters. A change is
durable before its answer leaves, and its answer leaves before the streams tell of it.
"""

import asyncio
import logging
import secrets
from collections.abc import Callable, Mapping
from typing import Protocol

import msgspec

from tradewright.matching import RequestRejected
from tradewright.paper import payload
from tradewright.paper.auth import Doorkeeper, Unauthorised
from tradewright.paper.call import Answer, Call, Row
from tradewright.paper.clock import ms, wall
from tradewright.paper.exchange import Exchange
from tradewright.paper.keys import KeyRing
from tradewright.paper.limits import Limits, Window
from tradewright.paper.routes import ROUTES, Route
from tradewright.paper.transport import Receive, Scope, Send, ip_of, reset, transport_of

log = logging.getLogger(__name__)

_encode = msgspec.json.Encoder().encode
_METHODS = ("GET", "POST")
_MOST_BODY = 2**20
_JSON = (b"content-type", b"application/json; charset=utf-8")
_NO_BODY: Mapping[bytes, tuple[bytes, ...]] = {
    b"content-length": (b"", b"0"),
    b"transfer-encoding": (b"", b"identity"),
}


class Aborted(Exception):
    """The connection is to be reset instead of an answer."""


class Request(msgspec.Struct):
    method: str
    path: str
    query: bytes
    headers: dict[bytes, bytes]
    """Names in lower case."""
    body: bytes
    ip: str
    transport: asyncio.Transport
    _params: payload.Params | None = None

    @property
    def is_write(self) -> bool:
        return self.method == "POST"

    @property
    def params(self) -> payload.Params:
        """What is asked, unchecked: nothing where it cannot be understood."""
        try:
            return self.understood()
        except RequestRejected:
            return {}

    def understood(self) -> payload.Params:
        if self._params is None:
            self._params = (
                payload.of_body(self.body) if self.is_write else payload.of_query(self.query)
            )
        return self._params


class Response(msgspec.Struct):
    status: int
    body: bytes
    headers: list[tuple[bytes, bytes]]
    """Without the length, which is the body's when it is sent."""


class Faults(Protocol):
    """What may go wrong on purpose; both may sleep, and raise `Aborted`."""

    async def before(self, request: Request) -> Response | None:
        """Return an answer to send instead of taking *request*: no key or time is checked yet."""

    async def after(self, request: Request, response: Response) -> Response | None:
        """Return what to send instead of *response*, whose change is durable already."""


class Gateway:
    """An ASGI application of its own: a framework's objects would cost more than the exchange."""

    def __init__(
        self,
        exchange: Exchange,
        ring: KeyRing,
        limits: Limits,
        faults: Faults | None = None,
    ) -> None:
        self.faults = faults
        self.now_ms: Callable[[], int] = _wall_ms
        """The wall clock of windows and envelopes; another one is a skewed clock."""
        self._exchange = exchange
        self._door = Doorkeeper(ring)
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = _request(scope)
        try:
            response = await self._answer(request, receive)
        except Aborted:
            reset(request.transport)
            while (await receive())["type"] != "http.disconnect":
                pass
            return
        headers = [(b"content-length", b"%d" % len(response.body)), *response.headers]
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        await send({"type": "http.response.body", "body": response.body})

    def envelope(
        self,
        code: int,
        text: str,
        result: Row | None = None,
        ext_info: Row | None = None,
        status: int = 200,
    ) -> Response:
        now_ms = self.now_ms()
        body = {
            "retCode": code,
            "retMsg": text,
            "result": {} if result is None else result,
            "retExtInfo": ext_info or {},
            "time": now_ms,
        }
        headers = [
            _JSON,
            (b"timenow", b"%d" % now_ms),
            (b"traceid", secrets.token_hex(16).encode()),
            (b"ret_code", b"%d" % code),
        ]
        return Response(status, _encode(body), headers)

    async def _answer(self, request: Request, receive: Receive) -> Response:
        if not self._limits.admits(request.ip, self.now_ms()):
            return self.envelope(10018, "access too frequent", status=403)
        if request.method not in _METHODS:
            return self.envelope(10001, "Bad request", status=400)
        if request.is_write:
            body = await _body(receive)
            if body is None:
                return self._closing(self.envelope(10001, "Request too large", status=413))
            request.body = body
        elif _has_body(request.headers):
            return self.envelope(10001, "Forbidden request", status=403)
        route = ROUTES.get((request.method, request.path))
        if route is None:
            return self.envelope(10017, "Route not found.", status=404)
        if self.faults is None:
            return await self._handle(request, route)
        response = await self.faults.before(request)
        if response is not None:
            return response
        response = await self._handle(request, route)
        return await self.faults.after(request, response) or response

    async def _handle(self, request: Request, route: Route) -> Response:
        now_ms = self.now_ms()
        key = window = None
        is_free = True
        try:
            if route.is_signed:
                key = self._door.admit(
                    request.headers,
                    request.body if request.is_write else request.query,
                    path=request.path,
                    is_write=request.is_write,
                    ip=request.ip,
                    now_ms=now_ms,
                )
                window = self._limits.of(key.uid, request.path)
            spend = self._spending(window)
            # The orders of a batch are counted one by one, by the handler
            is_free = window is None or (
                window.left(now_ms) > 0 if route.is_batch else window.take(now_ms)
            )
            if not is_free:
                raise RequestRejected(10006, "Too many visits. Exceeded the API Rate Limit.")
            params = request.understood()
            if route.has_category and params.get("category", "linear") != "linear":
                raise RequestRejected(10001, "Illegal category")
            answer = route.handler(Call(self._exchange, params, key, spend))
            if request.is_write and (durable := getattr(self._exchange, "durable", None)):
                await durable()
        except Unauthorised:
            return self.envelope(401, "Unauthorized", status=401)
        except RequestRejected as rejection:
            response = self.envelope(rejection.code, rejection.text)
        except Exception:
            log.exception("request failed: method=%s path=%s", request.method, request.path)
            response = self.envelope(10016, "Internal System Error.")
        else:
            if isinstance(answer, Answer):
                response = self.envelope(answer.code, answer.text, answer.result, answer.ext_info)
            else:
                response = self.envelope(0, "OK", answer)
        if window is not None:
            response.headers += _limit_headers(window, self.now_ms(), is_over=not is_free)
        return response

    def _spending(self, window: Window | None) -> Callable[[], bool]:
        return lambda: window is None or window.take(self.now_ms())

    def _closing(self, response: Response) -> Response:
        response.headers.append((b"connection", b"close"))
        return response


def _request(scope: Scope) -> Request:
    return Request(
        method=scope["method"],
        path=scope["path"],
        query=scope["query_string"],
        headers=dict(scope["headers"]),
        body=b"",
        ip=ip_of(scope),
        transport=transport_of(scope),
    )


def _has_body(headers: Mapping[bytes, bytes]) -> bool:
    return any(headers.get(name, b"") not in empty for name, empty in _NO_BODY.items())


async def _body(receive: Receive) -> bytes | None:
    """Return the whole body; None of one that is too large, or whose sender is gone."""
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Aborted
        part: bytes = message.get("body", b"")
        body += part
        if len(body) > _MOST_BODY:
            return None
        if not message.get("more_body"):
            return body


def _limit_headers(window: Window, now_ms: int, *, is_over: bool) -> list[tuple[bytes, bytes]]:
    reset_ms = window.reset_ms(now_ms) if is_over else now_ms
    return [
        (b"x-bapi-limit", b"%d" % window.limit),
        (b"x-bapi-limit-status", b"%d" % window.left(now_ms)),
        (b"x-bapi-limit-reset-timestamp", b"%d" % reset_ms),
    ]


def _wall_ms() -> int:
    return ms(wall())
