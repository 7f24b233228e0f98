"""The kill switch without Temporal: flat, told, and taken in later, once."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from temporalio.service import RPCError, RPCStatusCode

from activities.bybit import BybitClient
from activities.secrets import ExchangeKey, VaultUnreachable
from tradewright import ids
from tradewright.app import direct
from tradewright.app.connect import opened_journal
from tradewright.app.direct import DirectTrip, Progress, trip_directly
from tradewright.app.gate_watch import watch_gate
from tradewright.app.paper_control import control
from tradewright.app.trip_key import KEY_VARIABLE, SECRET_VARIABLE
from tradewright.app.trip_record import FOLDER, recorded, take_in, wish_to_halt
from tradewright.domain import gate
from tradewright.domain.errors import KeyRefused
from tradewright.domain.event import EventKind
from tradewright.domain.gate import Gate, GateState
from tradewright.paper import PaperExchange, PaperSettings, running
from tradewright.settings import Settings, VaultSettings

KEY, SECRET = "kX81mmQz40vb", "sR72LLpe93ha5Tq1"
NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "QUIET_TIME", timedelta(seconds=0.3))
    monkeypatch.setattr(gate, "BETWEEN_READS", timedelta(seconds=0.1))
    monkeypatch.setattr(direct, "REWRITE_EVERY", 0.05)
    # A busy machine may take long to open a journal
    monkeypatch.setattr(direct, "ROW_FIRST", 30)
    monkeypatch.setattr(direct, "ROW_LAST", 0.2)


@pytest.fixture
async def paper() -> AsyncIterator[PaperExchange]:
    settings = PaperSettings(
        port=0,
        api_key=KEY,
        api_secret=SecretStr(SECRET),
        speed="lockstep",
        symbols=("BTCUSDT", "ETHUSDT", "SOLUSDT"),
        history=2,
    )
    async with running(settings) as exchange:
        yield exchange


@pytest.fixture
def settings(paper: PaperExchange, tmp_path: Path, free_port: int) -> Settings:
    """A desk whose Vault is away and whose journal was never made."""
    nowhere = VaultSettings(address=f"http://127.0.0.1:{free_port}", token=SecretStr("token-x"))
    return Settings(home=tmp_path, paper_url=paper.http_url, vault=nowhere)


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    monkeypatch.setenv(SECRET_VARIABLE, SECRET)


keyed = pytest.mark.usefixtures("environment")


@pytest.fixture
async def crowd(paper: PaperExchange) -> None:
    """Two positions, one with its stop, and an entry that waits."""

    class Person:
        async def exchange_key(self) -> ExchangeKey:
            return ExchangeKey(api_key=SecretStr(KEY), api_secret=SecretStr(SECRET))

    client = BybitClient(paper.http_url, Person())
    price = paper.exchange.engine.last["BTCUSDT"]
    order = {"category": "linear", "symbol": "BTCUSDT", "side": "Buy", "qty": "0.1"}
    stop, low = f"{price * 9 // 10:f}", f"{price // 2:f}"
    await client.call("place_order", **order, orderType="Market", stopLoss=stop)
    await client.call(
        "place_order", **(order | {"symbol": "ETHUSDT", "side": "Sell"}), orderType="Market"
    )
    await client.call("place_order", **order, orderType="Limit", price=low)
    client.close()


def left(paper: PaperExchange) -> tuple[int, int]:
    """Return how many positions and orders there are."""
    account = paper.exchange.engine.accounts["main"]
    held = [p for p in account.positions.values() if p.size]
    return len(held), len(list(account.open_orders()))


async def nobody() -> ExchangeKey | None:
    return None


async def run(settings: Settings, told: list[Progress] | None = None, **more: Any) -> DirectTrip:
    show = told.append if told is not None else lambda _: None
    wish: dict[str, Any] = {"reason": "fire", "by": "ann", "ask_key": nobody, "show": show} | more
    return await trip_directly(settings, **wish)


def records(settings: Settings, suffix: str) -> list[Path]:
    return sorted((settings.state / FOLDER).glob(f"*{suffix}"))


async def steps(settings: Settings) -> list[str]:
    async with opened_journal(settings) as journal:
        written = await journal.events(kind=EventKind.KILL_SWITCH)
    return [e.event.data["step"] for e in written]


# --- getting flat -----------------------------------------------------------------------------


@keyed
@pytest.mark.usefixtures("crowd")
async def test_it_closes_the_gate_and_everything_and_the_journal_knows(
    settings: Settings, paper: PaperExchange
) -> None:
    async with opened_journal(settings, create=True):
        pass

    done = await run(settings)

    assert left(paper) == (0, 0)
    assert (done.closed, done.cancelled, done.gate_fault, done.journal_fault) == (2, 1, "", "")
    async with opened_journal(settings) as journal:
        row = await journal.gate("main")
        assert await journal.verify() == ()
    assert row is not None
    assert (row.state, row.by, row.reason) == (GateState.HALTED, "ann", "fire")
    told = ["asked", "held", "entries_cancelled", "gate_closed", "flat"]
    assert await steps(settings) == told


@keyed
@pytest.mark.usefixtures("crowd")
async def test_flat_is_read_twice_and_the_last_time_when_nothing_can_land(
    settings: Settings, paper: PaperExchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate, "QUIET_TIME", timedelta(seconds=1.5))
    async with opened_journal(settings, create=True):
        pass
    told: list[Progress] = []

    done = await run(settings, told)

    flat = [p for p in told if p.exposure is not None and not p.exposure.positions]
    assert done.flat_at - done.began_at >= timedelta(seconds=1.5)
    assert flat[-1].at - flat[0].at >= timedelta(seconds=1)


@keyed
@pytest.mark.usefixtures("crowd")
async def test_a_journal_that_is_away_is_said_and_holds_nothing_up(
    settings: Settings, paper: PaperExchange
) -> None:
    told: list[Progress] = []

    done = await run(settings, told)

    assert left(paper) == (0, 0)
    assert "does not exist" in done.gate_fault
    assert "does not exist" in done.journal_fault
    assert any(p.step.startswith("gate not closed: ") for p in told)
    assert not settings.state.joinpath("journal.db").exists()


@keyed
@pytest.mark.usefixtures("crowd")
async def test_a_journal_that_comes_back_closes_the_gate_and_reads_count_from_then(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate, "QUIET_TIME", timedelta(seconds=1))
    monkeypatch.setattr(direct, "ROW_LAST", 5)
    making: list[asyncio.Task[None]] = []
    came_back: list[datetime] = []

    async def make() -> None:
        async with opened_journal(settings, create=True):
            came_back.append(datetime.now(UTC))

    def show(progress: Progress) -> None:
        if progress.step.startswith("flat; ") and not making:
            making.append(asyncio.create_task(make()))

    done = await run(settings, show=show)

    assert (done.gate_fault, done.journal_fault) == ("", "")
    assert done.flat_at - came_back[0] >= timedelta(seconds=1)
    async with opened_journal(settings) as journal:
        row = await journal.gate("main")
    assert row is not None
    assert row.state is GateState.HALTED
    told = await steps(settings)
    assert told.index("gate_not_closed") < told.index("gate_closed") < told.index("flat")


@keyed
@pytest.mark.usefixtures("crowd")
async def test_errors_and_limits_of_the_exchange_are_outlasted(
    settings: Settings, paper: PaperExchange
) -> None:
    for fault in (
        {"kind": "http_error", "when": {"endpoint": "/v5/position/list", "times": 2}},
        {"kind": "code_10006", "reset_ms": 100, "when": {"endpoint": "/v5/order/*", "times": 2}},
        {"kind": "reset", "when": {"endpoint": "/v5/order/create", "times": 1}},
        {"kind": "code_10016", "when": {"endpoint": "/v5/order/cancel-all", "times": 1}},
    ):
        body = json.dumps(fault)
        await asyncio.to_thread(control, paper.http_url, "POST", "faults", body=body)

    await run(settings)

    assert left(paper) == (0, 0)


# --- the key ----------------------------------------------------------------------------------


@pytest.mark.usefixtures("crowd")
async def test_a_person_is_asked_for_the_key_and_it_is_written_nowhere(
    settings: Settings, paper: PaperExchange, capfd: pytest.CaptureFixture[str]
) -> None:
    async def person() -> ExchangeKey | None:
        return ExchangeKey(api_key=SecretStr(KEY), api_secret=SecretStr(SECRET))

    told: list[Progress] = []
    done = await run(settings, told, ask_key=person)

    out, err = capfd.readouterr()
    written = "".join(path.read_text() for path in records(settings, ".jsonl"))
    shown = "".join(p.model_dump_json() for p in told) + done.model_dump_json()
    assert left(paper) == (0, 0)
    assert written
    for text in (written, shown, out, err):
        assert KEY not in text
        assert SECRET not in text


async def test_without_any_key_it_ends_and_says_so(settings: Settings) -> None:
    with pytest.raises(VaultUnreachable):
        await run(settings)

    (record,) = records(settings, ".jsonl")
    assert '"refused"' in record.read_text()


@pytest.mark.usefixtures("environment")
async def test_a_key_that_the_exchange_refuses_ends_it_at_once(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "nobodys-key-at-all")

    with pytest.raises(KeyRefused):
        await run(settings)


# --- the record -------------------------------------------------------------------------------


@keyed
@pytest.mark.usefixtures("crowd")
async def test_the_record_is_taken_in_once_and_closes_the_gate_that_was_not(
    settings: Settings,
) -> None:
    await run(settings)
    folder = settings.state / FOLDER
    async with opened_journal(settings, create=True) as journal:
        taken = [await take_in(folder, "main", journal, NOON) for _ in range(2)]
        row = await journal.gate("main")
        again = Gate(account="main", at=datetime.now(UTC), by="bea")
        await journal.set_gate(again, rearm=True)
        # As a worker that was killed before it had marked the record
        (done,) = records(settings, ".done")
        done.rename(done.with_suffix(".jsonl"))
        await take_in(folder, "main", journal, NOON)
        rearmed = await journal.gate("main")

    assert taken == [1, 0]
    assert row is not None
    assert (row.state, row.by) == (GateState.HALTED, "ann")
    assert rearmed is not None
    assert (rearmed.state, rearmed.by) == (GateState.OPEN, "bea")
    found = await steps(settings)
    assert (found.count("asked"), found.count("flat")) == (1, 1)


async def test_the_record_of_a_command_that_still_runs_is_left_alone(settings: Settings) -> None:
    folder = settings.state / FOLDER
    async with opened_journal(settings, create=True) as journal:
        with recorded(folder, wish_to_halt("main", "fire", "ann", NOON)):
            meanwhile = await take_in(folder, "main", journal, NOON)
        afterwards = await take_in(folder, "main", journal, NOON)

    assert (meanwhile, afterwards) == (0, 1)
    assert await steps(settings) == ["asked", "cut_short"]


async def test_a_line_that_was_torn_by_a_kill_loses_no_other(settings: Settings) -> None:
    folder = settings.state / FOLDER
    with recorded(folder, wish_to_halt("main", "fire", "ann", NOON)) as record:
        record.note("gate_closed", "the row is halted", NOON)
    (path,) = records(settings, ".jsonl")
    path.write_text(path.read_text() + '{"event_id": "kill-di')

    async with opened_journal(settings, create=True) as journal:
        await take_in(folder, "main", journal, NOON)

    assert await steps(settings) == ["asked", "gate_closed", "cut_short"]


async def test_the_record_of_another_account_is_not_touched(settings: Settings) -> None:
    folder = settings.state / FOLDER
    with recorded(folder, wish_to_halt("main-2", "fire", "ann", NOON)):
        pass
    async with opened_journal(settings, create=True) as journal:
        assert await take_in(folder, "main", journal, NOON) == 0
        assert await take_in(folder, "main-2", journal, NOON) == 1


@keyed
@pytest.mark.usefixtures("crowd")
async def test_a_disk_that_takes_no_record_keeps_nobody_from_getting_flat(
    settings: Settings, paper: PaperExchange
) -> None:
    settings.state.mkdir(parents=True)
    (settings.state / FOLDER).write_text("in the way")

    done = await run(settings)

    assert left(paper) == (0, 0)
    assert "cannot be written" in done.record_fault


# --- the watch --------------------------------------------------------------------------------


class Switchboard:
    """Stands for Temporal's client; it may be away for a while."""

    def __init__(self, away: int = 0) -> None:
        self.heard: list[tuple[str, str, Gate]] = []
        self._away = away
        self._workflow_id = ""

    def get_workflow_handle(self, workflow_id: str) -> "Switchboard":
        self._workflow_id = workflow_id
        return self

    async def signal(self, name: str, row: Gate, **_: Any) -> None:
        if self._away:
            self._away -= 1
            raise RPCError("away", RPCStatusCode.UNAVAILABLE, b"")
        self.heard.append((self._workflow_id, name, row))


