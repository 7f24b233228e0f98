"""Promise 11: secrets are in no history, log, journal, error or metric.

A system of its own: its journal is a PostgreSQL with a password, its notices go to a webhook and to
a receiver that is down, and all that may fail does so once, for failures are what talks too much.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import hvac
import psutil
import pytest
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import create_async_engine

from tests.journal.conftest import postgresql
from tests.system.conftest import running_system
from tests.system.live_system import LIMITS, Answer, LiveSystem
from tests.webhook import PASSWORD, TOKEN, Webhook, listening
from tradewright.app import notice
from tradewright.app.services import free_port
from tradewright.domain.market import Side
from tradewright.domain.notice import NotifySettings
from tradewright.settings import Settings

__all__ = ["postgresql"]

pytestmark = pytest.mark.timeout(300)

JOURNAL_PASSWORD = "u8Jq2zLkV5xW9sTn"
VAULT_TOKEN_OF_CHAT = "T0kenOfTheChat77aQ"
"""Of a receiver that stands in Vault, not in the settings."""


@dataclass
class Run:
    """A system that has traded, suffered and told; and what was seen of it."""

    live: LiveSystem
    webhook: Webhook
    answers: list[Answer] = field(default_factory=list)

    @property
    def secrets(self) -> dict[str, bytes]:
        key, token = self.live.key, self.live.settings.vault.token
        assert token is not None
        found = {
            "API key": key.api_key.get_secret_value(),
            "API secret": key.api_secret.get_secret_value(),
            "Vault token": token.get_secret_value(),
            "journal password": JOURNAL_PASSWORD,
            "webhook token": TOKEN,
            "webhook password": PASSWORD,
            "webhook token in Vault": VAULT_TOKEN_OF_CHAT,
        }
        return {name: secret.encode() for name, secret in found.items()}

    def leaks(self, places: dict[str, bytes]) -> list[str]:
        return [
            f"{name} is in {place}"
            for place, content in places.items()
            for name, secret in self.secrets.items()
            if secret in content
        ]


async def _database(url: str) -> str:
    """Make a database whose owner has a password, and return its URL."""
    engine = create_async_engine(
        make_url(url).set(drivername="postgresql+asyncpg"), isolation_level="AUTOCOMMIT"
    )
    async with engine.connect() as connection:
        await connection.execute(
            text(f"CREATE ROLE keeper LOGIN SUPERUSER PASSWORD '{JOURNAL_PASSWORD}'")
        )
        await connection.execute(text("CREATE DATABASE secrets OWNER keeper"))
    await engine.dispose()
    named = make_url(url).set(username="keeper", password=JOURNAL_PASSWORD, database="secrets")
    return named.render_as_string(hide_password=False)


@pytest.fixture(scope="module")
async def run(tmp_path_factory: pytest.TempPathFactory, postgresql: str) -> AsyncIterator[Run]:
    with listening() as webhook:
        down = f"json://ann:{PASSWORD}@127.0.0.1:{free_port()}/hooks/{TOKEN}"
        settings = Settings(
            limits=LIMITS,
            journal=SecretStr(await _database(postgresql)),
            notify=NotifySettings.model_validate({"urls": [webhook.url, down]}),
        )
        home = tmp_path_factory.mktemp("secrets")
        async with running_system(settings, home) as live:
            run = Run(live, webhook)
            await _tell_vault(run)
            await _live_through_trouble(run)
            yield run


async def _tell_vault(run: Run) -> None:
    vault, token = run.live.settings.vault, run.live.settings.vault.token
    assert token is not None
    url = f"json://127.0.0.1:{run.webhook.port}/{VAULT_TOKEN_OF_CHAT}"

    def write() -> None:
        client = hvac.Client(url=vault.address, token=token.get_secret_value())
        path = f"{run.live.settings.vault_path}/notify"
        client.secrets.kv.v2.create_or_update_secret(path, {"chat": url}, mount_point=vault.mount)

    await asyncio.to_thread(write)


async def _live_through_trouble(run: Run) -> None:
    live = run.live
    first = await live.open("BTCUSDT")
    # What is told while all works, from Vault too
    run.answers += [await live.command("notice", "test", "--by", "ann", "-o", "json")]
    second = await live.open("ETHUSDT", Side.SELL)
    for name in ("worker", "vault", "paper-exchange", "kill-worker"):
        await live.kill_and_restart(name)
    run.webhook.status = 500
    await live.client.get_workflow_handle(first.id).signal("nonsense", {"a": 1})
    await live.leave(first)
    run.webhook.status = 200
    await live.leave(second)
    run.answers += [
        await live.command("--debug", *words)
        for words in (
            ("status",),
            ("trade", "list", "--all"),
            ("notice", "list"),
            ("notice", "test"),
            ("audit",),
            ("--address", "127.0.0.1:1", "status"),
        )
    ]


async def test_the_run_told_people_and_failed_where_it_should(run: Run) -> None:
    told, *later = run.answers
    test = told.document["notice_test"]

    assert sorted(test["delivered"]) == ["chat", "json-1"]
    assert [failure["receiver"] for failure in test["failed"]] == ["json-2"]
    assert f"/{VAULT_TOKEN_OF_CHAT}" in run.webhook.paths
    seen = await notice.notices(run.live.client, run.live.settings.account)
    assert seen.faults
    assert [answer.code for answer in later][-1] == 5


async def test_no_secret_is_in_a_history_or_in_what_a_workflow_shows(run: Run) -> None:
    places: dict[str, bytes] = {}
    async for found in run.live.client.list_workflows():
        handle = run.live.client.get_workflow_handle(found.id, run_id=found.run_id)
        events = [event.SerializeToString() async for event in handle.fetch_history_events()]
        described = (await handle.describe()).raw_description.SerializeToString()
        places[f"{found.id} {found.run_id}"] = b"".join([*events, described])
    shown = await notice.notices(run.live.client, run.live.settings.account)
    places["the query notices"] = shown.model_dump_json().encode()

    kinds = {place.partition("/")[0] for place in places}
    assert kinds >= {"trade", "account", "kill-switch", "notifier", "stream", "reconciliation"}
    assert run.leaks(places) == []


async def test_no_secret_is_in_any_file_but_the_one_that_only_its_owner_may_read(run: Run) -> None:
    live = run.live
    files = {
        str(path.relative_to(live.settings.home)): path.read_bytes()
        for path in live.settings.home.rglob("*")
        if path.is_file()
    }

    # Who starts later commands hands it the way in
    described = files.pop(live.running_file.name)
    assert live.running_file.stat().st_mode & 0o777 == 0o600
    assert run.secrets["Vault token"] in described
    assert {"paper/temporal.db", "paper/exchange.db"} <= files.keys()
    assert {"paper/logs/worker.jsonl", "paper/logs/spans.jsonl"} <= files.keys()
    assert b'"notice_not_taken"' in files["paper/logs/worker.jsonl"]
    own = _of_the_exchange(files)
    assert run.leaks(files) == []
    assert not any(run.secrets["API secret"] in content for content in own.values())


def _of_the_exchange(files: dict[str, bytes]) -> dict[str, bytes]:
    """Take out what the paper exchange writes: it has to know whose key is whose."""
    return {name: files.pop(name) for name in [n for n in files if "exchange.db" in n]}


async def test_no_secret_is_in_a_row_of_the_journal(run: Run) -> None:
    url = make_url(run.live.settings.journal_url).set(drivername="postgresql+asyncpg")
    engine = create_async_engine(url)
    rows: dict[str, bytes] = {}
    async with engine.connect() as connection:
        found = await connection.execute(
            text("SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'")
        )
        for table in [row[0] for row in found]:
            content = await connection.execute(
                text(f'SELECT row_to_json(t)::text FROM "{table}" t')
            )
            rows[table] = "\n".join(row[0] for row in content).encode()
    await engine.dispose()

    assert {"events", "trades", "executions"} <= rows.keys()
    assert b"BTCUSDT" in rows["executions"]
    assert run.leaks(rows) == []


async def test_no_secret_is_in_an_answer_or_an_error_of_the_command(run: Run) -> None:
    said = {
        f"answer {number}": (answer.out + answer.err).encode()
        for number, answer in enumerate(run.answers)
    }

    assert any(b"Traceback" in content for content in said.values())
    assert run.leaks(said) == []


async def test_no_secret_is_in_the_arguments_of_a_process(run: Run) -> None:
    arguments = {
        f"{process.name()} {process.pid}": " ".join(process.cmdline()).encode()
        for process in psutil.Process().children(recursive=True)
        if process.status() != psutil.STATUS_ZOMBIE
    }

    assert any(b"--queues" in content for content in arguments.values())
    assert run.leaks(arguments) == []
