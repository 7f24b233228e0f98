"""The codes of refusals: stable, all explained, their page fresh."""

import ast
from pathlib import Path

import pytest

from tradewright.cli.refusals import page
from tradewright.domain.account import EXPLANATIONS, RefusalCode, explained

ROOT = Path(__file__).parents[2]
ENTRY = (ROOT / "activities" / "entry.py", ROOT / "workflows" / "trade_command.py")
STABLE = [
    "already_traded",
    "below_minimum",
    "book_crossed",
    "book_stale",
    "candle_missing",
    "clock_skew",
    "cooldown",
    "correlated",
    "data_duplicate",
    "data_empty",
    "data_flat",
    "data_future",
    "data_gap",
    "data_malformed",
    "data_no_volume",
    "data_out_of_order",
    "data_outlier",
    "data_stale",
    "data_unverified",
    "gate_closed",
    "history_unread",
    "liquidation_distance",
    "losing_symbol",
    "loss_streak",
    "margin_mode",
    "max_daily_loss",
    "max_drawdown",
    "max_heat",
    "max_leverage",
    "max_open_trades",
    "max_orders_per_minute",
    "max_total_exposure",
    "max_unresolved",
    "min_balance",
    "no_levels",
    "not_reconciled",
    "outside_session",
    "paused",
    "position_mode",
    "preset_drawdown",
    "preset_max_open_trades",
    "preset_unusable",
    "slippage_too_large",
    "snapshot_stale",
    "spread_too_wide",
    "stale_data",
    "stop_guard",
    "stop_wrong_side",
    "strategy_failed",
    "stream_dead",
    "symbol_blocked",
    "symbol_taken",
    "symbol_unresolved",
    "warming_up",
]
"""Written down once more: a code that is renamed breaks whoever counts it."""


def entry_codes() -> list[str]:
    """Return the codes that entries are rejected with, as the source has them."""
    found = []
    nodes = (n for file in ENTRY for n in ast.walk(ast.parse(file.read_text("utf-8"))))
    for node in nodes:
        if isinstance(node, ast.keyword) and node.arg == "code":
            value = node.value
            if isinstance(value, ast.Constant):
                found.append(str(value.value))
            elif isinstance(value, ast.JoinedStr):
                head = value.values[0]
                assert isinstance(head, ast.Constant)
                found.append(str(head.value) + "x")
    return found


def test_codes_are_stable() -> None:
    assert sorted(RefusalCode) == STABLE


@pytest.mark.parametrize("code", list(RefusalCode))
def test_every_code_of_the_desk_is_explained(code: RefusalCode) -> None:
    assert code in EXPLANATIONS


def test_every_code_of_an_entry_is_explained() -> None:
    codes = entry_codes()

    assert {"price_moved", "expired", "exit_requested", "bybit_x"} <= set(codes)
    assert [code for code in codes if explained(code) is None] == []


def test_codes_of_the_exchange_are_explained_by_their_kind() -> None:
    assert explained("bybit_110007") == EXPLANATIONS["bybit_<retCode>"]
    assert explained("bybit_cancelled") == EXPLANATIONS["bybit_<status>"]
    assert explained("bybit_10001") == EXPLANATIONS["bybit_10001"]
    assert explained("no_such_code") is None


def test_the_page_of_limits_and_codes_is_fresh() -> None:
    shown = (ROOT / "docs" / "refusals.md").read_text("utf-8")

    assert shown == page(), "run `python -m tradewright.cli.refusals docs/refusals.md`"
