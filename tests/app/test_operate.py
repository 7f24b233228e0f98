"""The way to Temporal and the journal, and what becomes of wishes that nobody answers."""

import asyncio
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from temporalio import activity
from temporalio.client import Client
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from tradewright import ids
from tradewright.app import kill_switch, operate, services, survey, trade_page, wish
from tradewright.app.connect import (
    JournalMissing,
    NamespaceMissing,
    TemporalUnreachable,
    connect,
    opened_journal,
)
from tradewright.domain.gate import Gate, GateState
from tradewright.journal import WrongVenue
from tradewright.ports import (
    Exposure,
    GateWish,
    JournalBatch,
    KillPort,
    TripOrder,
    activities_of,
)
from tradewright.settings import Settings, TemporalSettings, Venue
from workflows.kill_switch import KillSwitchStart, KillSwitchWorkflow, RearmWish

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def account() -> str:
    return f"op-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def settings(temporal: Client, tmp_path: Path, account: str) -> Settings:
    address = temporal.service_client.config.target_host.replace("localhost", "127.0.0.1")
    return Settings(home=tmp_path, account=account, temporal=TemporalSettings(address=address))


@pytest.fixture
def _short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wish, "ANSWER_WITHIN", timedelta(milliseconds=400))


silence = pytest.mark.usefixtures("_short_patience")


class OpenGate(KillPort):
    """A gate in memory, and an exchange on which nothing is held."""

    @activity.defn
    async def read_gate(self, account: str) -> Gate:
        return Gate(account=account, at=NOW)

    @activity.defn
    async def write_gate(self, wish: GateWish) -> Gate:
        return wish.gate

    @activity.defn
    async def cancel_entries(self, order: TripOrder) -> int:
        return 0

    @activity.defn
    async def flatten_all(self, order: TripOrder) -> Exposure:
        return Exposure(at=NOW)

    @activity.defn
    async def read_exposure(self, order: TripOrder) -> Exposure:
        return Exposure(at=NOW)


@activity.defn(name="record")
async def forget(batch: JournalBatch) -> None:
    return None


def kill_worker(client: Client, queue: str) -> Worker:
    return Worker(
        client,
        task_queue=queue,
        workflows=[KillSwitchWorkflow],
        activities=[*activities_of(OpenGate()), forget],
        workflow_runner=UnsandboxedWorkflowRunner(),
    )


# --- the way to the servers -------------------------------------------------------------------


async def test_a_client_speaks_the_models_of_the_product(settings: Settings) -> None:
    client = await connect(settings)

    assert client.namespace == "default"
    assert client.data_converter.payload_converter.to_payload(Gate(account="a", at=NOW)).data


async def test_a_server_that_is_not_there_is_told_at_once(tmp_path: Path, free_port: int) -> None:
    nowhere = TemporalSettings(address=f"127.0.0.1:{free_port}")

    with pytest.raises(TemporalUnreachable, match="nobody listens there; start the system with"):
        await connect(Settings(home=tmp_path, temporal=nowhere))


