"""The six strategies that ship, in lockstep on the paper exchange, edited while faults strike.

Longer ones, also on recorded candles, are played by `python -m bench.six_strategies`.
"""

import pytest

from tests.proof.play import Played, play
from tests.proof.scene import brief
from tradewright.domain.plan import Mode

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
async def played(tmp_path_factory: pytest.TempPathFactory) -> Played:
    return await play(brief(), tmp_path_factory.mktemp("six") / "proof")


async def test_books_and_cash_agree_no_position_was_without_a_stop_and_no_version_was_lost(
    played: Played,
) -> None:
    assert played.faults == []
    # None of it is for want of something to look at
    assert played.seen.positions > 0
    assert played.seen.strikes.total() > 0
    assert played.outcome.audit.report.exchange.executions > 0


async def test_what_is_promoted_trades_and_what_is_not_does_so_in_the_shadow(
    played: Played,
) -> None:
    traded = {trade.preset for trade in played.outcome.trades}
    followed = {trade.preset for trade in played.shadows}
    refused = {preset for preset, _ in played.refusals}

    assert "order-book-imbalance" in traded
    assert not {"range-trading", "confluence"} & traded
    # Each had a signal; which of those on one symbol comes first depends on what the faults strike
    expected = {"multi-timeframe-trend", "volume-vwap", "impulse-renamed", "confluence"}
    assert expected <= traded | followed | refused


async def test_a_file_raises_no_mode_and_takes_none_away(played: Played) -> None:
    assert played.seen.orders_in_shadow == 0
    assert played.modes == {
        "range-trading": Mode.SHADOW,
        "multi-timeframe-trend": Mode.TRADE,
        "volume-vwap": Mode.TRADE,
        "order-book-imbalance": Mode.TRADE,
        "impulse": Mode.TRADE,
        "impulse-renamed": Mode.TRADE,
        "confluence": Mode.SHADOW,
    }
