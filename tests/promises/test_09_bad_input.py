"""A bad preset, plugin, candle or message never touches running trades.

The last good version stays, and a person is told.
"""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import WorkflowHandle

from tests.promises.preset_at_work import PresetAtWork
from tests.system.live_system import LiveSystem, TradeHandle, until
from tradewright import ids
from tradewright.app import notice
from tradewright.domain.execution import ExitReason
from tradewright.domain.trade import Trade

pytestmark = pytest.mark.timeout(300)

BUYS = "long: close > 0"
NONSENSE: list[list[Any]] = [
    *([], [None], ["sell everything"], [[1, 2]], [{"kind": "executed"}], [{"kind": "no such"}]),
    [{"kind": "executed", "execution": {"exec_id": "x", "qty": "a lot"}}],
    [{"kind": "position_read", "qty": "-1", "at": "2025-01-01T00:00:00Z"}],
    [{}, {}, {}],
]


async def stands(live: LiveSystem, handle: TradeHandle) -> tuple[Trade, Any]:
    """Return the trade, and quantity and stop of its position at the exchange."""
    trade = (await live.view(handle)).trade
    position = await live.position(trade.plan.symbol)
    assert position is not None
    return trade, (Decimal(position["size"]), Decimal(position["stopLoss"]))


async def notices_of(live: LiveSystem, workflow_id: str) -> list[str]:
    """Return what a person is told of that workflow and has not been cleared up."""
    told = await notice.notices(live.client, live.settings.account)
    return [each.title for each in told.open if each.workflow_id == workflow_id]


# --- presets --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rules", "exits", "told"),
    [
        ("long: close >", "stop: {fraction: 0.05}", "cannot be read"),
        ("long: fsat > slow", "stop: {fraction: 0.05}", "unknown name 'fsat'"),
        (BUYS, "target: {r: 2}", "exits.stop: missing; add it"),
        (BUYS, "stop: {fraction: 0.05}, stoploss: 0.9", "unknown key 'stoploss'"),
        (BUYS, "stop: {fraction: 0.05}, targets: [{r: 2}, {r: 1}]", "close_fraction is missing"),
    ],
)
async def test_a_bad_preset_leaves_the_last_good_version_and_its_trade_alone(
    work: PresetAtWork, rules: str, exits: str, told: str
) -> None:
    """E1: a bad file keeps the last good version, and says what is wrong with it."""
    live, good = work.live, await work.status()
    handle = await work.trade()
    before = await stands(live, handle)

    refused = await work.apply(rules, exits)
    after = await work.decided()

    assert (refused.code, told in refused.out) == (3, True), refused
    assert f"{work.name}.yaml:" in refused.out
    assert refused.err.startswith("error: nothing was applied")
    assert (after.preset_hash, after.needs_operator) == (good.preset_hash, "")
    assert after.candles > good.candles
    assert await stands(live, handle) == before


@pytest.fixture(scope="module")
async def work(live: LiveSystem, tmp_path_factory: pytest.TempPathFactory) -> PresetAtWork:
    """A preset with a good version at work."""
    work = PresetAtWork(live, "sturdy", "XRPUSDT", tmp_path_factory.mktemp("presets"))
    await work.applied(BUYS)
    return work


async def test_a_plugin_that_is_not_there_is_told_and_nothing_is_applied(
    work: PresetAtWork,
) -> None:
    good = await work.status()
    path = work.folder / "foreign.yaml"
    text = (work.folder / "sturdy.yaml").read_text()
    path.write_text(text.replace("plugin: rules", "plugin: no_such").replace(BUYS, ""))

    refused = await work.live.command("apply", path)

    assert refused.code == 3
    assert "strategy plugin 'no_such' is not installed; known: " in refused.out
    assert (await work.status()).preset_hash == good.preset_hash


