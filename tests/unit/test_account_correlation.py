"""What moves as open trades do is traded less."""

from decimal import Decimal
from typing import Any

import pytest

from tests.unit.desk import NOW, desk, proposal
from tradewright.domain.account import (
    Account,
    Approved,
    Decision,
    Limits,
    RefusalCode,
    decide,
)
from tradewright.domain.market import Side
from tradewright.domain.plan import CorrelationCap, Proposal, RiskFraction
from tradewright.domain.signal import Signal

HALF = CorrelationCap(max=Decimal("0.8"), share=Decimal("0.5"))
ROOMY = Limits(
    max_position_notional=Decimal(1_000_000),
    max_total_exposure=Decimal(1_000_000),
    max_heat_fraction=Decimal("0.5"),
)


def wish(number: int = 0, side: Side = Side.BUY, **changes: Any) -> Proposal:
    """Return a proposal of 0.4 by its risk, of which its confidence leaves half."""
    signal = Signal(side=side, reason="test", confidence=Decimal("0.5"))
    sizing = RiskFraction(risk_fraction=Decimal("0.02"))
    fields = {"side": side, "signal": signal, "sizing": sizing, "max_open_trades": 9}
    return proposal(number, **fields | changes)


def decided(account: Account, wished: Proposal) -> Decision:
    return decide(wished, account, ROOMY, NOW)


def qty(account: Account, wished: Proposal) -> Decimal | RefusalCode:
    decision = decided(account, wished)
    return decision.plan.qty if isinstance(decision, Approved) else decision.code


def holding(*wishes: Proposal) -> Account:
    account = desk()
    for wished in wishes:
        decision = decided(account, wished)
        assert isinstance(decision, Approved), decision
        account = account.reserved(decision.plan, NOW)
    return account


LONG = wish(1, symbol="ETHUSDT")
SHORT = wish(2, symbol="XRPUSDT", side=Side.SELL)


@pytest.mark.parametrize(
    ("held", "side", "correlations", "expected"),
    [
        ((LONG,), Side.BUY, {"ETHUSDT": 0.81}, "0.100"),
        ((LONG,), Side.BUY, {"ETHUSDT": 0.8}, "0.200"),
        ((LONG,), Side.BUY, {"ETHUSDT": -0.9}, "0.200"),
        ((LONG,), Side.SELL, {"ETHUSDT": 0.9}, "0.200"),
        ((LONG,), Side.SELL, {"ETHUSDT": -0.9}, "0.100"),
        ((SHORT,), Side.SELL, {"XRPUSDT": 0.9}, "0.100"),
        # Unknown is not diversified
        ((LONG,), Side.BUY, {}, "0.100"),
        ((LONG, SHORT), Side.BUY, {"ETHUSDT": 0.9, "XRPUSDT": -0.9}, "0.050"),
        ((LONG, SHORT), Side.BUY, {"ETHUSDT": 0.9, "XRPUSDT": 0.9}, "0.100"),
        ((), Side.BUY, {"ETHUSDT": 0.9}, "0.200"),
    ],
)
def test_what_moves_as_open_trades_do_is_traded_less(
    held: tuple[Proposal, ...], side: Side, correlations: dict[str, float], expected: str
) -> None:
    wished = wish(side=side, correlation=HALF, correlations=correlations)

    assert qty(holding(*held), wished) == Decimal(expected)


def test_the_plan_says_what_was_cut_and_why() -> None:
    cut = decided(holding(LONG), wish(correlation=HALF))
    whole = decided(desk(), wish(correlation=HALF))

    assert isinstance(cut, Approved)
    assert cut.plan.reason == "test (it moves as ETHUSDT: of the size 0.5 is left)"
    assert isinstance(whole, Approved)
    assert whole.plan.reason == "test"


def test_correlation_does_not_matter_unless_declared() -> None:
    assert qty(holding(LONG), wish(correlations={"ETHUSDT": 1.0})) == Decimal("0.200")


def test_what_a_cap_leaves_too_small_is_refused_for_it() -> None:
    none = CorrelationCap(max=Decimal("0.8"), share=Decimal(0))
    little = CorrelationCap(max=Decimal("0.8"), share=Decimal("0.001"))

    for cap in (none, little):
        assert qty(holding(LONG), wish(correlation=cap)) is RefusalCode.CORRELATED
    assert qty(desk(), wish(correlation=none)) == Decimal("0.200")


def test_confidence_scales_unless_it_is_not_to() -> None:
    assert qty(desk(), wish()) == Decimal("0.200")
    assert qty(desk(), wish(scale_by_confidence=False)) == Decimal("0.400")
