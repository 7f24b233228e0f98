"""Faults at the REST door: what happens to requests and answers on their way."""

import uuid
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from typing import Any

from tradewright.paper import clock
from tradewright.paper.clock import ms
from tradewright.paper.exchange import Exchange
from tradewright.paper.fault.board import FaultBoard, InForce
from tradewright.paper.fault.judge import Strike
from tradewright.paper.fault.kind import Layer
from tradewright.paper.fault.patience import Patience
from tradewright.paper.fault.request import (
    STATUS,
    ClockSkew,
    Code10006,
    Code10016,
    Delay,
    Http429,
    HttpError,
    LaggingReads,
    Maintenance,
    MalformedJson,
    Reset,
    Stall,
)
from tradewright.paper.fault.when import Subject
from tradewright.paper.gateway import Aborted, Gateway, Request, Response
from tradewright.paper.keys import KeyRing
from tradewright.paper.view import View, seen

_UNKNOWN_END_MS = 3_600_000
_HTML = [(b"content-type", b"text/html")]


class FaultyDoor:
    """What the gateway asks before and after each request."""

    def __init__(
        self,
        board: FaultBoard,
        gateway: Gateway,
        ring: KeyRing,
        exchange: Exchange,
        patience: Patience,
    ) -> None:
        self._board = board
        self._gateway = gateway
        self._ring = ring
        self._exchange = exchange
        self._patience = patience
        self._views: dict[str, tuple[InForce, View]] = {}
        board.listeners.append(self._renew)
        gateway.faults = self
        self._strikes: ContextVar[tuple[Strike, ...]] = ContextVar("strikes", default=())

    async def before(self, request: Request) -> Response | None:
        if not self._board.any_on("request"):
            return None
        if request.path == STATUS and (notices := self._notices(request)):
            return self._gateway.envelope(0, "", {"list": notices})
        strikes = tuple(self._board.strike("request", self._subject(request)))
        self._strikes.set(strikes)
        for strike in strikes:
            if isinstance(strike.fault, ClockSkew):
                clock.skew_ms.set(strike.fault.ms)
            elif isinstance(strike.fault, LaggingReads):
                seen.set(self._views[strike.name][1])
        for strike in strikes:
            if isinstance(strike.fault, Delay) and strike.fault.acceptance == "before":
                await self._patience.wait(strike.ms)
        for strike in strikes:
            if strike.fault.layer is Layer.BEFORE:
                return await self._instead(strike, request, None)
        return None

    async def after(self, request: Request, response: Response) -> Response | None:
        strikes, answer = self._strikes.get(), None
        for strike in strikes:
            if isinstance(strike.fault, Delay) and strike.fault.acceptance == "after":
                await self._patience.wait(strike.ms)
        for strike in strikes:
            if strike.fault.layer is Layer.AFTER:
                answer = await self._instead(strike, request, response)
        return answer

    def _renew(self) -> None:
        """Keep an older state for each fault that shows one."""
        lagging = {
            entry.judge.name: (entry, entry.judge.fault.ms)
            for entry in self._board.entries
            if isinstance(entry.judge.fault, LaggingReads)
        }
        for name, (entry, view) in list(self._views.items()):
            if lagging.get(name, (None, 0))[0] is not entry:
                self._exchange.close_view(view)
                del self._views[name]
        for name, (entry, lag_ms) in lagging.items():
            if name not in self._views:
                self._views[name] = entry, self._exchange.open_view(lag_ms)

    async def _instead(
        self, strike: Strike, request: Request, answer: Response | None
    ) -> Response | None:
        """Return what is sent instead of *answer*, which is None if nothing was executed."""
        match strike.fault:
            case Stall():
                await self._patience.until_gone(request.transport)
                raise Aborted
            case Reset():
                raise Aborted
            case HttpError(status=status):
                return Response(status, _page(status), list(_HTML))
            case Http429():
                return Response(429, _page(429), list(_HTML))
            case Code10006():
                return self._too_many(strike.ms)
            case Code10016():
                return self._gateway.envelope(10016, "Server error.")
            case Maintenance():
                return self._gateway.envelope(10016, "Service is restarting.")
            case MalformedJson(body=body):
                whole = answer or self._gateway.envelope(0, "OK")
                whole.body = {"cut": whole.body[: len(whole.body) // 2], "html": _page(502)}.get(
                    body, b""
                )
                return whole
        return None

    def _too_many(self, ms: int) -> Response:
        answer = self._gateway.envelope(10006, "Too many visits. Exceeded the API Rate Limit.")
        reset = str(self._gateway.now_ms() + ms).encode()
        limits = {
            b"x-bapi-limit": b"10",
            b"x-bapi-limit-status": b"0",
            b"x-bapi-limit-reset-timestamp": reset,
        }
        answer.headers = [h for h in answer.headers if h[0].lower() not in limits]
        answer.headers += limits.items()
        return answer

    def _notices(self, request: Request) -> list[dict[str, Any]]:
        """Return the maintenance that goes on, as the system status tells it."""
        notices = []
        for fault, entry in self._board.maintenance():
            until = fault.when.until
            begin = ms(entry.since) + int(fault.when.from_ * 1000)
            end = begin + _UNKNOWN_END_MS if until is None else ms(entry.since) + int(until * 1000)
            notices.append(
                {
                    "id": str(uuid.uuid5(uuid.NAMESPACE_OID, f"{entry.judge.name}/{begin}")),
                    "title": fault.title,
                    "state": "ongoing",
                    "begin": str(begin),
                    "end": str(end),
                    "href": "",
                    "serviceTypes": [2, 3, 4, 5],
                    "product": [1, 2],
                    "uidSuffix": [],
                    "maintainType": 3,
                    "env": 1,
                }
            )
        wanted = request.params
        return [
            notice
            for notice in notices
            if all(wanted.get(key) in (None, "", notice[key]) for key in ("id", "state"))
        ]

    def _subject(self, request: Request) -> Subject:
        params = request.params
        key = self._ring.find(request.headers.get(b"x-bapi-api-key", b"").decode("latin-1"))
        rows = [params, *_mappings(params.get("request"))]
        return Subject(
            endpoint=request.path,
            method=request.method,
            account=key.account if key is not None else "",
            symbols=_texts(rows, "symbol"),
            links=_texts(rows, "orderLinkId"),
        )


def _mappings(value: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(value, list):
        yield from (row for row in value if isinstance(row, Mapping))


def _texts(rows: list[Mapping[str, Any]], key: str) -> tuple[str, ...]:
    return tuple(str(row[key]) for row in rows if row.get(key))


def _page(status: int) -> bytes:
    title = {429: "Too Many Requests", 500: "Internal Server Error", 502: "Bad Gateway"} | {
        503: "Service Temporarily Unavailable",
        504: "Gateway Time-out",
    }
    told = f"{status} {title.get(status, 'Error')}"
    return f"<html><head><title>{told}</title></head><body>{told}</body></html>".encode()
