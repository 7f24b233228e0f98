"""The control side of the paper exchange, ``/paper``: clock, lockstep, audit. Loopback only."""

import ipaddress
import sqlite3
from collections.abc import Awaitable, Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, cast, get_args
from urllib.parse import urlsplit

import msgspec
from msgspec.structs import replace
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tradewright.domain.errors import TradewrightError
from tradewright.domain.market import Timeframe
from tradewright.matching import Execution, Order
from tradewright.paper import wire
from tradewright.paper.barrier import Role, Subscriber
from tradewright.paper.clock import ms, wall
from tradewright.paper.exchange import MAIN, Exchange
from tradewright.paper.ledger import ledger
from tradewright.paper.runner import Runner, last_barrier
from tradewright.preset import PresetInvalid

_DEFAULT_TIMEOUT_MS = 10_000
_MOST_TIMEOUT_MS = 60_000
_MOST_ROWS = 10_000
_MOST_PATH = 100
_NOT_UNDERSTOOD = (KeyError, ValueError, OverflowError, RecursionError, msgspec.DecodeError)


class RequestInvalid(TradewrightError):
    """What is asked for cannot be; the text says why."""


class _Subscribe(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    role: str
    symbols: tuple[str, ...] = ()
    timeframe: str | None = None


class _Done(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    at_ms: int | None = None
    barrier: int | None = None


Handler = Callable[[Request], Awaitable[dict[str, Any]]]


class Control:
    def __init__(self, exchange: Exchange, runner: Runner) -> None:
        self._exchange = exchange
        self._runner = runner
        self._barriers = exchange.barriers

    def routes(self) -> list[Route]:
        handlers: list[tuple[str, str, Handler]] = [
            ("GET", "/paper/clock", self.clock),
            ("POST", "/paper/start", self.start),
            ("POST", "/paper/subscribers", self.subscribe),
            ("DELETE", "/paper/subscribers", self.unsubscribe),
            ("POST", "/paper/done", self.done),
            ("GET", "/paper/await", self.wait_for),
            ("GET", "/paper/turn", self.turn),
            ("GET", "/paper/ledger", self.ledger),
            ("GET", "/paper/executions", self.executions),
            ("GET", "/paper/orders", self.orders),
        ]
        return [Route(path, answered(h), methods=[method]) for method, path, h in handlers]

    async def clock(self, request: Request) -> dict[str, Any]:
        exchange = self._exchange
        settings, progress = exchange.settings, exchange.progress
        return {
            "market_ms": exchange.clock.now_ms(),
            "wall_ms": ms(wall()),
            "speed": 0 if settings.is_lockstep else settings.speed,
            "lockstep": settings.is_lockstep,
            "step": progress.step,
            "phase": exchange.phase,
            "waiting_for": self._barriers.waiting_for(),
            "subscribers": sorted(self._barriers.subscribers),
            "ended": exchange.phase == "ended",
            "started": progress.started,
            "steps_total": exchange.source.steps_total,
        }

    async def start(self, request: Request) -> dict[str, Any]:
        self._runner.start()
        return {"started": True}

    async def subscribe(self, request: Request) -> dict[str, Any]:
        wish = msgspec.json.decode(await request.body(), type=_Subscribe)
        if wish.role not in get_args(Role):
            roles = ", ".join(get_args(Role))
            raise RequestInvalid(f"there is no role {wish.role!r:.60}; the roles are {roles}")
        if wish.timeframe is not None:
            Timeframe(wish.timeframe)
        known = self._barriers.subscribers.get(wish.name)
        subscriber = Subscriber(
            name=wish.name,
            role=cast(Role, wish.role),
            symbols=wish.symbols,
            timeframe=wish.timeframe,
            done_ms=known.done_ms if known else -1,
            done_barrier=known.done_barrier if known else -1,
        )
        self._exchange.store.put_subscriber(subscriber)
        self._barriers.put(subscriber)
        return {"subscribed": True}

    async def unsubscribe(self, request: Request) -> dict[str, Any]:
        name = request.query_params["name"]
        self._exchange.store.drop_subscriber(name)
        self._barriers.drop(name)
        return {"subscribed": False}

    async def done(self, request: Request) -> dict[str, Any]:
        """Note that a subscriber has come through a barrier; what lies ahead is not believed."""
        wish = msgspec.json.decode(await request.body(), type=_Done)
        known = self._barriers.subscribers.get(wish.name)
        if known is None:
            return {"accepted": False}
        # Of this step any, not only the one that stands: after a restart the step begins anew,
        # and who had seen its last barrier will not ask for the earlier ones again
        step_end = last_barrier(self._exchange.progress.step)
        if (wish.at_ms or 0) > self._exchange.clock.now_ms() or (wish.barrier or 0) > step_end:
            return {"accepted": False}
        after = replace(
            known,
            done_ms=max(known.done_ms, -1 if wish.at_ms is None else wish.at_ms),
            done_barrier=max(known.done_barrier, -1 if wish.barrier is None else wish.barrier),
        )
        if after != known:
            self._exchange.store.put_subscriber(after)
            self._barriers.put(after)
        return {"accepted": True}

    async def wait_for(self, request: Request) -> dict[str, Any]:
        name, at_ms = request.query_params["name"], int(request.query_params["at_ms"])

        def is_done() -> bool:
            subscriber = self._barriers.subscribers.get(name)
            return subscriber is None or subscriber.done_ms >= at_ms

        return {"done": await self._barriers.within(_timeout_ms(request), is_done)}

    async def turn(self, request: Request) -> dict[str, Any]:
        name = request.query_params["name"]
        after = int(request.query_params.get("after", -1))

        def is_turn() -> bool:
            standing = self._barriers.standing
            return (
                standing is not None
                and standing.phase == "settle"
                and standing.number > after
                and name in self._barriers.waiting_for()
            )

        def has_ended() -> bool:
            return self._exchange.phase == "ended"

        await self._barriers.within(_timeout_ms(request), lambda: is_turn() or has_ended())
        standing = self._barriers.standing
        if standing is None or not is_turn():
            return {"waiting": False, "ended": has_ended()}
        return {
            "waiting": True,
            "at_ms": standing.at_ms,
            "step": self._exchange.progress.step,
            "phase": standing.phase,
            "barrier": standing.number,
        }

    async def ledger(self, request: Request) -> dict[str, Any]:
        """Add up what is stored of one account, or of all of them."""
        name = request.query_params.get("account", MAIN)
        if name != "all":
            return await self._ledger(name)
        found = [await self._ledger(n) for n in list(self._exchange.engine.accounts)]
        return {
            "accounts": {row["account"]: row for row in found},
            "balanced": all(row["balanced"] for row in found),
        }

    async def _ledger(self, name: str) -> dict[str, Any]:
        exchange = self._exchange
        if name not in exchange.engine.accounts:
            raise _no_account(name)
        # What is stored must be what the account holds now
        exchange.flush()
        return await ledger(exchange.store.history, exchange.engine.accounts[name])

    async def executions(self, request: Request) -> dict[str, Any]:
        account, after, limit = self._part(request)
        found = self._exchange.store.history.executions_after(account, after, limit)
        return _listed([wire.execution_message(e) for e in found], found, limit)

    async def orders(self, request: Request) -> dict[str, Any]:
        account, after, limit = self._part(request)
        found = self._exchange.store.history.orders_after(account, after, limit)
        return _listed([wire.order_message(o) for o in found], found, limit)

    def _part(self, request: Request) -> tuple[str | None, int, int]:
        """Return whose rows are asked for (None: everybody's), after which one and how many."""
        query = request.query_params
        account = query.get("account")
        if account is not None and account not in self._exchange.engine.accounts:
            raise _no_account(account)
        limit = int(query.get("limit", _MOST_ROWS))
        return account, int(query.get("after_seq", -1)), min(max(limit, 1), _MOST_ROWS)


def _no_account(name: str) -> RequestInvalid:
    return RequestInvalid(f"there is no account {name:.60}; GET /paper/keys lists them")


def _listed(
    rows: list[dict[str, Any]], found: Sequence[Order | Execution], limit: int
) -> dict[str, Any]:
    """Return *rows*, and the ``after_seq`` of those behind them if there may be any."""
    more = {"next_after_seq": found[-1].seq} if len(found) == limit else {}
    return {"list": rows, **more}


def _timeout_ms(request: Request) -> int:
    asked = int(request.query_params.get("timeout_ms", _DEFAULT_TIMEOUT_MS))
    return min(max(asked, 0), _MOST_TIMEOUT_MS)


def answered(handler: Handler) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        if not _is_loopback(request.client.host if request.client else ""):
            return _json({"error": "only loopback may control the paper exchange"}, 403)
        if _is_of_a_page_elsewhere(request):
            return _json({"error": "no page of another site may control the paper exchange"}, 403)
        try:
            return _json(await handler(request))
        except PresetInvalid as error:
            return _json({"error": str(error), "kind": "invalid"}, 400)
        except TradewrightError as error:
            return _json({"error": str(error)}, 400)
        except _NOT_UNDERSTOOD as error:
            return _json({"error": f"request is not understood: {error}"}, 400)
        except sqlite3.Error as error:
            detail = f"state cannot be read or written: {error}; see to its disk"
            return _json({"error": detail}, 503)

    return answer


async def unrouted(request: Request, error: Exception) -> Response:
    """Answer what no route does: an unknown path, or a method that it does not take."""
    told = cast(HTTPException, error)
    path = request.url.path[:_MOST_PATH]
    is_known = told.status_code == HTTPStatus.METHOD_NOT_ALLOWED
    detail = f"{path} takes no {request.method}" if is_known else f"there is no {path}"
    return _json({"error": detail}, told.status_code, told.headers)


def _is_of_a_page_elsewhere(request: Request) -> bool:
    """Return whether a browser on this machine asks for a page that is not ours.

    Such a page may post here, though not read the answer; or it comes from a name that was made
    to mean this machine, and then it may read, too.
    """
    host = request.headers.get("host", "")
    origin = request.headers.get("origin", f"http://{host}")
    return origin != f"http://{host}" or not _is_loopback(_hostname(host))


def _hostname(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _json(
    body: dict[str, Any], status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    return Response(msgspec.json.encode(body), status, headers, "application/json")
