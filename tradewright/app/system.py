"""The whole system on one machine: servers, paper exchange and workers, as child processes."""

import asyncio
import fcntl
import json
import secrets
import shutil
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import SecretStr

from activities.secrets import ExchangeKey, VaultRefused, VaultSecrets, VaultUnreachable
from tradewright import ids
from tradewright.app.process import ProcessSpec, Ready
from tradewright.app.services import (
    LOOPBACK,
    claim_port,
    free_port,
    http_ready,
    temporal_server,
    vault_server,
)
from tradewright.app.supervisor import Supervisor
from tradewright.domain.errors import TradewrightError
from tradewright.domain.market import Value
from tradewright.settings import (
    PREFIX,
    RUNNING_FILE,
    Settings,
    TemporalSettings,
    VaultSettings,
    Venue,
)

LOCK_FILE = ".lock"
SEEDED_WITHIN = 15.0
READY_WITHIN = 60.0


class Market(Value):
    """What the paper exchange plays; see `tradewright paper --help`."""

    speed: str = "1"
    arguments: tuple[str, ...] = ()
    durable: bool = True
    """Whether the exchange and Temporal keep their state in files."""


def on_free_ports(settings: Settings, home: Path) -> Settings:
    """Return *settings* moved to *home* and to ports that nobody listens on."""
    temporal, ui, vault, paper = (free_port() for _ in range(4))
    return _placed(settings, home, temporal=temporal, ui=ui, vault=vault, paper=paper)


def on_own_ports(settings: Settings) -> Settings:
    """Return *settings* with its fixed ports.

    Raises:
        HomeTaken: The system of this folder runs already.
        PortTaken: Somebody else listens on one of them.
    """
    # Its ports are taken then too, but not by somebody to be stopped
    with claimed(settings.home):
        pass
    for url, service, variable in (
        (f"//{settings.temporal.address}", "Temporal", "TEMPORAL__ADDRESS"),
        (settings.temporal.ui_url, "the Temporal Web UI", "TEMPORAL__UI_URL"),
        (settings.vault.address, "Vault", "VAULT__ADDRESS"),
        (settings.paper_url, "the paper exchange", "PAPER_URL"),
    ):
        claim_port(urlsplit(url).port or 80, service, f"{PREFIX}{variable}={_elsewhere(url)}")
    return _with_secrets(settings)


def _elsewhere(url: str) -> str:
    """Return *url* on the next port, as its setting is written."""
    port = urlsplit(url).port or 80
    return url.removeprefix("//").replace(f":{port}", f":{port + 1}")


def _placed(
    settings: Settings, home: Path, *, temporal: int, ui: int, vault: int, paper: int
) -> Settings:
    moved = settings.model_copy(
        update={
            "home": home,
            "venue": Venue.PAPER,
            "paper_url": f"http://{LOOPBACK}:{paper}",
            "temporal": TemporalSettings(
                address=f"{LOOPBACK}:{temporal}", ui_url=f"http://{LOOPBACK}:{ui}"
            ),
            "vault": VaultSettings(address=f"http://{LOOPBACK}:{vault}"),
        }
    )
    return _with_secrets(moved)


def _with_secrets(settings: Settings) -> Settings:
    """Return *settings* with a root token for the local Vault and a key for the exchange."""
    vault = settings.vault.model_copy(update={"token": SecretStr(secrets.token_hex(16))})
    return settings.model_copy(
        update={
            "vault": vault,
            "paper_api_key": settings.paper_api_key or SecretStr(secrets.token_hex(9)),
            "paper_api_secret": settings.paper_api_secret or SecretStr(secrets.token_hex(18)),
        }
    )


@asynccontextmanager
async def system(
    settings: Settings, market: Market, tell: Callable[[str], None] = lambda _: None
) -> AsyncIterator[Supervisor]:
    """Run everything for the length of the block; no process outlives it.

    Args:
        settings: Where everything is.
        market: What the exchange plays.
        tell: Told of each process that ended by itself and was started again.

    Raises:
        HomeTaken: Another system runs with the same files.
        ProcessNotReady: One of the processes does not come up.
        Interrupted: SIGINT or SIGTERM came; all are stopped.
    """
    with claimed(settings.home):
        async with _running(settings, market, tell) as supervisor:
            yield supervisor


@asynccontextmanager
async def _running(
    settings: Settings, market: Market, tell: Callable[[str], None]
) -> AsyncIterator[Supervisor]:
    async with Supervisor(tell=tell) as supervisor:
        await _start(supervisor, settings, market)
        with _described(settings):
            yield supervisor


async def _start(supervisor: Supervisor, settings: Settings, market: Market) -> None:
    """Start everything as early as may be: waiting for one process is time for another."""
    try:
        async with asyncio.TaskGroup() as starting:
            # Workers ask the exchange again where it is late, but need the servers from the first
            starting.create_task(supervisor.start(_paper(settings, market)))
            async with asyncio.TaskGroup() as first:
                for spec in _servers(settings, market):
                    first.create_task(supervisor.start(spec))
            for spec in _workers(settings):
                starting.create_task(supervisor.start(spec))
    except ExceptionGroup as group:
        raise _cause(group) from None


