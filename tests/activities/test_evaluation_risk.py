"""What a preset declares of size and protection reaches the desk."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from activities.evaluation import propose
from tradewright.domain.market import Instrument, Side
from tradewright.domain.plan import CorrelationCap, Mode, Proposal, VolatilityTarget
from tradewright.domain.protection import DrawdownGuard, Guards, LossGuard
from tradewright.domain.signal import Signal
from tradewright.plugin import Evaluation
from tradewright.preset import Preset

CLOSE = datetime(2022, 1, 1, 10, 15, tzinfo=UTC)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
BY_VOLATILITY = {
    "sizing": "volatility_target",
    "target_volatility": Decimal("0.02"),
    "indicator": "atr",
}

Propose = Callable[..., Proposal | str]


@pytest.fixture
def propose_with(make_instrument: Callable[..., Instrument]) -> Propose:
    def proposed(atr: float | None = 100.0, **changes: Any) -> Proposal | str:
        preset = Preset.model_validate(
            {
                "version": 1,
                "name": "ema-pullback",
                "market": {"category": "linear", "symbols": ["BTCUSDT"]},
                "trigger": {"on": "candle", "timeframe": "15m"},
                "strategy": {"plugin": "rules"},
                "entry": {"type": "market", "expires_after": "30s"},
                "exits": {"stop": {"fraction": Decimal("0.01")}},
                "risk": BY_VOLATILITY,
            }
            | changes
        )
        factors = {} if atr is None else {"atr": atr}
        return propose(
            preset,
            preset_hash="abc",
            symbol="BTCUSDT",
            evaluation=Evaluation(signal=Signal(side=Side.BUY, reason="test", factors=factors)),
            price=Decimal(50_000),
            window="w",
            instrument=make_instrument(),
            close_time=CLOSE,
        )

    return proposed


def test_volatility_is_measured_at_the_signal(propose_with: Propose) -> None:
    wish = propose_with()

    assert isinstance(wish, Proposal)
    assert isinstance(wish.sizing, VolatilityTarget)
    # 100 of 50 000 per quarter of an hour, of which a day has 96
    assert wish.sizing.measured.quantize(Decimal("1e-6")) == Decimal("0.019596")


def test_without_its_factor_there_is_no_size_and_no_proposal(propose_with: Propose) -> None:
    assert propose_with(atr=None) == (
        "BTCUSDT: no size: its factor is unknown at 2022-01-01 10:15:00+00:00"
    )


def test_what_is_declared_is_carried_to_the_desk(propose_with: Propose) -> None:
    losses = {"losses": 3, "within": "1d", "pause": "4h"}
    wish = propose_with(
        mode="shadow",
        risk=BY_VOLATILITY
        | {"scale_by_confidence": False, "correlation": {"max": Decimal("0.8"), "share": 0}},
        protections={
            "stop_guard": losses,
            "losing_symbol": losses | {"losses": 4},
            "max_drawdown": {"fraction": Decimal("0.05"), "within": "7d", "pause": "1d"},
            "max_slippage_bp": 20,
        },
    )

    assert isinstance(wish, Proposal)
    assert (wish.mode, wish.scale_by_confidence) == (Mode.SHADOW, False)
    assert wish.correlation == CorrelationCap(max=Decimal("0.8"), share=Decimal(0))
    assert wish.guards == Guards(
        stop_guard=LossGuard(losses=3, within=DAY, pause=4 * HOUR),
        losing_symbol=LossGuard(losses=4, within=DAY, pause=4 * HOUR),
        max_drawdown=DrawdownGuard(fraction=Decimal("0.05"), within=7 * DAY, pause=DAY),
    )
    assert wish.max_slippage_bp == 20


def test_what_is_not_declared_is_not_carried(propose_with: Propose) -> None:
    wish = propose_with()

    assert isinstance(wish, Proposal)
    assert (wish.mode, wish.scale_by_confidence) == (Mode.TRADE, True)
    assert (wish.correlation, wish.guards, wish.max_slippage_bp) == (None, None, None)
