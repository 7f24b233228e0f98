"""What the preset's rules make of a signal."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activities.evaluation import leave_wishes, propose
from tradewright import ids
from tradewright.domain.account import LeaveWish
from tradewright.domain.market import Instrument, Side, Timeframe
from tradewright.domain.plan import (
    LimitEntry,
    MarketEntry,
    Proposal,
    RiskFraction,
    Target,
    TrailedBy,
)
from tradewright.domain.signal import ExitSignal, Signal
from tradewright.plugin import Evaluation
from tradewright.preset import Preset

CLOSE = datetime(2022, 1, 1, 10, 15, tzinfo=UTC)

Propose = Callable[..., Proposal | str]


def preset(entry: dict[str, Any] | None = None, **exits: Any) -> Preset:
    return Preset.model_validate(
        {
            "version": 1,
            "name": "ema-pullback",
            "market": {"category": "linear", "symbols": ["BTCUSDT"]},
            "trigger": {"on": "candle", "timeframe": "15m"},
            "strategy": {"plugin": "rules"},
            "entry": {"type": "market", "expires_after": "30s"} | (entry or {}),
            "exits": {"stop": {"indicator": "atr", "times": 2}} | exits,
            "risk": {"sizing": "risk_fraction", "risk_fraction": Decimal("0.005"), "leverage": 5},
            "protections": {"cooldown_candles": 3},
        }
    )


@pytest.fixture
def propose_on(make_instrument: Callable[..., Instrument]) -> Propose:
    def on(
        side: Side = Side.BUY,
        factors: dict[str, float] | None = None,
        price: str = "50000",
        **exits: Any,
    ) -> Proposal | str:
        given_factors = {"atr": 123.456} if factors is None else factors
        return propose(
            preset(**exits),
            preset_hash="abc",
            symbol="BTCUSDT",
            evaluation=Evaluation(
                signal=Signal(side=side, reason="crossed", factors=given_factors),
                factors={"rsi": 55.0},
            ),
            price=Decimal(price),
            window="BTCUSDT/15m/…",
            instrument=make_instrument(),
            close_time=CLOSE,
        )

    return on


def priced(proposal: Proposal | str) -> Proposal:
    assert isinstance(proposal, Proposal), proposal
    return proposal


def test_stop_target_and_trailing_follow_the_preset(propose_on: Propose) -> None:
    wish = priced(
        propose_on(
            target={"r": 3},
            trailing={"after_r": 1, "indicator": "atr", "times": Decimal("1.5")},
            break_even={"after_r": Decimal("0.8")},
            max_candles=96,
        )
    )

    # 50000 - 2 * 123.456 = 49753.088, towards the entry
    assert wish.stop_loss == Decimal("49753.1")
    # 50000 + 3 * 246.9
    assert wish.take_profit == Decimal("50740.7")
    assert wish.exits.trailing is not None
    assert wish.exits.trailing.distance == Decimal("185.2")
    assert wish.exits.trailing.after_r == 1
    assert wish.exits.break_even_after_r == Decimal("0.8")
    assert (wish.exits.max_candles, wish.exits.timeframe) == (96, Timeframe.M15)


def test_a_short_is_the_mirror_image(propose_on: Propose) -> None:
    wish = priced(propose_on(Side.SELL, target={"r": 3}))

    assert wish.stop_loss == Decimal("50246.9")
    assert wish.take_profit == Decimal("49259.3")


LIMIT = {"type": "limit", "rest_candles": 3}


@pytest.mark.parametrize(
    ("side", "limit", "stop"),
    [
        # 50000 - 0.5 * 123.456 = 49938.272, away from the market; the stop is reckoned from there
        (Side.BUY, "49938.2", "49691.3"),
        (Side.SELL, "50061.8", "50308.7"),
    ],
)
def test_a_limit_waits_for_a_better_price_for_so_many_candles(
    propose_on: Propose, side: Side, limit: str, stop: str
) -> None:
    offset = {"indicator": "atr", "times": Decimal("0.5")}

    wish = priced(propose_on(side, entry=LIMIT | {"offset": offset, "post_only": True}))

    assert (wish.price, wish.stop_loss) == (Decimal(limit), Decimal(stop))
    until = CLOSE + timedelta(minutes=45)
    assert wish.entry == LimitEntry(post_only=True, rest_until=until)
    assert priced(propose_on(side)).entry == MarketEntry()


def test_a_limit_without_an_offset_is_the_close(propose_on: Propose) -> None:
    assert priced(propose_on(entry=LIMIT, price="50000.05")).price == Decimal("50000.0")


def test_a_limit_without_a_price_is_none(propose_on: Propose) -> None:
    stop = {"fraction": Decimal("0.02")}
    offset = {"indicator": "atr", "times": 1}

    unknown = propose_on(factors={}, stop=stop, entry=LIMIT | {"offset": offset})
    below = propose_on(factors={"atr": 60_000.0}, stop=stop, entry=LIMIT | {"offset": offset})

    assert unknown == f"BTCUSDT: no limit: its factor is unknown at {CLOSE}"
    assert below == "BTCUSDT: the limit would be at -10000.0"


@pytest.mark.parametrize("side", Side)
def test_a_limit_never_waits_for_a_worse_price_than_the_close(
    propose_on: Propose, side: Side
) -> None:
    """A factor that may be negative is no distance."""
    offset = {"indicator": "atr", "times": 1}
    stop = {"fraction": Decimal("0.02")}

    wish = propose_on(side, factors={"atr": -50.0}, stop=stop, entry=LIMIT | {"offset": offset})

    assert wish == "BTCUSDT: the limit would be -50.0 from the close, on its wrong side"


def test_targets_are_taken_in_parts_and_the_last_takes_the_rest(propose_on: Propose) -> None:
    half = {"r": Decimal("1.5"), "close_fraction": Decimal("0.5")}

    wish = priced(propose_on(targets=[half, {"r": 3}], break_even={"after_target": 1}))

    # R is 246.9: 50000 + 370.35 and + 740.7, towards the entry
    assert wish.targets == (Target(price=Decimal("50370.3"), fraction=Decimal("0.5")),)
    assert wish.take_profit == Decimal("50740.7")
    assert (wish.exits.break_even_after_target, wish.exits.break_even_after_r) == (1, None)


@pytest.mark.parametrize("by", TrailedBy)
def test_the_preset_says_who_trails(propose_on: Propose, by: TrailedBy) -> None:
    trailing = {"after_r": 1, "fraction": Decimal("0.01")}

    wish = priced(propose_on(trailing=trailing | {"by": by.value}))

    assert wish.exits.trailing is not None
    assert wish.exits.trailing.by is by


def test_what_the_strategy_wants_left_is_said_with_its_reason() -> None:
    evaluation = Evaluation(exits=(ExitSignal(side=Side.BUY, reason="the trend is over"),))

    assert leave_wishes("ema-pullback", "abc", "BTCUSDT", evaluation) == (
        LeaveWish(
            preset="ema-pullback",
            preset_hash="abc",
            symbol="BTCUSDT",
            side=Side.BUY,
            reason="the trend is over",
        ),
    )
    assert leave_wishes("ema-pullback", "abc", "BTCUSDT", Evaluation()) == ()


def test_a_stop_may_be_a_share_of_the_price(propose_on: Propose) -> None:
    wish = priced(propose_on(stop={"fraction": Decimal("0.02")}, factors={}))

    assert wish.stop_loss == Decimal(49000)
    assert wish.take_profit is None


def test_everything_else_comes_from_the_preset_and_the_candle(propose_on: Propose) -> None:
    wish = priced(propose_on())

    assert wish.trade_id == ids.trade_id("main", "ema-pullback", "BTCUSDT", CLOSE)
    assert (wish.account, wish.preset, wish.preset_hash) == ("main", "ema-pullback", "abc")
    assert (wish.trigger, wish.price) == (CLOSE, Decimal(50000))
    assert wish.sizing == RiskFraction(risk_fraction=Decimal("0.005"))
    assert (wish.leverage, wish.max_open_trades) == (Decimal(5), 1)
    assert (wish.cooldown, wish.expires_after) == (timedelta(minutes=45), timedelta(seconds=30))
    assert wish.signal.factors == {"atr": 123.456, "rsi": 55.0}
    assert wish.window == "BTCUSDT/15m/…"


def test_a_factor_that_is_not_finite_gives_no_stop_and_is_not_handed_on(
    propose_on: Propose,
) -> None:
    refused = propose_on(factors={"atr": float("nan")})
    wish = priced(propose_on(factors={"gap": float("inf")}, stop={"fraction": Decimal("0.02")}))

    assert refused == f"BTCUSDT: no stop: its factor is unknown at {CLOSE}"
    assert wish.signal.factors == {"rsi": 55.0}


def test_a_stop_within_two_ticks_is_none(propose_on: Propose) -> None:
    assert propose_on(factors={"atr": 0.05}) == (
        "BTCUSDT: the stop would be 0.1 from 50000, less than 2 ticks"
    )
    assert isinstance(propose_on(factors={"atr": 0.1}), Proposal)


def test_a_stop_or_target_beyond_zero_is_none(propose_on: Propose) -> None:
    assert propose_on(factors={"atr": 30000.0}) == "BTCUSDT: the stop would be at -10000.0"
    assert propose_on(Side.SELL, factors={"atr": 2000.0}, target={"r": 20}) == (
        "BTCUSDT: the target would be at -30000.0"
    )


@pytest.mark.parametrize(
    ("factors", "why"),
    [
        ({"gap": 1.0}, f"no trailing distance: its factor is unknown at {CLOSE}"),
        ({"atr": 0.01}, "the trailing distance would be 0.01, less than a tick"),
    ],
)
def test_a_trailing_stop_without_distance_is_none(
    propose_on: Propose, factors: dict[str, float], why: str
) -> None:
    refused = propose_on(
        factors=factors,
        stop={"fraction": Decimal("0.02")},
        trailing={"after_r": 1, "indicator": "atr", "times": 1},
    )

    assert refused == f"BTCUSDT: {why}"


def test_no_signal_is_no_proposal_and_no_reason(make_instrument: Callable[..., Instrument]) -> None:
    nothing = propose(
        preset(),
        preset_hash="abc",
        symbol="BTCUSDT",
        evaluation=Evaluation(factors={"atr": 1.0}),
        price=Decimal(50000),
        window="",
        instrument=make_instrument(),
        close_time=CLOSE,
    )

    assert nothing == ""


@given(
    atr=st.floats(min_value=0.2, max_value=5e3, allow_nan=False),
    side=st.sampled_from(Side),
    r=st.decimals(min_value="0.1", max_value=3, places=2),
)
def test_rounding_never_grows_the_risk_nor_moves_the_target_away(
    atr: float, side: Side, r: Decimal
) -> None:
    instrument = Instrument(
        symbol="BTCUSDT",
        base_coin="BTC",
        tick_size=Decimal("0.1"),
        qty_step=Decimal("0.001"),
        min_qty=Decimal("0.001"),
        max_qty=Decimal(1000),
        max_market_qty=Decimal(100),
    )
    price = Decimal(50000)
    wish = priced(
        propose(
            preset(target={"r": r}),
            preset_hash="abc",
            symbol="BTCUSDT",
            evaluation=Evaluation(signal=Signal(side=side, reason="", factors={"atr": atr})),
            price=price,
            window="",
            instrument=instrument,
            close_time=CLOSE,
        )
    )

    risk = (price - wish.stop_loss) * side.sign
    assert 0 < risk <= 2 * Decimal(repr(atr))
    assert wish.stop_loss % instrument.tick_size == 0
    assert wish.take_profit is not None
    assert wish.take_profit % instrument.tick_size == 0
    assert 0 <= (wish.take_profit - price) * side.sign <= r * risk
