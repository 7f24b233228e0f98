"""The local servers: Temporal's dev server and a Vault-compatible OpenBao."""

import asyncio
import contextlib
import http.client
import os
import secrets
import shutil
import socket
import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Final

import psutil
from pydantic import SecretStr
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.service import ConnectConfig, RPCError, ServiceClient

from tradewright.app.process import ProcessSpec, Ready
from tradewright.domain.errors import TradewrightError

LOOPBACK = "127.0.0.1"
ANSWER_WITHIN = 2.0
UNASSIGNED: Final = range(15_000, 32_000)
"""Ports below those of outgoing connections, on Linux (32768 and up) and elsewhere."""

SEARCH_ATTRIBUTES: Final = MappingProxyType(
    {
        "Account": "Keyword",
        "Symbol": "Keyword",
        "Preset": "Keyword",
        "PresetHash": "Keyword",
        "Side": "Keyword",
        "TradeState": "Keyword",
        "Live": "Bool",
        "RealizedPnl": "Double",
        "RiskR": "Double",
        "EntryAt": "Datetime",
        "NeedsOperator": "Bool",
    }
)

# The stock dev server polls its queues 20 times a second and fires no timer below 1 s:
# an activity costs it 50 ms more, and a skipped timer a whole second
DYNAMIC_CONFIG: Final = MappingProxyType(
    {
        "history.transferProcessorMaxPollRPS": "5000",
        "history.timerProcessorMaxPollRPS": "5000",
        "history.timerProcessorMaxPollHostRPS": "50000",
        "history.visibilityProcessorMaxPollRPS": "5000",
        "history.timerProcessorMaxTimeShift": '"1ms"',
        "matching.numTaskqueueReadPartitions": "1",
        "matching.numTaskqueueWritePartitions": "1",
    }
)

COLLECT_AFTER: Final = "50"
"""Per cent by which the server's heap grows before its garbage collector runs; Go's own is 100.

Most of a dev server's memory is garbage that nobody needs back: see `bench/README.md`.
"""


class PortTaken(TradewrightError):
    def __init__(self, port: int, service: str, holder: str, variable: str) -> None:
        super().__init__(
            f"port {port} of {service} is taken: {holder} listens there; "
            f"stop that process or choose another port with {variable}"
        )
        self.port = port


class ProgramMissing(TradewrightError):
    def __init__(self, program: str) -> None:
        super().__init__(
            f"program {program} was not found: neither beside {sys.executable} nor on the PATH; "
            f"install the development set with scripts/bootstrap.sh"
        )
        self.program = program


def program(name: str) -> str:
    """Return the path of *name*: installed with us, or else found on the PATH."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise ProgramMissing(name)
    return found


def free_port() -> int:
    """Return a loopback port that nobody listens on at this moment.

    Not one of those that the kernel gives to outgoing connections: it might give it away
    before a server listens there.
    """
    while True:
        port = secrets.choice(UNASSIGNED)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((LOOPBACK, port))
            return port


def claim_port(port: int, service: str, variable: str) -> int:
    """Return *port* if *service* may listen on it; *variable* is where another one is named.

    Raises:
        PortTaken: Somebody else does; the message names who, as far as we may see.
    """
    with socket.socket() as probe:
        # As servers do: a port in TIME_WAIT after our own restart is free
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            raise PortTaken(port, service, _holder(port), variable) from None
    return port


def temporal_arguments() -> tuple[str, ...]:
    """Return what every dev server of ours is given: its tuning and the search attributes."""
    return (
        *(f"--dynamic-config-value={key}={value}" for key, value in DYNAMIC_CONFIG.items()),
        *(f"--search-attribute={key}={kind}" for key, kind in SEARCH_ATTRIBUTES.items()),
        "--ui-disable-news-fetch",
    )


def temporal_server(
    *,
    port: int,
    log: Path,
    ui_port: int | None = None,
    namespaces: Sequence[str] = (),
    database: Path | None = None,
    survives_power_loss: bool = True,
) -> ProcessSpec:
    """Return Temporal's dev server.

    Args:
        port: Where clients connect, on the loopback interface.
        log: Takes what the server prints.
        ui_port: Where the Web UI listens; None runs without one.
        namespaces: Made at start, beside "default".
        database: SQLite file that outlives the process; None keeps all in memory.
        survives_power_loss: Wait for the disk at each commit (`synchronous=FULL`), about
            a third slower; without it a power cut may take back the last transactions.
    """
    synchronous = "FULL" if survives_power_loss else "NORMAL"
    ui = ("--headless",) if ui_port is None else (f"--ui-port={ui_port}",)
    storage = (
        (
            f"--db-filename={database}",
            "--sqlite-pragma=journal_mode=WAL",
            f"--sqlite-pragma=synchronous={synchronous}",
        )
        if database
        else ()
    )
    if database:
        database.parent.mkdir(parents=True, exist_ok=True)
    return ProcessSpec(
        name="temporal",
        argv=(
            program("temporal"),
            *("server", "start-dev", f"--ip={LOOPBACK}", f"--port={port}", "--log-level=error"),
            *ui,
            *(f"--namespace={name}" for name in namespaces if name != "default"),
            *storage,
            *temporal_arguments(),
        ),
        log=log,
        env={} if "GOGC" in os.environ else {"GOGC": COLLECT_AFTER},
        ready=temporal_ready(f"{LOOPBACK}:{port}", namespaces),
    )


def vault_server(*, port: int, token: SecretStr, log: Path) -> ProcessSpec:
    """Return an OpenBao in dev mode: unsealed, in memory, *token* is root."""
    return ProcessSpec(
        name="vault",
        argv=(
            program("bao"),
            *("server", "-dev", "-dev-no-store-token", f"-dev-listen-address={LOOPBACK}:{port}"),
            "-log-level=warn",
        ),
        log=log,
        env={"BAO_DEV_ROOT_TOKEN_ID": token.get_secret_value()},
        ready=http_ready(LOOPBACK, port, "/v1/sys/health"),
        discard_stdout=True,
    )


def http_ready(host: str, port: int, path: str) -> Ready:
    """Return the question whether ``GET path`` is answered with 200."""

    def answers() -> bool:
        connection = http.client.HTTPConnection(host, port, timeout=ANSWER_WITHIN)
        try:
            connection.request("GET", path)
            return connection.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    async def ready() -> bool:
        return await asyncio.to_thread(answers)

    return ready


def temporal_ready(address: str, namespaces: Sequence[str] = ()) -> Ready:
    """Return the question whether a Temporal server serves *namespaces* at *address*."""
    host, port = address.rsplit(":", 1)

    async def ready() -> bool:
        # A closed port is refused at once, while the gRPC client would wait
        if not await _listens(host, int(port)):
            return False
        try:
            client = await ServiceClient.connect(ConnectConfig(target_host=address))
            for name in namespaces or ("default",):
                await client.workflow_service.describe_namespace(
                    DescribeNamespaceRequest(namespace=name),
                    timeout=timedelta(seconds=ANSWER_WITHIN),
                )
        except (RPCError, RuntimeError):  # RuntimeError: the connection itself failed
            return False
        return True

    return ready


async def _listens(host: str, port: int) -> bool:
    try:
        async with asyncio.timeout(ANSWER_WITHIN):
            _, writer = await asyncio.open_connection(host, port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True


def _holder(port: int) -> str:
    with contextlib.suppress(psutil.Error):
        for connection in psutil.net_connections(kind="tcp"):
            listens = connection.status == psutil.CONN_LISTEN and connection.laddr[1:] == (port,)
            if listens and connection.pid is not None:
                return f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"
    return "another process"
