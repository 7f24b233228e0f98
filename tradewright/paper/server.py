"""The server: Bybit's REST and WebSocket, and the control side, on one port."""

import asyncio
import logging
import signal
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from typing import Any

import msgspec
import uvicorn
import uvloop
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute

from tradewright.domain.errors import TradewrightError
from tradewright.matching import RequestRejected
from tradewright.paper.auth import Keys, Unauthorised
from tradewright.paper.call import Answer, Call
from tradewright.paper.clock import ms, wall
from tradewright.paper.control import Control
from tradewright.paper.exchange import Exchange
from tradewright.paper.routes import ROUTES
from tradewright.paper.runner import Runner
from tradewright.paper.settings import PaperSettings
from tradewright.paper.store import Store
from tradewright.paper.stream.socket import Streams

log = logging.getLogger(__name__)


class PortTaken(TradewrightError):
    def __init__(self, host: str, port: int, detail: str) -> None:
        super().__init__(f"port {port} of {host} cannot be used: {detail}; choose another one")


class PaperExchange:
    """A running paper exchange, for a process or a test."""

    def __init__(self, exchange: Exchange, settings: PaperSettings, port: int) -> None:
        self.exchange = exchange
        self.settings = settings
        self.port = port

    @property
    def http_url(self) -> str:
        return f"http://{self.settings.host}:{self.port}"

    @property
    def stream_url(self) -> str:
        return f"ws://{self.settings.host}:{self.port}/v5"


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.answers = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.answers.set()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        # Signals belong to `serve` or to the test, not to the server inside of them
        yield


@asynccontextmanager
async def running(settings: PaperSettings) -> AsyncIterator[PaperExchange]:
    """Run the exchange in this event loop; its state is closed and complete afterwards."""
    settings = settings.with_keys()
    with (
        _listener(settings.host, settings.port) as listener,
        closing(Store(settings.state)) as store,
    ):
        exchange = Exchange(settings, store)
        async with _serving(exchange, settings, listener):
            yield PaperExchange(exchange, settings, listener.getsockname()[1])


@asynccontextmanager
async def _serving(
    exchange: Exchange, settings: PaperSettings, listener: socket.socket
) -> AsyncIterator[None]:
    runner = Runner(exchange)
    keys = Keys(settings.api_key, settings.api_secret.get_secret_value())
    config = uvicorn.Config(
        application(exchange, runner, keys),
        http="httptools",
        ws="websockets-sansio",
        lifespan="off",
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=1,
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    market = asyncio.create_task(runner.run())

    def note_failure(task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            log.critical("market stopped by an error", exc_info=error)
            exchange.broken.set()

    market.add_done_callback(note_failure)
    try:
        answers = asyncio.create_task(server.answers.wait())
        await asyncio.wait([answers, serving], return_when=asyncio.FIRST_COMPLETED)
        answers.cancel()
        yield
    finally:
        market.cancel()
        await asyncio.wait([market])
        exchange.barriers.close()
        server.should_exit = True
        await serving


def serve(
    settings: PaperSettings, on_ready: Callable[[PaperExchange], None] = lambda _: None
) -> int:
    """Serve until SIGTERM or SIGINT; return the exit code of the process.

    *on_ready* is called once, when requests are answered.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve(settings, on_ready))


async def _serve(settings: PaperSettings, on_ready: Callable[[PaperExchange], None]) -> int:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    async with running(settings) as paper:
        log.info(
            "paper exchange serves: url=%s market=%s",
            paper.http_url,
            paper.exchange.source.identity,
        )
        on_ready(paper)
        await _first_of(stopped.wait(), paper.exchange.broken.wait())
        broken = paper.exchange.broken.is_set()
    log.info("paper exchange stopped")
    return 1 if broken else 0


async def _first_of(*waits: Coroutine[Any, Any, object]) -> None:
    tasks = [asyncio.create_task(w) for w in waits]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()


def application(exchange: Exchange, runner: Runner, keys: Keys) -> Starlette:
    streams = Streams(exchange, keys)

    async def answer(request: Request) -> Response:
        return await _answer(exchange, keys, request)

    return Starlette(
        routes=[
            *Control(exchange, runner).routes(),
            WebSocketRoute("/v5/private", streams.private),
            WebSocketRoute("/v5/public/linear", streams.public),
            Route("/v5/{path:path}", answer, methods=["GET", "POST"]),
        ]
    )


async def _answer(exchange: Exchange, keys: Keys, request: Request) -> Response:
    body = await request.body()
    try:
        route = ROUTES.get((request.method, request.url.path))
        if route is None:
            raise RequestRejected(10017, "Route not found.")
        key = None
        if route.is_signed:
            payload = body if request.method == "POST" else request.scope["query_string"]
            key = keys.check(request.headers, payload, ms(wall()))
        params = _params(request, body)
        if route.has_category:
            _check_category(params)
        answer = route.handler(Call(exchange, params, key))
        if isinstance(answer, Answer):
            return _envelope(0, "OK", answer.result, answer.ext_info)
        return _envelope(0, "OK", answer)
    except Unauthorised:
        return _envelope(401, "Unauthorized", {}, status=401)
    except RequestRejected as rejection:
        return _envelope(rejection.code, rejection.text, {})


def _params(request: Request, body: bytes) -> dict[str, Any]:
    """Return the parameters; null and "" are as good as absent."""
    params: Any = dict(request.query_params)
    if request.method == "POST":
        try:
            params = msgspec.json.decode(body or b"{}")
        except msgspec.DecodeError:
            params = None
    if not isinstance(params, dict):
        raise RequestRejected(10001, "params error: body is not a JSON object")
    return {k: v for k, v in params.items() if v is not None and v != ""}


def _check_category(params: dict[str, Any]) -> None:
    category = params.get("category", "linear")
    if category != "linear":
        raise RequestRejected(10001, f"params error: category {category} is not served here")


def _envelope(
    code: int,
    text: str,
    result: dict[str, Any],
    ext_info: dict[str, Any] | None = None,
    status: int = 200,
) -> Response:
    now_ms = ms(wall())
    body = {
        "retCode": code,
        "retMsg": text,
        "result": result,
        "retExtInfo": ext_info or {},
        "time": now_ms,
    }
    headers = {"Timenow": str(now_ms), "Ret_code": str(code)}
    return Response(msgspec.json.encode(body), status, headers, "application/json")


def _listener(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    # Connections inherit it; asyncio sets it only where it knows the protocol. Without it an
    # answer of two packets waits 40 ms for the client's acknowledgement
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(1024)
    except OSError as error:
        listener.close()
        raise PortTaken(host, port, error.strerror or str(error)) from error
    return listener
