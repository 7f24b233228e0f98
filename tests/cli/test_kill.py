"""`kill`, as a person and a program call it: without Temporal, and while it flattens."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
import structlog
from pydantic import SecretStr
from temporalio import activity

from activities.bybit import BybitClient
from activities.secrets import ExchangeKey
from tests.cli.conftest import Answer, Call, System
from tests.cli.scripted import ScriptedDesk
from tradewright import ids
from tradewright.app import direct
from tradewright.app.connect import opened_journal
from tradewright.domain import gate
from tradewright.domain.gate import GateState
from tradewright.journal import Journal
from tradewright.paper import PaperExchange, PaperSettings, running
from tradewright.ports import Exposure, TripOrder
from tradewright.settings import Settings

KEY, SECRET = "kX81mmQz40vb", "sR72LLpe93ha5Tq1"
TRIP = ("kill", "trip", "--direct", "--by", "ann", "--reason", "fire")


HINT = "`tradewright kill rearm --by NAME --reason WHY` opens the gate again"


class Person:
    async def exchange_key(self) -> ExchangeKey:
        return ExchangeKey(api_key=SecretStr(KEY), api_secret=SecretStr(SECRET))


@pytest.fixture
async def paper(monkeypatch: pytest.MonkeyPatch, call: Call) -> AsyncIterator[PaperExchange]:
    """An exchange on which one position is held; Temporal and Vault are away."""
    monkeypatch.setattr(gate, "QUIET_TIME", timedelta(seconds=0.2))
    monkeypatch.setattr(direct, "ROW_FIRST", 30)
    monkeypatch.setattr(direct, "ROW_LAST", 0.1)
    settings = PaperSettings(
        port=0,
        api_key=KEY,
        api_secret=SecretStr(SECRET),
        speed="lockstep",
        symbols=("BTCUSDT",),
        history=2,
    )
    async with running(settings) as exchange:
        monkeypatch.setenv("TRADEWRIGHT_PAPER_URL", exchange.http_url)
        monkeypatch.setenv("TRADEWRIGHT_VAULT__ADDRESS", "http://127.0.0.1:1")
        monkeypatch.setenv("TRADEWRIGHT_VAULT__TOKEN", "a-token")
        client = BybitClient(exchange.http_url, Person())
        order = {"symbol": "BTCUSDT", "side": "Buy", "orderType": "Market", "qty": "0.1"}
        await client.call("place_order", category="linear", **order)
        client.close()
        yield exchange
    # The command sets up the logs of its process, which here is everybody's
    root = logging.getLogger()
    for handler in [h for h in root.handlers if getattr(h, "is_tradewright", False)]:
        root.removeHandler(handler)
        handler.close()
    root.setLevel(logging.WARNING)
    structlog.reset_defaults()


@pytest.fixture
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BYBIT_API_KEY", KEY)
    monkeypatch.setenv("BYBIT_API_SECRET", SECRET)


keyed = pytest.mark.usefixtures("_key")


@pytest.fixture
async def journal(tmp_path: Path) -> Settings:
    settings = Settings(home=tmp_path / "state")
    async with opened_journal(settings, create=True):
        pass
    return settings


def held(paper: PaperExchange) -> bool:
    return bool(paper.exchange.engine.accounts["main"].positions["BTCUSDT"].size)


async def tripped(call: Call, *more: str) -> Answer:
    return await asyncio.to_thread(call, *TRIP, *more)


@keyed
async def test_it_ends_with_0_when_flat_and_the_gate_is_closed(
    call: Call, paper: PaperExchange, journal: Settings
) -> None:
    answer = await tripped(call)

    assert answer.code == 0, answer.err
    assert not held(paper)
    assert answer.out.startswith("main: flat, read twice, no order left; 1 positions closed, ")
    assert "held: 1 positions (BTCUSDT Buy 0.1), 0 orders" in answer.err
    assert "tradewright kill rearm" in answer.err
    async with opened_journal(journal) as opened:
        row = await opened.gate("main")
    assert row is not None
    assert (row.state, row.by, row.reason) == (GateState.HALTED, "ann", "fire")


@keyed
async def test_flat_with_a_gate_that_could_not_be_closed_ends_with_5_and_says_so(
    call: Call, paper: PaperExchange
) -> None:
    answer = await tripped(call)

    assert answer.code == 5
    assert not held(paper)
    assert "the gate could not be closed: journal " in answer.err
    assert "the kill worker takes the record in when it is back: " in answer.err


@keyed
async def test_a_program_gets_one_document_and_its_progress_as_json_lines(
    call: Call, paper: PaperExchange, journal: Settings
) -> None:
    answer = await tripped(call, "--output", "json")

    trip = answer.document["direct_trip"]
    assert (answer.code, answer.document["kind"]) == (0, "direct_trip")
    assert (trip["closed"], trip["by"], trip["gate_fault"]) == (1, "ann", "")
    lines = [json.loads(line) for line in answer.err.splitlines() if line.startswith("{")]
    assert [line["positions"] for line in lines if line["positions"] is not None][-1] == 0
    assert "flat" in lines[-1]["step"]


async def test_without_a_key_it_says_where_to_put_one(call: Call, paper: PaperExchange) -> None:
    answer = await tripped(call)

    assert answer.code == 5
    assert held(paper)
    assert "BYBIT_API_KEY and BYBIT_API_SECRET are not set" in answer.err
    assert "error: vault http://127.0.0.1:1 does not answer" in answer.err


@keyed
async def test_no_secret_is_printed_or_written(
    call: Call, paper: PaperExchange, tmp_path: Path
) -> None:
    answer = await tripped(call, "--output", "json")

    files = [path for path in (tmp_path / "state").rglob("*") if path.is_file()]
    written = "".join(path.read_text(errors="replace") for path in files)
    assert files
    for text in (answer.out, answer.err, written):
        assert KEY not in text
        assert SECRET not in text


async def test_where_temporal_is_away_a_trip_names_the_way_without_it(call: Call) -> None:
    answer = await asyncio.to_thread(call, "kill", "trip", "--by", "ann")

    assert answer.code == 5
    assert "tradewright kill trip --direct" in answer.err


class HeldDesk(ScriptedDesk):
    """A desk that is not flat before it is let go."""

    def __init__(self, journal: Journal) -> None:
        super().__init__(journal)
        self.let_go = asyncio.Event()

    @activity.defn
    async def flatten_all(self, order: TripOrder) -> Exposure:
        await self.let_go.wait()
        return await super().flatten_all(order)


async def test_a_rearm_during_the_flatten_asks_for_no_other(system: System) -> None:
    system.desk = desk = HeldDesk(system.journal)
    async with system.workers(ids.QUEUE_TRADING, ids.QUEUE_KILL):
        await system.start_singletons()
        tripped = await system.call("kill", "trip", "--by", "ann", "--reason", "fire")
        rearmed = await system.call("kill", "rearm", "--by", "bea", "--reason", "it is out")
        desk.let_go.set()

    assert HINT in tripped.out
    assert rearmed.code == 0, rearmed.err
    assert "gate halted by ann: fire" in rearmed.out
    assert "bea has rearmed it: the gate opens by itself as soon as that is done" in rearmed.out
    assert "only a rearm" not in rearmed.out
    assert "kill rearm" not in rearmed.out
