"""The server: Bybit's REST and WebSocket, and the control side, on one port."""

import asyncio
import logging
import signal
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from typing import Any

import uvicorn
import uvloop
from starlette.applications import Starlette
from starlette.exceptions import HTTPException

from tradewright.domain.errors import TradewrightError
from tradewright.paper import access, director, window
from tradewright.paper.control import Control, unrouted
from tradewright.paper.exchange import Exchange
from tradewright.paper.fault.place import Faults
from tradewright.paper.gateway import Gateway
from tradewright.paper.keys import ApiKey, KeyRing
from tradewright.paper.limits import Limits
from tradewright.paper.market.identity import in_words
from tradewright.paper.runner import Runner
from tradewright.paper.settings import PaperSettings
from tradewright.paper.store import Store
from tradewright.paper.stream.socket import Streams
from tradewright.paper.transport import App, HttpProtocol, Receive, Scope, Send, StreamProtocol

log = logging.getLogger(__name__)

_KEEP_ALIVE_S = 75
_MOST_FRAME = 2**20
_TICK_S, _LOOK_S, _LAST_ANSWERS_S = 0.1, 0.002, 1.0


class PortTaken(TradewrightError):
    def __init__(self, host: str, port: int, detail: str) -> None:
        super().__init__(f"port {port} of {host} cannot be used: {detail}; choose another one")


class PaperExchange:
    """A running paper exchange, for a process or a test."""

    def __init__(
        self, exchange: Exchange, door: "Door", port: int, made_up_key: ApiKey | None
    ) -> None:
        self.exchange = exchange
        self.door = door
        self.settings = exchange.settings
        self.port = port
        self.made_up_key = made_up_key
        """The first key, if it is new and was not named in the settings."""

    @property
    def http_url(self) -> str:
        return f"http://{self.settings.host}:{self.port}"

    @property
    def stream_url(self) -> str:
        return f"ws://{self.settings.host}:{self.port}/v5"


class _Server(uvicorn.Server):
    """uvicorn's, but it stops when it is told to: the original naps before it looks."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.answers = asyncio.Event()
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        self.should_exit = True
        self._stopping.set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.answers.set()

    async def main_loop(self) -> None:
        ticks = 0
        while not await self.on_tick(ticks):
            ticks += 1
            with suppress(TimeoutError):
                async with asyncio.timeout(_TICK_S):
                    await self._stopping.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End all connections; what is not answered by then has a second."""
        for server in self.servers:
            server.close()
        state = self.server_state
        for connection in list(state.connections):
            connection.shutdown()
        with suppress(TimeoutError):
            async with asyncio.timeout(_LAST_ANSWERS_S):
                while state.connections or state.tasks:  # noqa: ASYNC110 - uvicorn tells nobody
                    await asyncio.sleep(_LOOK_S)
        for task in state.tasks:
            task.cancel()
        for connection in list(state.connections):
            connection.transport.abort()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        # Signals belong to `serve` or to the test, not to the server inside of them
        yield


@asynccontextmanager
async def running(settings: PaperSettings) -> AsyncIterator[PaperExchange]:
    """Run the exchange in this event loop; its state is closed and complete afterwards."""
    with (
        _listener(settings.host, settings.port) as listener,
        closing(Store(settings.state)) as store,
    ):
        exchange = Exchange(settings, store)
        ring, made_up_key = access.ring_of(exchange)
        runner = Runner(exchange)
        door = Door(exchange, runner, ring)
        async with _serving(exchange, runner, door, listener):
            yield PaperExchange(exchange, door, listener.getsockname()[1], made_up_key)


@asynccontextmanager
async def _serving(
    exchange: Exchange, runner: Runner, door: "Door", listener: socket.socket
) -> AsyncIterator[None]:
    config = uvicorn.Config(
        door,
        http=HttpProtocol,
        ws=StreamProtocol,
        ws_max_size=_MOST_FRAME,
        # Bybit waits for its clients' pings, and cuts them off only after minutes without
        ws_ping_interval=None,
        timeout_keep_alive=_KEEP_ALIVE_S,
        server_header=False,
        # Whoever asks is who connects, whatever a header says
        proxy_headers=False,
        # One request may start the next on its connection; what befell it goes no further
        reset_contextvars=True,
        lifespan="off",
        log_config=None,
        access_log=False,
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    market = asyncio.create_task(runner.run())
    watch = asyncio.create_task(door.streams.watch())

    def note_failure(task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            log.critical("market stopped by an error", exc_info=error)
            exchange.broken.set()

    market.add_done_callback(note_failure)
    try:
        answers = asyncio.create_task(server.answers.wait())
        await asyncio.wait([answers, serving], return_when=asyncio.FIRST_COMPLETED)
        answers.cancel()
        door.faults.begin()
        yield
    finally:
        market.cancel()
        watch.cancel()
        door.faults.close()
        await asyncio.wait([market, watch])
        exchange.barriers.close()
        server.stop()
        await serving
        exchange.close()


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
            in_words(paper.exchange.source.identity),
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


class Door:
    """What comes in on the port: Bybit's two sides below ``/v5``, ours elsewhere."""

    def __init__(self, exchange: Exchange, runner: Runner, ring: KeyRing) -> None:
        settings = exchange.settings
        self.ring = ring
        limits = Limits(settings.rate_scale, int(settings.ip_ban_s * 1000))
        self.gateway = Gateway(exchange, ring, limits)
        self.streams = Streams(exchange.feed.hub, exchange.feed, ring, limits, settings)
        self.faults = Faults(exchange, self.gateway, self.streams, ring)
        self._site = Starlette(
            routes=[
                *Control(exchange, runner).routes(),
                *access.routes(exchange, ring),
                *self.faults.routes(),
                *director.routes(exchange),
                *window.routes(exchange, self.faults.told),
            ],
            exception_handlers={HTTPException: unrouted},
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app: App = self._site
        if scope["path"].startswith("/v5/"):
            app = self.gateway if scope["type"] == "http" else self.faults.streams
        await app(scope, receive, send)


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