async def test_a_version_that_cannot_be_evaluated_any_more_is_told_and_its_trade_goes_on(
    live: LiveSystem, tmp_path: Path
) -> None:
    """E5: a plugin that fails is seen at its strategy, with the reason and what to do."""
    preset = PresetAtWork(live, "orphaned", "ADAUSDT", tmp_path)
    good = await preset.applied(BUYS)
    handle = await preset.trade()
    before = await stands(live, handle)
    strategy = live.client.get_workflow_handle(ids.strategy_workflow("orphaned"))
    status = await preset.status()
    # As if the plugin had been replaced by another version under the running preset
    applied = {
        "preset": "orphaned",
        "preset_hash": "0" * 16,
        "account": status.account,
        "symbols": list(status.symbols),
        "timeframe": status.timeframe.value,
    }

    await strategy.execute_update("apply", {"applied": applied})
    failing = await preset.decided()

    assert failing.needs_operator.startswith("it cannot decide: preset version 0000000000000000")
    assert "apply it again" in failing.needs_operator

    async def is_told() -> bool:
        return bool(await notices_of(live, strategy.id))

    await until(is_told)
    assert await stands(live, handle) == before
    assert await preset.applied(BUYS) == good
    assert (await preset.decided()).needs_operator == ""

    async def is_over() -> bool:
        return not await notices_of(live, strategy.id)

    await until(is_over)
    trade = await live.leave(handle)
    assert (trade.exit_reason, await live.differences(trade)) == (ExitReason.OPERATOR, [])
    await preset.stop()


# --- messages -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["report", "exit", "no_such_signal"])
async def test_no_message_breaks_a_trade_or_moves_its_stop(live: LiveSystem, name: str) -> None:
    symbols = {"report": "BTCUSDT", "exit": "ETHUSDT", "no_such_signal": "SOLUSDT"}
    handle = await live.open(symbols[name])
    trade, held = await stands(live, handle)
    nonsense = [args for args in NONSENSE if name != "exit" or not _is_a_wish(args)]

    for args in nonsense:
        await handle.signal(name, args=args)

    async def is_told() -> bool:
        view = await live.view(handle)
        return bool(view.needs_operator) and not view.busy

    await until(is_told)
    after, still_held = await stands(live, handle)
    assert (after.state, after.executions, still_held) == (trade.state, trade.executions, held)
    assert await notices_of(live, handle.id)
    left = await live.leave(handle)
    assert (left.exit_reason, await live.differences(left)) == (ExitReason.OPERATOR, [])


def _is_a_wish(args: list[Any]) -> bool:
    """Return whether a trade takes *args* as a wish to leave, for want of anything else in it."""
    return not args or args[0] is None or isinstance(args[0], dict)


async def test_no_message_to_strategy_or_desk_touches_a_trade(work: PresetAtWork) -> None:
    live = work.live
    handle = await work.trade()
    before = await stands(live, handle)
    strategy = live.client.get_workflow_handle(ids.strategy_workflow(work.name))
    desk = live.client.get_workflow_handle(ids.account_workflow(live.settings.account))
    told: list[tuple[WorkflowHandle[Any, Any], str]] = [
        *((strategy, name) for name in ("candle", "no_such_signal")),
        *((desk, name) for name in ("release", "leave", "channel", "unresolved", "no_such_signal")),
    ]

    for receiver, name in told:
        for args in NONSENSE:
            await receiver.signal(name, args=args)
    after = await work.decided(2)

    assert after.needs_operator
    assert await stands(live, handle) == before
    assert [r.plan.trade_id for r in (await live.desk()).reservations].count(
        before[0].plan.trade_id
    ) == 1


# --- candles --------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", ["cut", "html", "empty"])
async def test_candles_that_cannot_be_read_touch_no_trade(work: PresetAtWork, body: str) -> None:
    live = work.live
    handle = await work.trade()
    before = await stands(live, handle)
    name = f"candles-{body}"
    await live.fault(
        "malformed_json", name, when={"endpoint": "/v5/market/kline", "times": 3}, body=body
    )
    # Whoever has its candles from before has to ask for them
    await live.kill_and_restart("worker")

    after = await work.decided(2)
    await live.struck(name)
    await live.mend(name)

    assert await stands(live, handle) == before
    assert after.preset_hash == (await work.status()).preset_hash