async def test_a_server_that_says_nothing_is_given_up(tmp_path: Path) -> None:
    async def silent(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(30)
        writer.close()

    port = services.free_port()
    server = await asyncio.start_server(silent, "127.0.0.1", port)
    mute = Settings(home=tmp_path, temporal=TemporalSettings(address=f"127.0.0.1:{port}"))

    with pytest.raises(TemporalUnreachable, match=r"no answer within 0\.3 s"):
        await connect(mute, within=timedelta(seconds=0.3))

    server.close()


async def test_a_venue_without_a_namespace_is_told_how_to_get_one(settings: Settings) -> None:
    venue = settings.model_copy(update={"venue": Venue.TESTNET})

    with pytest.raises(NamespaceMissing, match="namespace testnet does not exist"):
        await connect(venue)


async def test_looking_into_a_journal_makes_none(settings: Settings) -> None:
    with pytest.raises(JournalMissing, match="TRADEWRIGHT_HOME"):
        async with opened_journal(settings):
            pass

    assert not settings.state.exists()


async def test_a_journal_is_made_when_it_is_to_be_written(settings: Settings) -> None:
    async with opened_journal(settings, create=True) as made:
        assert await made.latest_presets() == ()
    async with opened_journal(settings) as found:
        assert await found.gate(settings.account) is None


async def test_a_journal_of_another_venue_is_not_opened(settings: Settings) -> None:
    async with opened_journal(settings, create=True):
        pass
    url = f"sqlite:///{settings.state / 'journal.db'}"
    other = settings.model_validate({"home": settings.home, "venue": "demo", "journal": url})

    with pytest.raises(WrongVenue, match="belongs to venue paper"):
        async with opened_journal(other):
            pass


# --- wishes -----------------------------------------------------------------------------------


@silence
async def test_a_wish_that_loosens_leaves_no_trace_when_nobody_answers(
    temporal: Client, account: str
) -> None:
    queue = f"{account}:kill"
    switch = await temporal.start_workflow(
        KillSwitchWorkflow.run,
        KillSwitchStart(account=account),
        id=ids.kill_switch_workflow(account),
        task_queue=queue,
    )

    with pytest.raises(wish.NoWorkerAnswers, match="rearm was not sent, nothing was done"):
        await kill_switch.rearm(temporal, account, reason="it is out", by="bea")
    async with kill_worker(temporal, queue):
        state = await switch.query(KillSwitchWorkflow.state)

    assert state.gate.by == ""


async def test_an_update_that_was_given_up_may_still_be_carried_out(
    temporal: Client, account: str
) -> None:
    """Why a wish is only sent after a question was answered."""
    queue = f"{account}:kill"
    switch = await temporal.start_workflow(
        KillSwitchWorkflow.run,
        KillSwitchStart(account=account),
        id=ids.kill_switch_workflow(account),
        task_queue=queue,
    )
    with pytest.raises(Exception, match="Timeout"):
        await switch.execute_update(
            "rearm", RearmWish(by="bea", reason="why"), rpc_timeout=timedelta(milliseconds=300)
        )

    async with kill_worker(temporal, queue), asyncio.timeout(20):
        while (await switch.query(KillSwitchWorkflow.state)).gate.by != "bea":  # noqa: ASYNC110
            await asyncio.sleep(0.02)


@silence
async def test_a_trip_is_kept_where_no_kill_switch_ever_ran(temporal: Client, account: str) -> None:
    queue = f"{account}:kill"

    with pytest.raises(wish.WishStored, match="trip is recorded and will be done when the kill"):
        await kill_switch.trip(temporal, account, reason="fire", by="ann", queue=queue)
    async with kill_worker(temporal, queue), asyncio.timeout(20):
        states = [state async for state in kill_switch.follow(temporal, account)]

    assert states[-1].gate.state is GateState.HALTED
    assert (states[-1].gate.reason, states[-1].step) == ("fire", "waiting")


async def test_the_answer_to_a_trip_is_how_the_gate_stands(temporal: Client, account: str) -> None:
    queue = f"{account}:kill"
    async with kill_worker(temporal, queue):
        await temporal.start_workflow(
            KillSwitchWorkflow.run,
            KillSwitchStart(account=account),
            id=ids.kill_switch_workflow(account),
            task_queue=queue,
        )
        tripped = await kill_switch.trip(temporal, account, reason="fire", by="ann")
        settled = [state async for state in kill_switch.follow(temporal, account)]
        with pytest.raises(wish.WishRefused, match=r"halted by ann \(fire\)"):
            await kill_switch.safe_mode(temporal, account, on=False, reason="", by="ann")
        rearmed = await kill_switch.rearm(temporal, account, reason="it is out", by="bea")

    assert tripped.gate.state is GateState.HALTED
    assert settled[-1].step == "waiting"
    assert (rearmed.gate.state, rearmed.gate.by) == (GateState.OPEN, "bea")


async def test_closing_the_gate_without_temporal_never_loosens_it(settings: Settings) -> None:
    async with opened_journal(settings, create=True):
        pass

    halted = await kill_switch.close_gate(
        settings, GateState.HALTED, reason="fire", by="ann", now=NOW
    )
    still = await kill_switch.close_gate(
        settings, GateState.EXITS_ONLY, reason="rest", by="bea", now=NOW + timedelta(seconds=1)
    )

    assert halted.state is GateState.HALTED
    assert (still.state, still.reason) == (GateState.HALTED, "fire")


async def test_what_does_not_run_is_not_found(temporal: Client) -> None:
    with pytest.raises(wish.NotRunning, match="strategy/nobody does not run: apply its preset"):
        await operate.pause_strategy(temporal, "nobody", reason="", by="ann")
    with pytest.raises(wish.NotRunning, match="strategy/nobody"):
        await operate.stop_strategy(temporal, "nobody", reason="")
    with pytest.raises(wish.NotRunning, match="it has ended; see `tradewright trade show twx`"):
        await operate.exit_trade(temporal, "trade/BTCUSDT/twx", note="", by="ann")


# --- looking ----------------------------------------------------------------------------------


async def test_an_empty_system_has_nothing_to_show_and_says_what_is_missing(
    temporal: Client, settings: Settings
) -> None:
    async def gate() -> Gate | None:
        return None

    found = await survey.overview(temporal, settings, gate, now=NOW)

    assert (found.strategies, found.trades, found.needs, found.desk) == ((), (), (), None)
    told = "\n".join(found.faults)
    for workflow_id in ("kill-switch", "account", "stream", "market"):
        assert f"{workflow_id}/{settings.account}" in told


@silence
async def test_a_gate_that_was_closed_past_the_kill_switch_is_pointed_out(
    temporal: Client, settings: Settings
) -> None:
    account = settings.account

    async def gate() -> Gate | None:
        return Gate(account=account, state=GateState.HALTED, reason="fire", at=NOW)

    queue = f"{account}:kill"
    async with kill_worker(temporal, queue):
        await temporal.start_workflow(
            KillSwitchWorkflow.run,
            KillSwitchStart(account=account),
            id=ids.kill_switch_workflow(account),
            task_queue=queue,
        )
        found = await survey.overview(temporal, settings, gate, now=NOW)

    assert found.kill_switch is not None
    assert found.kill_switch.gate.state is GateState.OPEN
    (need,) = found.needs
    assert need.workflow_id == ids.kill_switch_workflow(account)
    assert "it has the gate open, the journal's row has it halted (fire)" in need.why


async def test_a_trade_is_found_by_the_beginning_of_its_id(
    temporal: Client, settings: Settings
) -> None:
    async with opened_journal(settings, create=True) as journal:
        whole = "trade/BTCUSDT/twaaaaaaaaaaaaaaaa"

        assert await trade_page.find_trade(temporal, journal, settings.account, whole) == whole
        with pytest.raises(trade_page.TradeUnknown, match="at least 4 characters"):
            await trade_page.find_trade(temporal, journal, settings.account, "tw")
        with pytest.raises(trade_page.TradeUnknown, match="none of the journal has this id"):
            await trade_page.find_trade(temporal, journal, settings.account, "twaaaa")