def _cause(group: ExceptionGroup[Exception]) -> Exception:
    """Return the first fault: the others were only cut short by it."""
    first = group.exceptions[0]
    return _cause(first) if isinstance(first, ExceptionGroup) else first


@contextmanager
def _described(settings: Settings) -> Iterator[None]:
    """Leave word of where the system runs, for commands that come later; it holds a token."""
    file = settings.home / RUNNING_FILE
    file.touch(mode=0o600)
    file.write_text(json.dumps(settings.document(), indent=2), encoding="utf-8")
    try:
        yield
    finally:
        file.unlink(missing_ok=True)


class HomeTaken(TradewrightError):
    """Two systems that share their files would destroy each other's."""

    def __init__(self, home: Path) -> None:
        super().__init__(
            f"a system runs in {home} already: look at it with `tradewright --settings "
            f"{home / RUNNING_FILE} status`, stop it with Ctrl-C where it was started, or give "
            f"this one a folder of its own with TRADEWRIGHT_HOME"
        )
        self.home = home


@contextmanager
def claimed(home: Path) -> Iterator[None]:
    """Keep every other system out of *home*, also should this process be killed."""
    home.mkdir(parents=True, exist_ok=True)
    with (home / LOCK_FILE).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise HomeTaken(home) from None
        yield


def forget(home: Path) -> None:
    """Remove the state of an earlier run that nobody goes on with.

    Raises:
        HomeTaken: The run still goes on.
    """
    with claimed(home):
        shutil.rmtree(home, ignore_errors=True)


def _servers(settings: Settings, market: Market) -> tuple[ProcessSpec, ...]:
    temporal = settings.temporal
    _, temporal_port = temporal.address.rsplit(":", 1)
    state, logs = settings.state, settings.logs
    state.mkdir(parents=True, exist_ok=True)
    token = settings.vault.token
    assert token is not None  # noqa: S101 - _with_secrets has set it

    async def seed_vault() -> None:
        # A dev-mode Vault forgets all at its end, so each start writes the key again
        key, secret = settings.paper_api_key, settings.paper_api_secret
        assert key is not None and secret is not None  # noqa: S101, PT018 - as above
        vault, pair = VaultSecrets.of(settings), ExchangeKey(api_key=key, api_secret=secret)
        deadline = asyncio.get_running_loop().time() + SEEDED_WITHIN
        while True:
            try:
                return await vault.write_exchange_key(pair)
            except (VaultRefused, VaultUnreachable):
                # It says that it is healthy a moment before its key-value store takes anything
                if asyncio.get_running_loop().time() > deadline:
                    raise
                await asyncio.sleep(0.1)

    vault = replace(
        vault_server(port=_port(settings.vault.address), token=token, log=logs / "vault.log"),
        seed=seed_vault,
    )
    return (
        temporal_server(
            port=int(temporal_port),
            ui_port=_port(temporal.ui_url),
            log=logs / "temporal.log",
            namespaces=(settings.namespace,),
            database=state / "temporal.db" if market.durable else None,
        ),
        vault,
    )


def _workers(settings: Settings) -> tuple[ProcessSpec, ...]:
    presets = (ids.QUEUE_PRESETS,) if settings.presets else ()
    return (
        _worker(settings, "worker", ("trading", "market", "stream", *presets)),
        _worker(settings, "kill-worker", (ids.QUEUE_KILL,)),
    )


def _paper(settings: Settings, market: Market) -> ProcessSpec:
    port = _port(settings.paper_url)
    key, secret = settings.paper_api_key, settings.paper_api_secret
    state = ("--state", str(settings.state / "exchange.db")) if market.durable else ()
    return ProcessSpec(
        name="paper-exchange",
        argv=_command(
            *("paper", "--port", str(port), "--speed", market.speed, *state, *market.arguments)
        ),
        env={
            "TRADEWRIGHT_PAPER_API_KEY": key.get_secret_value() if key else "",
            "TRADEWRIGHT_PAPER_API_SECRET": secret.get_secret_value() if secret else "",
        },
        log=settings.logs / "paper-exchange.log",
        ready=http_ready(LOOPBACK, port, "/paper/clock"),
    )


def _worker(settings: Settings, name: str, queues: tuple[str, ...]) -> ProcessSpec:
    ready = settings.state / f"{name}.ready"
    ready.unlink(missing_ok=True)
    # Workers ask Vault for the key, as on any other venue
    keyless = settings.model_copy(update={"paper_api_key": None, "paper_api_secret": None})
    return ProcessSpec(
        name=name,
        argv=_command(
            "worker", "--queues", ",".join(queues), "--name", name, "--ready-file", str(ready)
        ),
        env=keyless.environment(),
        log=settings.logs / f"{name}.log",
        ready=_appears(ready),
        ready_within=READY_WITHIN,
    )


def _command(*arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "tradewright", *arguments)


def _appears(path: Path) -> Ready:
    """Return the question whether the child has made the file; asked anew after a restart."""

    def take() -> bool:
        try:
            path.unlink()
        except FileNotFoundError:
            return False
        return True

    async def ready() -> bool:
        return await asyncio.to_thread(take)

    return ready


def _port(url: str) -> int:
    port = urlsplit(url).port
    if port is None:
        raise ValueError(f"url {url} names no port")
    return port
