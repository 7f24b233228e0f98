"""The guard that keeps every test on this machine, and the exit that keeps its answer."""

import asyncio
import os
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import pytest
import requests

# Reserved for documentation: nothing answers there, even if the guard is broken
ELSEWHERE = "192.0.2.1"
TESTS = Path(__file__).parent

LEAVES = f"""
import socket

def test_that_forgives_itself():
    try:
        socket.create_connection(("{ELSEWHERE}", 443), timeout=0.1)
    except BaseException:
        pass

def test_that_stays():
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname()).close()
"""
TALKS_TO_TEMPORAL = """
async def test_that_ends_well(temporal):
    assert await temporal.count_workflows("") is not None
"""


class Guard(Protocol):
    attempts: list[str]


@pytest.fixture
def refused(network_guard: Guard) -> Iterator[list[str]]:
    """What the guard refused in this test; taken back at its end, or it would fail for it."""
    yield network_guard.attempts
    assert network_guard.attempts, "nothing was refused"
    network_guard.attempts.clear()


def _connect(method: str) -> Callable[[], object]:
    def connect() -> object:
        with socket.socket() as client:
            client.settimeout(0.1)
            return getattr(client, method)((ELSEWHERE, 443))

    return connect


def _send() -> object:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        return client.sendto(b"x", (ELSEWHERE, 53))


def _connect_by_ipv6() -> None:
    with socket.socket(socket.AF_INET6) as client:
        client.connect(("2001:db8::1", 443))


@pytest.mark.parametrize(
    "leave",
    [
        _connect("connect"),
        _connect("connect_ex"),
        _connect_by_ipv6,
        _send,
        lambda: socket.getaddrinfo("api.bybit.com", 443),
        lambda: requests.get("https://api.bybit.com/v5/market/time", timeout=0.1),
    ],
)
def test_there_is_no_way_out(refused: list[str], leave: Callable[[], object]) -> None:
    with pytest.raises(BaseException, match="only loopback is allowed"):
        leave()

    assert refused


async def test_asyncio_finds_no_way_out(refused: list[str]) -> None:
    with pytest.raises(BaseException, match="only loopback is allowed"):
        await asyncio.open_connection("api.bybit.com", 443)

    assert refused == ["api.bybit.com"]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_this_machine_is_open(host: str) -> None:
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        reader, writer = await asyncio.open_connection(host, server.sockets[0].getsockname()[1])
        assert await reader.read() == b"hello"
        writer.close()


async def test_unix_sockets_are_open(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind(str(tmp_path / "s"))
        server.listen()

        client.connect(str(tmp_path / "s"))


async def pytest_of(folder: Path, code: str, *options: str) -> tuple[int, str]:
    """Run *code* as a test file under this suite's own conftest."""
    shutil.copy(TESTS / "conftest.py", folder)
    (folder / "test_it.py").write_text(code)
    configuration = TESTS.parent / "pyproject.toml"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pytest", "-q", "-c", str(configuration), f"--rootdir={folder}"),
        *("-p", "no:cacheprovider", *options, str(folder / "test_it.py")),
        cwd=folder,
        env={k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "COV"))},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode()


@pytest.mark.parametrize("options", [(), ("-n1",)], ids=["alone", "xdist"])
async def test_a_test_that_leaves_fails_even_if_it_forgives_itself(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    code, output = await pytest_of(tmp_path, LEAVES, *options)

    assert code == 1
    assert "2 passed, 1 error" in output
    assert f"the test reached for {ELSEWHERE}" in output


@pytest.mark.parametrize("options", [(), ("-n1",)], ids=["alone", "xdist"])
async def test_a_suite_that_used_temporal_ends_with_its_own_status(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    code, output = await pytest_of(tmp_path, TALKS_TO_TEMPORAL, *options)

    assert (code, "1 passed" in output) == (0, True), output
