"""The local servers, as they really run."""

import signal
import socket
from pathlib import Path

import hvac
import psutil
import pytest
from pydantic import SecretStr
from temporalio import workflow
from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest
from temporalio.client import Client
from temporalio.common import SearchAttributeKey, SearchAttributePair, TypedSearchAttributes

from tradewright.app import services
from tradewright.app.process import running
from tradewright.app.services import (
    SEARCH_ATTRIBUTES,
    PortTaken,
    ProgramMissing,
    claim_port,
    http_ready,
    program,
    temporal_ready,
    temporal_server,
    vault_server,
)
from tradewright.app.system import (
    HomeTaken,
    Market,
    claimed,
    forget,
    on_free_ports,
    on_own_ports,
    system,
)
from tradewright.settings import Settings

PRESET = SearchAttributeKey.for_keyword("Preset")


@workflow.defn
class Waiting:
    @workflow.run
    async def run(self) -> None:
        await workflow.wait_condition(lambda: False)


def test_a_port_that_is_in_use_is_never_called_free(monkeypatch: pytest.MonkeyPatch) -> None:
    free = services.free_port()
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        monkeypatch.setattr(services, "UNASSIGNED", [holder.getsockname()[1], free])

        assert {services.free_port() for _ in range(50)} == {free}


async def test_temporal_keeps_what_runs_when_it_is_killed(tmp_path: Path, free_port: int) -> None:
    spec = temporal_server(
        port=free_port,
        log=tmp_path / "temporal.log",
        namespaces=["paper"],
        database=tmp_path / "state" / "temporal.db",
    )
    async with running(spec) as server:
        client = await Client.connect(f"127.0.0.1:{free_port}", namespace="paper")
        await client.start_workflow(
            Waiting.run,
            id="waiting",
            task_queue="none",
            search_attributes=TypedSearchAttributes([SearchAttributePair(PRESET, "ema")]),
        )
        server.send(signal.SIGKILL)

    async with running(spec):
        client = await Client.connect(f"127.0.0.1:{free_port}", namespace="paper")
        found = await client.get_workflow_handle("waiting").describe()

    assert found.typed_search_attributes[PRESET] == "ema"


async def test_every_namespace_knows_our_search_attributes(tmp_path: Path, free_port: int) -> None:
    spec = temporal_server(port=free_port, log=tmp_path / "temporal.log", namespaces=["paper"])

    async with running(spec):
        client = await Client.connect(f"127.0.0.1:{free_port}")
        answers = [
            await client.operator_service.list_search_attributes(
                ListSearchAttributesRequest(namespace=namespace)
            )
            for namespace in ("default", "paper")
        ]

    assert all(set(SEARCH_ATTRIBUTES) <= set(answer.custom_attributes) for answer in answers)


async def test_the_web_ui_listens_where_it_was_told_to(tmp_path: Path, free_port: int) -> None:
    spec = temporal_server(port=services.free_port(), ui_port=free_port, log=tmp_path / "t.log")

    async with running(spec):
        assert await http_ready("127.0.0.1", free_port, "/")()


async def test_the_token_of_vault_is_in_no_log_and_in_no_argument(
    tmp_path: Path, free_port: int
) -> None:
    token, log = SecretStr("kq83-root-token"), tmp_path / "vault.log"

    async with running(vault_server(port=free_port, token=token, log=log)) as server:
        arguments = " ".join(psutil.Process(server.pid).cmdline())
        client = hvac.Client(f"http://127.0.0.1:{free_port}", token=token.get_secret_value())

        assert client.is_authenticated()
        assert token.get_secret_value() not in arguments + log.read_text()


async def test_a_server_that_is_not_there_is_not_ready(free_port: int) -> None:
    assert not await temporal_ready(f"127.0.0.1:{free_port}")()
    assert not await http_ready("127.0.0.1", free_port, "/")()


async def test_temporal_without_the_namespace_is_not_ready(temporal: Client) -> None:
    address = temporal.service_client.config.target_host

    assert await temporal_ready(address)()
    assert not await temporal_ready(address, ["elsewhere"])()


def test_a_free_port_may_be_claimed(free_port: int) -> None:
    assert claim_port(free_port, "the Web UI", "X") == free_port


def test_a_taken_port_is_refused_with_its_holder() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        with pytest.raises(PortTaken, match=rf"port {port} of the Web UI .* \(pid \d+\).*choose"):
            claim_port(port, "the Web UI", "X")


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("TRADEWRIGHT_TEMPORAL__ADDRESS", "127.0.0.1:{}"),
        ("TRADEWRIGHT_TEMPORAL__UI_URL", "http://127.0.0.1:{}"),
        ("TRADEWRIGHT_VAULT__ADDRESS", "http://127.0.0.1:{}"),
        ("TRADEWRIGHT_PAPER_URL", "http://127.0.0.1:{}"),
    ],
)
def test_who_meets_a_taken_port_reads_how_to_choose_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    home = on_free_ports(Settings(), tmp_path / "home")
    for name, text in home.environment().items():
        monkeypatch.setenv(name, text)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setenv(variable, value.format(port))

        with pytest.raises(PortTaken, match=f"port with {variable}={value.format(port + 1)}$"):
            on_own_ports(Settings.load())


def test_a_missing_program_is_named() -> None:
    with pytest.raises(ProgramMissing, match="program temporel was not found"):
        program("temporel")


async def test_two_systems_never_share_a_folder(tmp_path: Path) -> None:
    settings = on_free_ports(Settings(), tmp_path / "home")
    forget(settings.home)

    with claimed(settings.home):
        with pytest.raises(HomeTaken, match="already"):
            forget(settings.home)
        with pytest.raises(HomeTaken):
            on_own_ports(settings)
        with pytest.raises(HomeTaken):
            async with system(settings, Market()):
                pass

    forget(settings.home)
    assert not settings.home.exists()
