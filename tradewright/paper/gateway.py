"""The REST door, ``/v5``: one request in, Bybit's envelope out.

Checks stand in this order: address, route, key and signature, rate, parameters. A change is
durable before its answer leaves, and its answer leaves before the streams tell of it.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Mapping
from typing import Protocol

import msgspec

from tradewright.matching import RequestRejected
from tradewright.paper import payload
from tradewright.paper.auth import Doorkeeper, Unauthorised
from tradewright.paper.call import Answer, Call, Row
from tradewright.paper.clock import told_ms, wall_ms
from tradewright.paper.commit import ExchangeBroken
from tradewright.paper.exchange import Exchange
from tradewright.paper.keys import ApiKey, KeyRing
from tradewright.paper.limits import Limits, Meter
from tradewright.paper.routes import ROUTES, Route
from tradewright.paper.transport import Receive, Scope, Send, ip_of, reset, transport_of

log = logging.getLogger(__name__)

_encode = msgspec.json.Encoder().encode
_METHODS = ("GET", "POST")
_FAILED = (10016, "Internal System Error.")
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
        self.now_ms: Callable[[], int] = told_ms
        """What windows are judged by and envelopes tell."""
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
            (b"traceid", b"%032x" % random.getrandbits(128)),
            (b"ret_code", b"%d" % code),
        ]
        return Response(status, _encode(body), headers)

    async def _answer(self, request: Request, receive: Receive) -> Response:
        if not self._limits.admits(request.ip, wall_ms()):
            return self.envelope(10018, "access too frequent", status=403)
        if request.method not in _METHODS:
            return self.envelope(10001, "Bad request", status=400)
        if request.is_write:
            body = await _body(receive)
            if body is None:
                response = self.envelope(10001, "Request too large", status=413)
                response.headers.append((b"connection", b"close"))
                return response
            request.body = body
        elif _has_body(request.headers):
            return self.envelope(10001, "Forbidden request", status=403)
        route = ROUTES.get((request.method, request.path))
        if route is None:
            return self.envelope(10017, "Route not found.", status=404)
        if self.faults is None:
            return await self._handle(request, route)
        instead = await self.faults.before(request)
        if instead is not None:
            return instead
        response = await self._handle(request, route)
        return await self.faults.after(request, response) or response

    async def _handle(self, request: Request, route: Route) -> Response:
        meter = Meter(None, wall_ms)
        try:
            key = None
            if route.is_signed:
                key = self._door.admit(
                    request.headers,
                    request.body if request.is_write else request.query,
                    path=request.path,
                    is_write=request.is_write,
                    ip=request.ip,
                    now_ms=self.now_ms(),
                )
                meter = Meter(self._limits.of(key.uid, request.path), wall_ms)
            # The orders of a batch are counted one by one, by the handler
            if not (meter.has_room() if route.is_batch else meter.spend()):
                raise RequestRejected(10006, "Too many visits. Exceeded the API Rate Limit.")
            response = await self._asked(request, route, key, meter)
        except Unauthorised:
            return self.envelope(401, "Unauthorized", status=401)
        except RequestRejected as rejection:
            response = self.envelope(rejection.code, rejection.text)
        except ExchangeBroken:
            # What broke it is in the log already
            response = self.envelope(*_FAILED)
        except Exception:
            log.exception("request failed: method=%s path=%s", request.method, request.path)
            response = self.envelope(*_FAILED)
        response.headers += meter.headers()
        return response

    async def _asked(
        self, request: Request, route: Route, key: ApiKey | None, meter: Meter
    ) -> Response:
        params = request.understood()
        try:
            answer = route.handler(Call(self._exchange, params, key, meter.spend))
        finally:
            if request.is_write:
                # A refusal, too, may rest on what is not written yet: an order of the same link
                await self._exchange.durable()
        if isinstance(answer, Answer):
            return self.envelope(answer.code, answer.text, answer.result, answer.ext_info)
        return self.envelope(0, "OK", answer)


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
