"""What runs show: a live table that fits its terminal, and news for logs."""

import io
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tradewright import ids
from tradewright.app.demo import Frame, preset_folder
from tradewright.app.line import StrategyLine
from tradewright.cli import run_view
from tradewright.cli.run_view import LiveTable, live_picture, print_addresses, trade_line
from tradewright.domain.execution import ExitReason
from tradewright.domain.market import Side, Timeframe
from tradewright.domain.plan import Origin
from tradewright.domain.trade import TradeState
from tradewright.journal import TradeRow
from tradewright.ports import StrategyStatus
from tradewright.settings import Settings, TemporalSettings

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    ui = "http://127.0.0.1:54321"
    return Settings(home=tmp_path, temporal=TemporalSettings(address="127.0.0.1:54320", ui_url=ui))


def make_trade(number: int = 1, **changes: Any) -> TradeRow:
    trade_id = "tw" + "abcdefghij"[number % 10] * 16
    fields = {
        "trade_id": trade_id,
        "workflow_id": ids.trade_workflow("BTCUSDT", trade_id),
        "account": "main",
        "preset": "demo-ema-cross",
        "preset_hash": "c0ffee",
        "symbol": "BTCUSDT",
        "side": Side.SELL,
        "qty": Decimal("0.068"),
        "price": Decimal("72523.5"),
        "stop_loss": Decimal(72_700),
        "take_profit": None,
        "stop": None,
        "state": TradeState.OPEN,
        "live": True,
        "needs": "",
        "origin": Origin.SIGNAL,
        "reason": "",
        "entry_price": Decimal("72523.5"),
        "exit_price": None,
        "open_qty": Decimal("0.068"),
        "pnl": Decimal(0),
        "fees": Decimal(0),
        "risk": Decimal(12),
        "r_multiple": None,
        "exit_reason": None,
        "exit_note": "",
        "exit_by": "",
        "rejection": "",
        "trigger": NOON,
        "decided_at": NOON,
        "opened_at": NOON,
        "closed_at": None,
        "updated_at": NOON,
        "factors": {},
        "market": {},
        "open_view": None,
        "close_view": None,
    }
    return TradeRow.model_validate(fields | changes)


def closed_trade(number: int = 1, **changes: Any) -> TradeRow:
    fields = {
        "state": TradeState.CLOSED,
        "live": False,
        "exit_price": Decimal(1) / 3 + 72_699,
        "pnl": Decimal("-17.366"),
        "closed_at": NOON + timedelta(minutes=1),
        "exit_reason": ExitReason.STOP_PASSED,
    }
    return make_trade(number, **(fields | changes))


def frame(*trades: TradeRow) -> Frame:
    def line(name: str) -> StrategyLine:
        status = StrategyStatus(
            preset=name,
            preset_hash="c0ffee",
            account="main",
            symbols=("BTCUSDT",),
            timeframe=Timeframe.M1,
            candles=22,
            approved=2,
        )
        return StrategyLine(
            name=name, workflow_id=ids.strategy_workflow(name), state="trading", status=status
        )

    strategies = (line("demo-breakout"), line("demo-ema-cross"))
    return Frame(market_at=NOON, strategies=strategies, trades=trades)


def drawn(shown: Frame, settings: Settings, *, width: int = 120, height: int = 40) -> str:
    out = io.StringIO()
    console = Console(
        file=out, width=width, height=height, force_terminal=True, color_system="standard"
    )
    console.print(live_picture(shown, settings, width=width, height=height, hint="Ctrl-C"))
    return out.getvalue()


def plain(text: str) -> str:
    """Return *text* without its links and colours."""
    return re.sub(r"\x1b\]8;.*?\x1b\\|\x1b\[[0-9;]*m", "", text)


