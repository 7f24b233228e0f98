"""Trades, as an operator lists, shows, moves, and leaves them."""

import asyncio
import re
from decimal import Decimal

import pytest
from temporalio.exceptions import ApplicationError

from tests.cli.conftest import System
from tests.cli.scripted import execution
from tradewright.domain.market import Side, Timeframe
from tradewright.domain.plan import ExitRules
from tradewright.domain.trade import Executed
from tradewright.ports import ExitTerms


async def test_a_trade_is_moved_to_the_exits_that_run_or_told_why_not(working: System) -> None:
    workflow_id = await working.start_trade()
    trade_id = workflow_id.rpartition("/")[2]
    await working.listed(f"Account = '{working.account}' AND TradeState = 'open'")
    await working.written(trade_id, "open")
    who = ("--by", "ann", "--reason", "calmer exits")

    nameless = await working.call("trade", "migrate", trade_id, "--reason", "calmer exits")
    without = await working.call("trade", "migrate", trade_id, *who)
    working.desk.terms = ExitTerms(
        preset_hash="beef", exits=ExitRules(timeframe=Timeframe.M15, max_candles=9)
    )
    kept = ("--keep", "targets", "--expect", "be")
    moved = await working.call("trade", "migrate", trade_id[:8], *who, *kept)
    again = await working.call("trade", "migrate", trade_id, *who, "--keep", "targets")
    shown = await working.call("trade", "show", trade_id)

    assert nameless.code == 2
    assert (without.code, "preset drift does not run" in without.err) == (6, True)
    assert moved.code == 0, moved.err
    assert f"{trade_id}: exits of version beef instead of " in moved.out
    assert (again.code, "has the exits of version beef already" in again.err) == (6, True)
    assert re.search(
        r"moved +exits of version beef instead of \S+, by ann: calmer exits", shown.out
    )


async def test_a_trade_is_listed_shown_and_exited(working: System) -> None:
    workflow_id = await working.start_trade()
    trade_id = workflow_id.rpartition("/")[2]
    await working.listed(f"Account = '{working.account}' AND TradeState = 'open'")

    await working.written(trade_id, "open")

    listed = await working.call("trade", "list", "--links")
    shown = await working.call("trade", "show", trade_id[:8])
    left = await working.call(
        "trade", "exit", trade_id, "--wait", "--note", "bad news", "--by", "ann"
    )
    document = await working.call("trade", "show", trade_id, "-o", "json")

    assert listed.code == 0
    row = next(line for line in listed.out.splitlines() if line.startswith(trade_id))
    assert row.split()[1:7] == ["BTCUSDT", "Buy", "open", "0.5", "100", "99"]
    assert f"{workflow_id}  http://127.0.0.1:8233/namespaces/default/workflows/trade" in listed.out
    assert shown.code == 0
    for fact in ("fast crossed slow", "fast  100.5", "Buy 0.5 BTCUSDT", "executed → open"):
        assert fact in shown.out
    assert re.search(r"worth +50\.00 USDT +\nat risk +0\.50 USDT", shown.out)
    assert left.code == 0
    assert f"{workflow_id}: exit accepted" in left.err
    assert f"{trade_id}: closed, PnL +0.4400 USDT" in left.out
    page = document.document["trade"]
    assert page["trade"]["exit_reason"] == "operator"
    assert page["trade"]["exit_note"] == "bad news"
    assert page["line"]["pnl"] == "0.44"
    assert page["url"].endswith(trade_id)
    assert not page["live"]


async def test_a_closed_trade_is_shown_from_the_journal_alone(working: System) -> None:
    workflow_id = await working.start_trade()
    trade_id = workflow_id.rpartition("/")[2]
    await working.client.get_workflow_handle(workflow_id).signal("exit", {"by": "ann"})
    await working.client.get_workflow_handle(workflow_id).result()

    # Nobody but the journal is asked
    page = await working.call("--address", "127.0.0.1:1", "trade", "show", trade_id)
    listed = await working.call("trade", "list", "--all", "--preset", "ema", "-o", "json")
    other = await working.call("trade", "list", "--all", "--preset", "other")

    assert page.code == 0
    for fact in ("closed", "+0.4400 USDT", "operator", "At the close", "atr", "Executions"):
        assert fact in page.out
    assert "temporal 127.0.0.1:1 does not answer" in page.err
    (line,) = listed.document["trades"]
    assert (line["trade_id"], line["state"], line["pnl"]) == (trade_id, "closed", "0.44")
    assert Decimal(line["r_multiple"]) == Decimal("0.88")
    assert other.out == "no trades\n"


