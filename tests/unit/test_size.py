"""How much is traded: never more risk than declared, always what the exchange takes."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewright.domain.market import Instrument, Timeframe
from tradewright.domain.plan import FixedNotional, RiskFraction, Sizing, VolatilityTarget
from tradewright.domain.size import TooSmall, order_size
from tradewright.preset.risk import RiskByVolatility


def btc(**changes: Any) -> Instrument:
    fields = {
        "symbol": "BTCUSDT",
        "base_coin": "BTC",
        "tick_size": "0.1",
        "qty_step": "0.001",
        "min_qty": "0.001",
        "max_qty": "100",
        "max_market_qty": "50",
    }
    return Instrument.model_validate(fields | changes)


def size(sizing: Sizing, **changes: Any) -> Decimal | TooSmall:
    fields: dict[str, Any] = {
        "equity": Decimal(10_000),
        "price": Decimal(50_000),
        "stop_loss": Decimal(49_500),
        "confidence": Decimal(1),
        "max_notional": Decimal(1_000_000),
        "instrument": btc(),
    }
    return order_size(sizing=sizing, **(fields | changes))


ONE_PER_CENT = RiskFraction(risk_fraction=Decimal("0.01"))


def test_one_per_cent_is_lost_at_the_stop() -> None:
    assert size(ONE_PER_CENT) == Decimal("0.200")


def test_confidence_scales_the_size() -> None:
    assert size(ONE_PER_CENT, confidence=Decimal("0.5")) == Decimal("0.100")
    assert size(FixedNotional(notional=Decimal(5_000)), confidence=Decimal("0.5")) == Decimal(
        "0.050"
    )


def test_a_fixed_notional_is_the_same_whatever_the_stop() -> None:
    notional = FixedNotional(notional=Decimal(5_000))

    assert size(notional) == size(notional, stop_loss=Decimal(1)) == Decimal("0.100")


def target(**changes: Any) -> VolatilityTarget:
    fields = {"target": "0.02", "measured": "0.04", "max_risk_fraction": "0.05"}
    return VolatilityTarget.model_validate(fields | changes)


def test_a_position_moves_as_much_as_it_is_to_whatever_the_market_does() -> None:
    assert size(target()) == Decimal("0.100")
    assert size(target(measured="0.08")) == Decimal("0.050")
    assert size(target(measured="0.02")) == Decimal("0.200")
    # The stop does not matter ...
    assert size(target(), stop_loss=Decimal(45_000)) == Decimal("0.100")
    assert size(target(), confidence=Decimal("0.5")) == Decimal("0.050")


def test_a_calm_market_does_not_risk_more_at_the_stop_than_told() -> None:
    calm = target(measured="0.0001", max_risk_fraction="0.01")

    # ... but where it would cost more than that
    assert size(calm) == size(ONE_PER_CENT) == Decimal("0.200")
    assert size(calm, confidence=Decimal("0.5")) == Decimal("0.100")


def test_a_share_scales_what_is_left() -> None:
    assert size(ONE_PER_CENT, share=Decimal("0.25")) == Decimal("0.050")
    assert isinstance(size(ONE_PER_CENT, share=Decimal(0)), TooSmall)


@pytest.mark.parametrize(
    ("per", "timeframe", "expected"),
    [
        # An ATR of 1 % of price on hourly candles: times the root of 24, or of 365 days of them
        ("day", Timeframe.H1, Decimal("0.01") * Decimal(24).sqrt()),
        ("year", Timeframe.H1, Decimal("0.01") * Decimal(24 * 365).sqrt()),
        ("day", Timeframe.D1, Decimal("0.01")),
    ],
)
def test_volatility_is_measured_over_the_period_of_the_target(
    per: str, timeframe: Timeframe, expected: Decimal
) -> None:
    risk = RiskByVolatility.model_validate(
        {
            "sizing": "volatility_target",
            "target_volatility": Decimal("0.02"),
            "indicator": "atr",
            "per": per,
        }
    )

    found = risk.measured(Decimal(50_000), {"atr": 500.0}, timeframe)

    assert isinstance(found, VolatilityTarget)
    assert found.measured.quantize(Decimal("1e-9")) == expected.quantize(Decimal("1e-9"))
    assert (found.target, found.max_risk_fraction) == (Decimal("0.02"), Decimal("0.01"))


@pytest.mark.parametrize("atr", [None, float("nan"), 0.0, -1.0, float("inf")])
def test_volatility_that_is_unknown_gives_no_size(atr: float | None) -> None:
    risk = RiskByVolatility(
        sizing="volatility_target", target_volatility=Decimal("0.02"), indicator="atr"
    )
    factors = {} if atr is None else {"atr": atr}

    assert risk.measured(Decimal(50_000), factors, Timeframe.H1) is None


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"max_notional": Decimal(1_000)}, "0.020"),
        ({"instrument": btc(max_qty="0.05")}, "0.050"),
        ({"instrument": btc(max_market_qty="0.0305")}, "0.030"),
    ],
)
def test_a_size_is_cut_to_its_limits(changes: dict[str, Any], expected: str) -> None:
    assert size(ONE_PER_CENT, **changes) == Decimal(expected)


def test_below_the_minimum_quantity_says_so_with_the_numbers() -> None:
    small = size(ONE_PER_CENT, equity=Decimal(40))

    assert small == TooSmall(
        reason="0.00080000 BTC rounds down to 0.000, below the minimum order of 0.001 BTC"
    )


def test_below_the_minimum_value_says_so_with_the_numbers() -> None:
    small = size(ONE_PER_CENT, equity=Decimal(50), instrument=btc(min_notional="100"))

    assert small == TooSmall(
        reason="0.001 BTC is worth 50.00 USDT, below the minimum order of 100 USDT"
    )


@pytest.mark.parametrize("equity", [Decimal(0), Decimal(-500)])
def test_without_equity_there_is_no_size(equity: Decimal) -> None:
    assert isinstance(size(ONE_PER_CENT, equity=equity), TooSmall)


money = st.decimals(min_value="0.01", max_value=10_000_000, places=2)
fractions = st.decimals(min_value="0.0001", max_value=1, places=4)


@given(
    sizing=st.one_of(
        st.builds(RiskFraction, risk_fraction=fractions),
        st.builds(FixedNotional, notional=money),
        st.builds(
            VolatilityTarget, target=fractions, measured=fractions, max_risk_fraction=fractions
        ),
    ),
    equity=money,
    price=money,
    distance=fractions,
    confidence=fractions,
    share=fractions | st.just(Decimal(0)),
    max_notional=money,
    step=st.sampled_from(["0.001", "0.1", "1", "10"]),
    minimum=st.sampled_from([1, 2, 5]),
)
def test_no_rounding_and_no_limit_ever_makes_a_size_larger(
    sizing: Sizing,
    equity: Decimal,
    price: Decimal,
    distance: Decimal,
    confidence: Decimal,
    share: Decimal,
    max_notional: Decimal,
    step: str,
    minimum: int,
) -> None:
    instrument = btc(qty_step=step, min_qty=Decimal(step) * minimum, max_qty="1000000")
    stop_loss = price * (1 + distance)

    qty = size(
        sizing,
        equity=equity,
        price=price,
        stop_loss=stop_loss,
        confidence=confidence,
        share=share,
        max_notional=max_notional,
        instrument=instrument,
    )

    if isinstance(qty, TooSmall):
        return
    assert qty % instrument.qty_step == 0
    assert instrument.min_qty <= qty <= min(instrument.max_qty, instrument.max_market_qty)
    assert qty * price >= instrument.min_notional
    slack = 1 + Decimal("1e-20")
    assert qty * price <= max_notional * slack
    scale, risk = confidence * share * slack, qty * abs(price - stop_loss)
    match sizing:
        case RiskFraction():
            assert risk <= equity * sizing.risk_fraction * scale
        case FixedNotional():
            assert qty * price <= sizing.notional * scale
        case VolatilityTarget():
            assert risk <= equity * sizing.max_risk_fraction * scale
            assert qty * price * sizing.measured <= equity * sizing.target * scale