def test_a_wide_terminal_shows_every_column(settings: Settings) -> None:
    lines = plain(drawn(frame(make_trade(2), closed_trade(1)), settings)).splitlines()

    assert lines[1] == "market clock 2026-01-01 12:00:00 UTC · 1 trade closed · -17.37 USDT"
    head, opened, closed = lines[-4:-1]
    assert head.split() == [
        *("TRADE", "PRESET", "SYMBOL", "SIDE", "QTY", "ENTRY", "EXIT", "PNL", "STATE", "WHY"),
    ]
    assert opened.split()[3:] == ["Sell", "0.068", "72523.5", "-", "-", "open", "-"]
    assert closed.split()[4:] == [
        *("0.068", "72523.5", "72699.333", "-17.37", "closed", "stop", "passed"),
    ]
    assert lines[-1] == "Ctrl-C"


@pytest.mark.parametrize("width", [60, 80, 100, 120, 200])
def test_no_line_is_wider_than_the_terminal_and_nothing_is_cut(
    settings: Settings, width: int
) -> None:
    long = make_trade(3, state=TradeState.REJECTED, rejection="bybit_110007: " + "no balance " * 9)

    lines = plain(drawn(frame(closed_trade(1), long), settings, width=width)).splitlines()

    assert max(map(len, lines)) <= width
    assert sum("tw" + "b" * 16 in line for line in lines) == 1
    assert sum("…" in line for line in lines) <= 1


@pytest.mark.parametrize("height", [16, 24, 40, 100])
def test_the_live_table_stays_on_the_screen(settings: Settings, height: int) -> None:
    trades = [closed_trade(n) for n in range(30)]

    lines = plain(drawn(frame(*trades), settings, width=80, height=height)).splitlines()

    assert len(lines) < height


def test_strategies_and_trades_link_to_their_pages(settings: Settings) -> None:
    trade = make_trade()

    text = drawn(frame(trade), settings)

    for workflow_id in ("strategy/demo-breakout", trade.workflow_id):
        assert f";{settings.workflow_url(workflow_id)}\x1b\\" in text
    # Where a terminal knows no links, what strategies do can still be copied
    assert settings.workflow_url("strategy/demo-breakout") in plain(text)


def test_before_the_first_trade_the_table_says_so(settings: Settings) -> None:
    text = plain(drawn(frame(), settings))

    assert "0 trades closed\n" in text
    assert "no trades yet" in text
    assert "TRADE " not in text


def test_a_log_gets_each_change_of_a_trade_once(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    with LiveTable(settings) as table:
        for shown in (frame(make_trade()), frame(make_trade()), frame(closed_trade())):
            table.show(shown)

    assert capsys.readouterr().out.splitlines() == [
        "2026-01-01 12:00:00 UTC  open      Sell 0.068 BTCUSDT at 72523.5",
        "2026-01-01 12:00:00 UTC  closed    Sell 0.068 BTCUSDT at 72523.5 -> 72699.333 "
        "-17.37 USDT, stop passed",
    ]


def test_a_trade_that_never_entered_says_why() -> None:
    trade = make_trade(state=TradeState.REJECTED, entry_price=None, rejection="no balance")

    assert trade_line(trade) == "rejected  Sell 0.068 BTCUSDT no balance"


def test_addresses_can_be_copied_whole(
    settings: Settings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRADEWRIGHT_HOME", "/elsewhere")

    print_addresses(settings)

    lines = capsys.readouterr().out.splitlines()
    home, command = f"TRADEWRIGHT_HOME={settings.home}", run_view.command("tradewright")
    assert f"{home} {command} --settings" in lines[2]
    assert "--address 127.0.0.1:54320" in lines[1]
    assert len(lines) == 5


def test_a_preset_that_ships_is_named_so_that_it_is_found_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    preset = preset_folder() / "ema-pullback.yaml"
    assert preset.is_file()

    monkeypatch.chdir(tmp_path)
    assert run_view.reachable(preset) == str(preset)
    monkeypatch.chdir(preset.parents[1])
    assert run_view.reachable(preset) == "strategies/ema-pullback.yaml"