async def test_a_row_that_was_closed_past_temporal_is_shown_to_the_kill_switch_once(
    settings: Settings,
) -> None:
    board = Switchboard(away=2)
    async with opened_journal(settings, create=True) as journal:
        watching = asyncio.create_task(
            watch_gate(board, journal, settings, every=0.01)  # type: ignore[arg-type]
        )
        with recorded(settings.state / FOLDER, wish_to_halt("main", "fire", "ann", NOON)):
            pass
        async with asyncio.timeout(10):
            while not board.heard:  # noqa: ASYNC110 the list tells nobody
                await asyncio.sleep(0.01)
        await journal.set_gate(Gate(account="main", at=datetime.now(UTC), by="bea"), rearm=True)
        for _ in range(10):
            await asyncio.sleep(0.01)
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching

    ((workflow_id, name, row),) = board.heard
    assert (workflow_id, name) == (ids.kill_switch_workflow("main"), "adopt")
    assert (row.state, row.by) == (GateState.HALTED, "ann")
    assert os.listdir(settings.state / FOLDER)[0].endswith(".done")


@pytest.mark.parametrize("fault", ["character", "gate", "folder"])
async def test_no_record_ends_the_watch_or_keeps_a_later_one_out(
    settings: Settings, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    board, folder = Switchboard(), settings.state / FOLDER
    for minutes, by in ((0, "Zoë"), (1, "ann")):
        with recorded(folder, wish_to_halt("main", "fire", by, NOON + timedelta(minutes=minutes))):
            pass
    first, _ = records(settings, ".jsonl")
    if fault == "character":
        content = first.read_bytes()
        first.write_bytes(content + content[: content.index("ë".encode()) + 1])
    elif fault == "gate":
        first.write_text(first.read_text().replace('"state":"halted"', '"state":"ajar"'))
    async with opened_journal(settings, create=True) as journal:
        if fault == "folder":

            async def refuse(*_: Any) -> int:
                raise PermissionError(13, "Permission denied", str(folder))

            monkeypatch.setattr("tradewright.app.gate_watch.take_in", refuse)
            await journal.set_gate(wish_to_halt("main", "fire", "ann", NOON), rearm=False)
        watching = asyncio.create_task(
            watch_gate(board, journal, settings, every=0.01)  # type: ignore[arg-type]
        )
        async with asyncio.timeout(10):
            while not board.heard and not watching.done():  # noqa: ASYNC110 the list tells nobody
                await asyncio.sleep(0.01)
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching

    assert board.heard[-1][2].by == "ann"
    assert board.heard[-1][2].state is GateState.HALTED
