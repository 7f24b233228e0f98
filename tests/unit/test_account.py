"""The desk: what it carries from one decision to the next."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.desk import (
    IN_DOUBT,
    NOON,
    NOW,
    OTHER,
    Code,
    desk,
    holding,
    plan_of,
    position,
    proposal,
    refusal,
    released,
    snapshot,
    trade_id,
)
from tradewright.domain.account import (
    REMEMBERED_TRADES,
    Account,
    Approved,
    LeaveWish,
    Limits,
    Released,
    breach,
    decide,
)
from tradewright.domain.market import Side
from tradewright.domain.plan import RiskFraction


def test_a_new_day_of_the_market_begins_with_its_first_equity() -> None:
    account = desk().observed(snapshot("9600"))
    next_day = account.observed(snapshot("9600", market_at=NOON + timedelta(days=1)))

    assert (account.day_equity, account.day_loss_fraction) == (*(Decimal(10_000), Decimal("0.04")),)
    assert (next_day.day, next_day.day_equity) == ("2026-03-03", Decimal(9_600))
    assert next_day.day_loss_fraction == 0


def test_the_peak_is_kept_through_losses_and_days() -> None:
    account = desk().observed(snapshot("12000"))

    account = account.observed(snapshot("9000", market_at=NOON + timedelta(days=3)))

    assert account.peak_equity == 12_000


def test_a_day_that_gained_has_lost_nothing() -> None:
    assert desk().observed(snapshot("11000")).day_loss_fraction == 0
    assert desk(snapshot=None).day_loss_fraction == 0


def test_the_daily_loss_trips_at_its_limit_and_not_before() -> None:
    assert breach(desk().observed(snapshot("9500.01")), Limits()) is None
    told = breach(desk().observed(snapshot("9500")), Limits())
    assert told == (
        "max_daily_loss: equity fell 5.00% since the start of 2026-03-02, the limit is 5.00%"
    )


def test_a_release_frees_the_symbol_even_before_the_next_snapshot() -> None:
    account = holding(proposal()).observed(snapshot(positions=(position(),)))

    free = account.released(Released(trade_id=trade_id(1), at=NOON))

    assert free.reservations == ()
    assert refusal(decide(proposal(2), free, Limits(), NOW)) is None


def test_a_release_starts_the_rest_of_its_preset_on_its_symbol() -> None:
    rest = timedelta(minutes=3)
    account = holding(proposal()).released(Released(trade_id=trade_id(1), at=NOON, cooldown=rest))

    during = proposal(2, trigger=NOON + rest - timedelta(seconds=1))
    over = proposal(2, trigger=NOON + rest)

    assert refusal(decide(during, account, Limits(), NOW)) is Code.COOLDOWN
    assert refusal(decide(over, account, Limits(), NOW)) is None


@pytest.mark.parametrize("account", [holding(proposal()), desk()])
def test_the_doubts_of_a_trade_end_with_its_release(account: Account) -> None:
    """A trade that was terminated tells nobody any more what became of its orders."""
    own = {"trade_id": trade_id(1), "order_link_id": f"{trade_id(1)}-x2", "since": NOW}
    doubt = IN_DOUBT.model_copy(update=own)
    other = IN_DOUBT.model_copy(update={"since": NOW})
    account = account.with_unresolved(doubt, NOW).with_unresolved(other, NOW)

    account = account.released(Released(trade_id=trade_id(1), at=NOON))

    assert len(account.doubts(NOW + timedelta(minutes=59))) == 2
    assert account.doubts(NOW + timedelta(minutes=61)) == (other,)


def test_a_repeated_release_changes_nothing() -> None:
    release = Released(trade_id=trade_id(1), at=NOON, cooldown=timedelta(minutes=3))
    account = holding(proposal()).released(release)

    assert account.released(release) == account
    assert account.done == (trade_id(1),)


def test_only_so_many_ended_trades_are_remembered() -> None:
    account = released(*range(1, 4)).model_copy(
        update={"done": tuple(str(n) for n in range(REMEMBERED_TRADES))}
    )
    account = account.reserved(plan_of(proposal(9)), NOW)

    account = account.released(Released(trade_id=trade_id(9), at=NOON))

    assert (len(account.done), account.done[-1]) == (REMEMBERED_TRADES, trade_id(9))


def test_only_the_entries_of_the_last_minute_count() -> None:
    account = desk(entries=(NOON - timedelta(seconds=60), NOON - timedelta(seconds=59)))

    account = account.reserved(plan_of(proposal()), NOW)

    assert account.entries == (NOON - timedelta(seconds=59), NOON)


def test_a_trade_that_holds_more_than_was_planned_counts_with_what_it_holds() -> None:
    account = holding(proposal(2, symbol="ETHUSDT")).observed(
        snapshot(positions=(position("ETHUSDT", qty="0.16"),))
    )

    decision = decide(proposal(), account, Limits(), NOW)

    assert refusal(decision) is Code.MAX_TOTAL_EXPOSURE


SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT")


@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(("reserve", "release", "look")),
            st.integers(min_value=0, max_value=3),
            st.decimals(min_value="0.0005", max_value="0.05", places=4),
            st.decimals(min_value=1_000, max_value=20_000, places=0),
        ),
        max_size=30,
    )
)
def test_no_sequence_of_reservations_and_releases_breaks_a_limit(
    steps: list[tuple[str, int, Decimal, Decimal]],
) -> None:
    limits = Limits(max_orders_per_minute=1000)
    account, equity = desk(), Decimal(10_000)
    for number, (step, which, risk, seen) in enumerate(steps, start=1):
        symbol = SYMBOLS[which]
        if step == "reserve":
            wish = proposal(
                number,
                symbol=symbol,
                sizing=RiskFraction(risk_fraction=risk),
                max_open_trades=9,
            )
            decision = decide(wish, account, limits, NOW)
            if isinstance(decision, Approved):
                account = account.reserved(decision.plan, NOW)
                assert account.exposure <= min(
                    limits.max_total_exposure, limits.max_leverage * equity
                )
                assert account.heat <= limits.max_heat_fraction * equity
        elif step == "release":
            for held in [r.plan for r in account.reservations if r.plan.symbol == symbol]:
                account = account.released(Released(trade_id=held.trade_id, at=NOON))
        else:
            equity = seen
            account = account.observed(snapshot(str(seen)))
        symbols = [r.plan.symbol for r in account.reservations]
        assert len(symbols) == len(set(symbols)) <= limits.max_open_trades


def test_a_wish_to_leave_finds_the_trade_of_its_preset_and_side() -> None:
    account = holding(proposal(), proposal(2, symbol="ETHUSDT", **OTHER))
    btc = {"preset": "ema", "symbol": "BTCUSDT"}

    def found(**wish: Any) -> list[str]:
        return [plan.symbol for plan in account.held_by(LeaveWish(**wish))]

    assert found(**btc) == found(**btc, side=Side.BUY) == ["BTCUSDT"]
    assert found(**btc, side=Side.SELL) == []
    (version,) = {plan.preset_hash for plan in account.held_by(LeaveWish(**btc))}
    assert found(**btc, preset_hash=version) == ["BTCUSDT"]
    assert found(**btc, preset_hash="another") == []
    assert found(preset="ema", symbol="ETHUSDT") == []


def test_losses_in_a_row_are_counted_and_a_gain_ends_them() -> None:
    account = desk()
    counted = []
    for number, pnl in enumerate(("-1", "-2", "0", "-3", "5", "-1"), start=1):
        account = account.reserved(plan_of(proposal(number)), NOW)
        ended = Released(trade_id=trade_id(number), at=NOON, pnl=Decimal(pnl))
        account = account.released(ended).released(ended)
        counted.append(account.losses)

    assert counted == [1, 2, 2, 3, 0, 1]