async def test_a_half_closed_trade_says_how_much_is_held_and_not_why_it_left(
    working: System,
) -> None:
    workflow_id = await working.start_trade()
    trade_id = workflow_id.rpartition("/")[2]
    half = execution("half", Side.SELL, Decimal(101), link="", qty=Decimal("0.2"))
    handle = working.client.get_workflow_handle(workflow_id)
    await handle.signal("report", Executed(execution=half))
    await working.listed(f"Account = '{working.account}' AND TradeState = 'open'")
    async with asyncio.timeout(30):
        while (row := await working.journal.trade(trade_id)) is None or not row.exit_price:  # noqa: ASYNC110 the file tells nobody
            await asyncio.sleep(0.05)

    for command in (("trade", "list"), ("trade", "list", "--all")):
        listed = await working.call(*command)
        assert "0.3 of 0.5" in listed.out, command
        assert "WHY" not in listed.out, command
    assert "why it left" not in (await working.call("trade", "show", trade_id)).out


async def test_a_trade_that_enters_is_listed_with_the_stop_of_its_plan(working: System) -> None:
    workflow_id = await working.start_trade(filled=False)
    trade_id = workflow_id.rpartition("/")[2]
    await working.written(trade_id, "entering")

    listed = await working.call("trade", "list", "--all", "-o", "json")

    assert listed.document["trades"][0]["stop"] == "99"


async def test_a_stop_is_tightened_and_never_loosened(working: System) -> None:
    workflow_id = await working.start_trade()
    trade_id = workflow_id.rpartition("/")[2]
    await working.listed(f"Account = '{working.account}' AND TradeState = 'open'")

    moved = await working.call("trade", "stop", trade_id, "99.5", "--by", "ann", "-o", "json")
    same = await working.call("trade", "stop", trade_id, "99.5", "--by", "ann")
    loosened = await working.call("trade", "stop", trade_id, "98", "--by", "ann")
    nonsense = await working.call("trade", "stop", trade_id, "soon", "--by", "ann")

    assert moved.code == 0
    assert (moved.document["confirmed"], moved.document["trade"]["stop"]) == (True, "99.5")
    assert (same.code, same.out) == (0, f"{trade_id}: the stop stands at 99.5\n")
    assert loosened.code == 6
    assert "tighter than 99.5" in loosened.err
    assert nonsense.code == 2


async def test_a_trade_that_needs_a_person_is_listed_and_resolved(working: System) -> None:
    working.desk.entry_fault = ApplicationError("no answer", non_retryable=True)
    workflow_id = await working.start_trade(filled=False)
    trade_id = workflow_id.rpartition("/")[2]
    await working.listed(f"Account = '{working.account}' AND NeedsOperator = true")

    listed = await working.call("trade", "list", "--needs-operator")
    shown = await working.call("trade", "show", trade_id)
    nameless = await working.call("trade", "resolve", trade_id, "retry")
    working.desk.entry_fault = None
    resolved = await working.call("trade", "resolve", trade_id, "retry", "--by", "ann")
    again = await working.call("trade", "resolve", trade_id, "retry", "--by", "ann")

    assert f"{trade_id} needs a person: place_entry failed" in listed.out
    assert "retry, adopt, abandon" in shown.out
    assert nameless.code == 2
    assert resolved.code == 0
    assert "retry accepted" in resolved.out
    assert again.code == 6
    assert "nothing to resolve" in again.err


async def test_an_ended_trade_is_not_exited_again(working: System) -> None:
    workflow_id = await working.start_trade()
    await working.client.get_workflow_handle(workflow_id).signal("exit", {"by": "ann"})
    await working.client.get_workflow_handle(workflow_id).result()

    answer = await working.call("trade", "exit", workflow_id)

    assert answer.code == 4
    assert "it has ended" in answer.err


async def test_an_unknown_trade_is_not_found(working: System) -> None:
    for verb, *rest in (("show",), ("exit",), ("stop", "1"), ("resolve", "retry", "--by", "ann")):
        answer = await working.call("trade", verb, "twaaaaaaaaaaaaaaaa", *rest)

        assert answer.code == 4
        assert "trade twaaaaaaaaaaaaaaaa is not known" in answer.err


@pytest.mark.usefixtures("_short_patience")
async def test_an_exit_that_nobody_answers_is_kept(system: System) -> None:
    workflow_id = await system.start_trade()

    answer = await system.call("trade", "exit", workflow_id, "--by", "ann", "-o", "json")

    assert answer.code == 5
    assert "exit is recorded and will be done when the trading worker is back" in answer.err
    assert answer.document["error"]["type"] == "WishStored"
    trade = system.client.get_workflow_handle(workflow_id)
    events = [e async for e in trade.fetch_history_events()]
    signals = [e.workflow_execution_signaled_event_attributes.signal_name for e in events]
    assert "exit" in signals
