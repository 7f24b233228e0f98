"""What was decided can be shown: by whom, on what, and that nobody altered it since."""

import asyncio
import sqlite3
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest

from tests.promises.preset_at_work import PresetAtWork
from tests.system.live_system import MOST_STEPS, LiveSystem
from tradewright import ids
from tradewright.domain.event import EventKind
from tradewright.domain.execution import ExitReason
from tradewright.journal import Journal

pytestmark = pytest.mark.timeout(300)

BUYS = "indicators: {fast: {ta: EMA, timeperiod: 3}}, long: fast > 0"


async def test_a_trade_is_shown_from_its_signal_to_its_end_with_what_it_was_decided_on(
    live: LiveSystem, tmp_path: Path
) -> None:
    preset = PresetAtWork(live, "shown", "BTCUSDT", tmp_path)
    version = await preset.applied(BUYS)
    handle = await preset.trade()
    await preset.stop()
    await handle.signal("exit", {"note": "enough", "by": "ann"})
    trade = await live.ended(handle)

    told = [row.event for row in await live.journal.trade_history(trade.plan.trade_id)]
    kinds = [event.kind for event in told]
    assert kinds[:2] == [EventKind.SIGNAL_APPROVED, EventKind.ENTRY_INTENDED]
    assert set(kinds[2:]) == {EventKind.TRADE_CHANGED}
    approved = told[0].data
    assert approved["proposal"]["preset_hash"] == version
    assert approved["proposal"]["signal"]["factors"]["fast"] > 0
    assert approved["proposal"]["window"]
    assert Decimal(approved["proposal"]["market"]["mark_price"]) > 0
    # Of fills that come at once only the last brings the trade
    states = [e.data["trade"]["state"] for e in told[2:] if "trade" in e.data]
    assert (states[0], states[-1]) == ("entering", "closed")
    last = told[-1].data["trade"]
    assert (last["exit_reason"], last["exit_by"]) == (ExitReason.OPERATOR, "ann")
    row = await live.journal.trade(trade.plan.trade_id)
    assert row is not None
    assert (row.pnl, row.close_view is not None) == (trade.pnl, True)
    assert await live.differences(trade) == []


async def test_a_refusal_is_shown_with_its_code_and_its_reason(
    live: LiveSystem, tmp_path: Path
) -> None:
    holder = await live.open("ETHUSDT")
    preset = PresetAtWork(live, "refused", "ETHUSDT", tmp_path)
    await preset.applied(BUYS)

    for _ in range(MOST_STEPS):
        await live.step()
        found = await live.journal.refusals(live.settings.account, preset="refused")
        if found:
            break
    await preset.stop()

    assert found[0].code == "symbol_taken"
    assert holder.id.rpartition("/")[2] in found[0].reason
    await live.leave(holder)


async def test_what_operators_do_is_shown_by_their_names(live: LiveSystem) -> None:
    on = await live.command("safe-mode", "on", "--by", "bea", "--reason", "lunch")
    off = await live.command("safe-mode", "off", "--by", "cid", "--reason", "back")

    assert (on.code, off.code) == (0, 0)
    told = await live.journal.events(chain=ids.kill_switch_workflow(live.settings.account))
    steps = [row.event.data["detail"] for row in told if row.event.data.get("step") == "asked"]
    assert steps[-2:] == ["exits_only by bea: lunch", "open by cid: back"]


async def test_every_event_stands_once_also_when_the_worker_is_killed_while_it_writes(
    live: LiveSystem,
) -> None:
    handle = await live.open("SOLUSDT")
    dead = live.child("worker").pid

    await handle.signal("exit", {"by": "ann"})
    await live.kill("worker")
    await live.restarted("worker", dead)
    trade = await live.ended(handle)

    told = [row.event for row in await live.journal.trade_history(trade.plan.trade_id)]
    assert len({event.event_id for event in told}) == len(told)
    assert told[-1].data["trade"]["state"] == "closed"
    assert await live.journal.verify() == ()


async def test_projections_are_what_the_events_say(live: LiveSystem) -> None:
    account = live.settings.account
    trades = await live.journal.trades(account, limit=None)
    books = await live.journal.books(account)
    assert trades

    await live.journal.rebuild_projections()

    assert await live.journal.trades(account, limit=None) == trades
    assert await live.journal.books(account) == books


async def test_what_somebody_alters_is_seen(live: LiveSystem, tmp_path: Path) -> None:
    original = live.settings.state / "journal.db"
    copy = tmp_path / "journal.db"

    def altered() -> None:
        with closing(sqlite3.connect(original)) as source, closing(sqlite3.connect(copy)) as target:
            source.backup(target)
            target.execute("DROP TRIGGER events_refuse_update")
            target.execute(
                "UPDATE events SET data = replace(data, 'ann', 'eve') WHERE data LIKE '%ann%'"
            )
            target.commit()

    await asyncio.to_thread(altered)
    journal = await Journal.open(f"sqlite:///{copy}", venue=live.settings.venue)
    try:
        faults = await journal.verify()
    finally:
        await journal.close()

    assert faults
    assert await live.journal.verify() == ()
