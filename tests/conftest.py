"""What every test may use: the real servers, a closed network, and valid things.

One Temporal server and one Vault per test process (per xdist worker), started when first asked
for. Workflows started through `temporal` skip time at once; a test that wants to act in between
starts them under ``temporal_env.with_time_skipping_disabled()`` and moves their clock with
``temporal_env.fast_forward(handle, duration)``.
"""

import atexit
import gc
import logging
import os
import socket
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from decimal import Decimal
from ipaddress import ip_address
from typing import Any

import hypothesis
import pytest
from pydantic import SecretStr
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment

from tradewright.app import services
from tradewright.app.process import running
from tradewright.converter import DATA_CONVERTER
from tradewright.domain.market import Instrument
from tradewright.settings import VaultSettings

# A busy machine is no reason to fail
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")

MakeInstrument = Callable[..., Instrument]

TIME_SKIPPING = {
    "frontend.WorkflowTimeSkippingEnabled": "true",
    # Beyond the stock limit of 200 skips the server falls back to real time without a word
    "frontend.WorkflowTimeSkippingMaxSkipPerSession": "1000000",
}


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    # Threads of temporalio's native part crash or hang an interpreter that finalises
    # (temporalio/sdk-python#300), and with it the exit code of the whole suite
    @atexit.register
    def leave() -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(session.exitstatus)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # Modules that run a whole system take longest: begun last, one worker would wait for them
    items.sort(key=lambda item: not item.nodeid.startswith(("tests/system", "tests/promises")))


def pytest_collectstart() -> None:
    # Thousands of modules are imported, and none of them leaves again
    gc.disable()


def pytest_collection_finish() -> None:
    # What was imported stays: looking through all of it again and again takes a tenth of the time,
    # and stops a workflow for longer than Temporal lets one stand still
    gc.collect()
    gc.freeze()
    gc.enable()
    # A thread may log when the test that captured its output is over
    logging.raiseExceptions = False


class NetworkForbidden(BaseException):
    """A test tried to leave the machine; not an Exception, so that no retry swallows it."""


class NetworkGuard:
    """Lets sockets of Python reach this machine only.

    Native code (Temporal's client, uvloop) and child processes do not pass through here; they
    are given loopback addresses by what starts them.
    """

    def __init__(self) -> None:
        self.attempts: list[str] = []

    def check(self, host: object) -> None:
        name = host.decode() if isinstance(host, bytes) else host
        if name is None or name in {"", "localhost"}:
            return
        try:
            if ip_address(str(name).split("%")[0]).is_loopback:
                return
        except ValueError:
            pass
        self.attempts.append(str(name))
        raise NetworkForbidden(f"test reached for {name}; only loopback is allowed")


@pytest.fixture(scope="session")
def _guarded_sockets() -> Iterator[NetworkGuard]:
    guard = NetworkGuard()
    inet = {socket.AF_INET, socket.AF_INET6}
    resolve = socket.getaddrinfo

    def guarded(name: str) -> Callable[..., Any]:
        original = getattr(socket.socket, name)

        def method(self: socket.socket, *args: Any) -> Any:
            # The address is the last argument, of `sendto` too
            if self.family in inet:
                guard.check(args[-1][0])
            return original(self, *args)

        return method

    def getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        guard.check(host)
        return resolve(host, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        for name in ("connect", "connect_ex", "sendto"):
            patch.setattr(socket.socket, name, guarded(name))
        patch.setattr(socket, "getaddrinfo", getaddrinfo)
        yield guard


@pytest.fixture(autouse=True)
def network_guard(_guarded_sockets: NetworkGuard) -> Iterator[NetworkGuard]:
    """Fail the test that tries to leave loopback, even if it survives the refusal."""
    _guarded_sockets.attempts.clear()
    yield _guarded_sockets
    attempts = list(_guarded_sockets.attempts)
    _guarded_sockets.attempts.clear()
    if attempts:
        pytest.fail(f"the test reached for {', '.join(attempts)}; only loopback is allowed")


@pytest.fixture
def free_port() -> int:
    return services.free_port()


@pytest.fixture(scope="session")
async def temporal_env(
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[WorkflowEnvironment]:
    """A real Temporal server, in memory, that skips the time of the workflows it runs."""
    environment = await WorkflowEnvironment.start_time_skipping_v2(
        data_converter=DATA_CONVERTER,
        dev_server_existing_path=services.program("temporal"),
        dev_server_log_level="error",
        dev_server_extra_args=[
            *services.temporal_arguments(),
            *(f"--dynamic-config-value={key}={value}" for key, value in TIME_SKIPPING.items()),
        ],
    )
    yield environment
    await environment.shutdown()


@pytest.fixture(scope="session")
def temporal(temporal_env: WorkflowEnvironment) -> Client:
    return temporal_env.client


@pytest.fixture(scope="session")
async def vault_server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[VaultSettings]:
    """A real OpenBao; its settings hold the root token."""
    port, token = services.free_port(), SecretStr(uuid.uuid4().hex)
    log = tmp_path_factory.mktemp("vault") / "vault.log"
    async with running(services.vault_server(port=port, token=token, log=log)):
        yield VaultSettings(address=f"http://127.0.0.1:{port}", token=token)


@pytest.fixture
def vault(vault_server: VaultSettings) -> VaultSettings:
    """The way to a Vault in which nobody has written yet."""
    path = f"tests/{uuid.uuid4().hex}/{{venue}}/{{account}}"
    return vault_server.model_copy(update={"path": path})


@pytest.fixture
def make_instrument() -> MakeInstrument:
    def make(**changes: Any) -> Instrument:
        fields = {
            "symbol": "BTCUSDT",
            "base_coin": "BTC",
            "tick_size": Decimal("0.1"),
            "qty_step": Decimal("0.001"),
            "min_qty": Decimal("0.001"),
            "max_qty": Decimal(1000),
            "max_market_qty": Decimal(100),
        }
        return Instrument.model_validate(fields | changes)

    return make
