"""The risk monitor: what fires, what never does, and what a fresh desk goes on from."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewright.domain.account import (
    UNEXPLAINED_PATIENCE,
    Account,
    Baseline,
    CashMark,
    Channel,
    Consequence,
    Consequences,
    Limits,
    MarginMode,
    Past,
    Pause,
    Position,
    RefusalCode,
    Snapshot,
    Tally,
    Unresolved,
    Watch,
    breaches,
    lifted,
    limit_changes,
    unfired,
    usage,
    watch,
)
from tradewright.domain.market import Side

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
"""Market clock."""
MARK = CashMark(at=NOON, balance=Decimal(0))
Code = RefusalCode
LIMITS = Limits()


def snapshot(equity: Decimal | str | int, step: int = 0, **changes: Any) -> Snapshot:
    later = timedelta(seconds=30 * step)
    fields = {"at": NOW + later, "market_at": NOON + later, "equity": equity, "wallet": equity}
    return Snapshot.model_validate(fields | changes)


def cash(**changes: Any) -> Tally:
    return Tally.model_validate({"explained": True, "mark": MARK} | changes)


def desk(equity: Decimal | str | int = 10_000, **changes: Any) -> Account:
    fresh = Account(name="main", started_at=NOW, reconciled_at=NOW).observed(snapshot(equity))
    return fresh.model_copy(update=changes)


def looks(account: Account, *seen: Snapshot, limits: Limits = LIMITS) -> list[Watch]:
    """Return what each snapshot led to."""
    found = []
    for look in seen:
        found.append(watch(account.observed(look), limits, look.at))
        account = found[-1].account
    return found


def fired(found: list[Watch]) -> list[list[RefusalCode]]:
    return [[breach.code for breach in one.fires] for one in found]


# --- two samples ----------------------------------------------------------------------------------


def test_a_loss_fires_at_the_second_look_and_once() -> None:
    found = looks(desk(), *(snapshot(9_400, step) for step in range(1, 5)))

    assert fired(found) == [[], [Code.MAX_DAILY_LOSS], [], []]
    assert [one.look_again for one in found] == [True, False, False, False]


def test_a_loss_of_the_day_fires_once_a_day_however_it_wavers() -> None:
    equities = (9_400, 9_400, 9_600, 9_400, 9_400)

    found = looks(desk(), *(snapshot(e, n) for n, e in enumerate(equities, start=1)))

    assert fired(found) == [[], [Code.MAX_DAILY_LOSS], [], [], []]


def test_a_drawdown_that_comes_back_fires_again() -> None:
    account = desk(peak_equity=Decimal(12_000))
    equities = (9_590, 9_590, 9_700, 9_590, 9_590)

    found = looks(account, *(snapshot(e, n) for n, e in enumerate(equities, start=1)))

    assert fired(found) == [[], [Code.MAX_DRAWDOWN], [], [], [Code.MAX_DRAWDOWN]]


def test_what_could_not_be_brought_about_fires_again_at_the_next_look() -> None:
    [_, second] = looks(desk(), snapshot(9_400, 1), snapshot(9_400, 2))

    [third] = looks(unfired(second.account, Code.MAX_DAILY_LOSS), snapshot(9_400, 3))

    assert fired([third]) == [[Code.MAX_DAILY_LOSS]]


def test_a_snapshot_that_could_not_be_taken_confirms_nothing() -> None:
    [first] = looks(desk(), snapshot(9_400, 1))

    stale = watch(first.account, LIMITS, NOW + timedelta(minutes=1), is_new=False)

    assert stale.fires == ()
    assert fired(looks(stale.account, snapshot(9_400, 2))) == [[Code.MAX_DAILY_LOSS]]


@given(
    odd=st.decimals(min_value=-5_000, max_value=100_000, places=2),
    skew=st.integers(min_value=-100, max_value=100),
    liquidation=st.decimals(min_value=1, max_value=60_000, places=0),
)
def test_one_odd_sample_never_fires(odd: Decimal, skew: int, liquidation: Decimal) -> None:
    """E7: one odd sample of equity closes no positions."""
    everything = dict.fromkeys(Consequences.model_fields, Consequence.TRIP)
    limits = Limits(consequences=Consequences.model_validate(everything))
    held = Position(
        symbol="BTCUSDT", side=Side.BUY, qty=1, entry_price=50_000, mark_price=Decimal(50_000)
    )
    strange = snapshot(
        odd,
        1,
        clock_skew=timedelta(seconds=skew),
        positions=(held,),
        liquidation_prices={"BTCUSDT": liquidation},
    )
    # The odd one may be a new peak that what follows looks small beside: no drawdown of ours
    limits = limits.model_copy(update={"max_drawdown_fraction": Decimal(1)})

    found = looks(
        desk(), snapshot(10_000), strange, snapshot(10_000, 2), snapshot(10_000, 3), limits=limits
    )

    assert fired(found) == [[], [], [], []]


# --- money moved ----------------------------------------------------------------------------------


@given(
    lost=st.decimals(min_value=0, max_value="0.04", places=4),
    moves=st.lists(
        st.decimals(min_value="-0.9", max_value=9, places=3).filter(bool), min_size=1, max_size=6
    ),
)
def test_deposits_and_withdrawals_never_fire_and_change_no_loss(
    lost: Decimal, moves: list[Decimal]
) -> None:
    """E7: deposits and withdrawals are not PnL; the peak is kept with its baseline."""
    account = desk().observed(snapshot(10_000 * (1 - lost), 1))
    before = (account.day_loss_fraction, account.drawdown_fraction)
    equity = 10_000 * (1 - lost)
    for step, move in enumerate(moves, start=2):
        moved = (equity * move).quantize(Decimal("0.01"))
        equity += moved
        for look in looks(
            account,
            snapshot(equity, 2 * step, cash=cash(moved=moved)),
            snapshot(equity, 2 * step + 1, cash=cash()),
        ):
            assert look.fires == ()
            assert not breaches(look.account, LIMITS.model_copy(update={"min_balance": 0}), NOW)
            account = look.account
        now = (account.day_loss_fraction, account.drawdown_fraction)
        assert all(abs(a - b) < Decimal("1e-6") for a, b in zip(now, before, strict=True))


def test_an_account_that_was_emptied_begins_anew_with_the_next_deposit() -> None:
    account = desk().observed(snapshot(0, 1, cash=cash(moved=-10_000)))
    account = account.observed(snapshot(500, 2, cash=cash(moved=500)))

    assert account.peak_equity == account.day_equity == 500
    assert account.drawdown_fraction == account.day_loss_fraction == 0


def test_a_wallet_that_is_not_explained_yet_fires_nothing() -> None:
    """E7: a withdrawal that the transaction log shows late is no loss."""
    unexplained = cash(explained=False)
    late = cash(moved=-4_000)

    found = looks(
        desk(),
        snapshot(6_000, 1, cash=unexplained),
        snapshot(6_000, 2, cash_fault="no answer"),
        snapshot(6_000, 3, cash=late),
        snapshot(6_000, 4, cash=cash()),
    )

    assert fired(found) == [[], [], [], []]
    assert found[-1].account.day_equity == 6_000


def test_a_deposit_that_is_not_explained_yet_makes_no_peak() -> None:
    """E7: a deposit that the transaction log shows late is no gain that could be lost again."""
    found = looks(
        desk(),
        snapshot(20_000, 1, cash=cash(explained=False)),
        snapshot(20_000, 2, cash=cash(moved=10_000)),
        snapshot(20_000, 3, cash=cash()),
    )

    assert fired(found) == [[], [], []]
    account = found[-1].account
    assert account.peak_equity == account.day_equity == 20_000
    assert account.drawdown_fraction == 0


def test_a_wallet_that_nothing_explains_counts_as_a_loss_in_the_end() -> None:
    seen = [snapshot(6_000, step, cash=cash(explained=False)) for step in range(1, 10)]

    found = looks(desk(), *seen)

    first = next(n for n, one in enumerate(found) if one.fires)
    assert seen[first].at - seen[0].at >= UNEXPLAINED_PATIENCE
    assert {b.code for b in found[first].fires} == {Code.MAX_DAILY_LOSS, Code.MAX_DRAWDOWN}


def test_a_loss_that_was_confirmed_half_is_not_forgotten_while_nothing_is_explained() -> None:
    found = looks(
        desk(),
        snapshot(9_400, 1),
        snapshot(9_400, 2, cash_fault="no answer"),
        snapshot(9_400, 3),
    )

    assert fired(found) == [[], [], [Code.MAX_DAILY_LOSS]]


def test_what_the_day_realised_is_summed_and_begins_anew() -> None:
    account = desk()
    account = account.observed(
        snapshot(10_010, 1, cash=cash(realised="9.5", fees="0.5", funding="-0.1"))
    )
    account = account.observed(snapshot(10_010, 2, cash=cash(realised="1")))
    tomorrow = snapshot(10_010, market_at=NOON + timedelta(days=1), cash=cash(realised="-2"))

    sums = (account.realised_today, account.fees_today, account.funding_today)
    assert sums == (Decimal("10.5"), Decimal("0.5"), Decimal("-0.1"))
    assert account.observed(tomorrow).realised_today == -2


# --- consequences ---------------------------------------------------------------------------------


def declared(**consequences: str) -> Limits:
    return Limits(consequences=Consequences.model_validate(consequences))


@pytest.mark.parametrize("consequence", list(Consequence))
def test_a_breach_has_the_consequence_that_was_declared(consequence: Consequence) -> None:
    limits = declared(max_daily_loss=consequence)

    [_, second] = looks(desk(), snapshot(9_400, 1), snapshot(9_400, 2), limits=limits)

    paused = [pause.until for pause in second.account.pauses]
    if consequence is Consequence.REFUSE:
        assert (second.fires, paused) == ((), [])
    elif consequence is Consequence.PAUSE:
        assert [b.consequence for b in second.fires] == [consequence]
        assert paused == [NOON + timedelta(minutes=1) + limits.pause]
    else:
        assert ([b.consequence for b in second.fires], paused) == ([consequence], [])
    [breach] = breaches(second.account, limits, NOW)
    assert breach.consequence is consequence


def test_a_streak_of_losses_pauses_for_its_time_and_is_counted_anew() -> None:
    account = desk(losses=10)

    [first, second] = looks(account, snapshot(10_000, 1), snapshot(10_000, 2))

    assert fired([first, second]) == [[Code.LOSS_STREAK], []]
    [pause] = second.account.pauses
    assert pause.until == NOON + timedelta(seconds=30) + LIMITS.loss_streak_pause
    assert second.account.losses == 0
    assert second.account.streak_since == NOON + timedelta(seconds=30)
    over = second.account.observed(snapshot(10_000, market_at=pause.until))
    assert over.pauses == ()


def test_a_private_stream_that_is_dead_too_long_trips_and_a_public_one_does_not() -> None:
    channels = tuple(
        Channel(name=name, fault="silent", since=NOW - timedelta(minutes=5))
        for name in ("private", "public")
    )

    [found] = looks(desk(channels=channels), snapshot(10_000))

    assert [(b.code, b.consequence) for b in found.fires] == [(Code.STREAM_DEAD, Consequence.TRIP)]


def test_a_dead_stream_trips_although_no_snapshot_can_be_taken() -> None:
    channel = Channel(name="private", fault="silent", since=NOW)
    account = desk(channels=(channel,))

    early = watch(account, LIMITS, NOW + timedelta(minutes=4, seconds=59), is_new=False)
    late = watch(early.account, LIMITS, NOW + timedelta(minutes=5), is_new=False)
    again = watch(late.account, LIMITS, NOW + timedelta(minutes=6), is_new=False)

    assert fired([early, late, again]) == [[], [Code.STREAM_DEAD], []]


def test_orders_in_doubt_trip_together_or_within_an_hour() -> None:
    def told(number: int, minute: int, *, over: bool = False) -> Unresolved:
        return Unresolved(
            trade_id=f"t{number}",
            symbol="BTCUSDT",
            order_link_id=f"t{number}-e1",
            since=NOW + timedelta(minutes=minute),
            over=over,
        )

    account = desk()
    for number in (1, 2):
        account = account.with_unresolved(told(number, number), NOW)
        account = account.with_unresolved(told(number, number, over=True), NOW)
    third = told(3, 50)
    within = account.with_unresolved(third, NOW + timedelta(minutes=50))
    after = account.with_unresolved(third, NOW + timedelta(minutes=62, seconds=1))

    codes = [
        [b.code for b in breaches(within, LIMITS, NOW + timedelta(minutes=50))],
        [b.code for b in breaches(within, LIMITS, NOW + timedelta(minutes=62))],
        [b.code for b in breaches(after, LIMITS, NOW + timedelta(minutes=63))],
    ]
    assert codes == [[Code.MAX_UNRESOLVED], [], []]
    assert account.with_unresolved(told(7, 1, over=True), NOW) == account


def test_a_person_lifts_the_doubts_of_trades_that_hold_nothing() -> None:
    account = desk()
    for number in (1, 2, 3):
        link = f"tw-x{number}"
        told = Unresolved(trade_id="tw", symbol="BTCUSDT", order_link_id=link, since=NOW)
        account = account.with_unresolved(told, NOW)

    assert lifted(account, Code.MAX_UNRESOLVED).unresolved == ()


def test_a_channel_is_degraded_since_its_first_fault() -> None:
    first = Channel(name="private", fault="silent", since=NOW)
    later = Channel(name="private", fault="refused", since=NOW + timedelta(minutes=1))
    sound = Channel(name="private", since=NOW + timedelta(minutes=2))

    account = desk().with_channel(first).with_channel(later)

    assert [(c.fault, c.since) for c in account.channels] == [("refused", NOW)]
    assert account.with_channel(sound).channels == ()


# --- people ---------------------------------------------------------------------------------------


def test_a_person_lifts_pauses_counts_and_the_peak() -> None:
    pauses = tuple(
        Pause(code=code, reason="x", until=NOON + timedelta(hours=1))
        for code in (Code.LOSS_STREAK, Code.MIN_BALANCE)
    )
    account = desk(pauses=pauses, losses=4, peak_equity=Decimal(20_000))

    assert lifted(account, None).pauses == ()
    streak = lifted(account, Code.LOSS_STREAK)
    assert ([p.code for p in streak.pauses], streak.losses) == ([Code.MIN_BALANCE], 0)
    assert lifted(account, Code.MAX_DRAWDOWN).drawdown_fraction == 0
    assert lifted(account, None).drawdown_fraction == account.drawdown_fraction


def test_changes_of_limits_are_told_by_name() -> None:
    after = Limits(
        max_heat_fraction=Decimal("0.1"),
        consequences=Consequences(min_balance=Consequence.TRIP),
    )

    assert limit_changes(LIMITS, after) == (
        "max_heat_fraction 0.06 -> 0.1",
        "consequences.min_balance refuse -> trip",
    )
    assert limit_changes(LIMITS, LIMITS) == ()


def test_it_is_shown_how_near_each_limit_is() -> None:
    held = Position(symbol="BTCUSDT", side=Side.BUY, qty="0.1", entry_price=1, mark_price=50_000)
    account = desk(losses=5).observed(
        snapshot(9_750, positions=(held,), liquidation_prices={"BTCUSDT": 40_000})
    )

    found = {line.limit: line for line in usage(account, Limits(loss_streak=20), NOW)}

    assert found.keys() == Limits.model_fields.keys() - {"consequences"}
    day = found["max_daily_loss_fraction"]
    assert (day.value, day.now, day.share, day.consequence) == (
        "0.05",
        "0.0250",
        Decimal("0.5"),
        "trip",
    )
    streak = found["loss_streak"]
    assert (streak.value, streak.default, streak.share) == ("20", "10", Decimal("0.25"))
    assert found["max_total_exposure"].share == Decimal("0.5")
    assert found["min_liquidation_distance_fraction"].now == "0.2000 (BTCUSDT)"
    assert found["stream_dead_after"].now == ""


# --- a desk that is new ---------------------------------------------------------------------------


def test_a_fresh_desk_goes_on_from_what_the_journal_knows() -> None:
    """E7: peak and day are kept with their baseline through the desk's own end."""
    before = desk(12_000, losses=1).observed(snapshot(11_000, 1))
    before = watch(before, LIMITS, NOW).account
    past = Past(baseline=before.baseline, losses=3)

    fresh = Account(name="main", started_at=NOW).observed(snapshot(10_900, 2, past=past))

    assert fresh.is_rebuilt
    assert fresh.peak_equity == fresh.day_equity == 12_000
    assert fresh.losses == 3
    assert fresh.baseline == before.baseline.model_copy(update={"losses": 3})
    assert fresh.snapshot is not None
    assert fresh.snapshot.past is None


def test_a_baseline_is_the_same_after_the_journal() -> None:
    pause = Pause(code=Code.LOSS_STREAK, reason="x", until=NOON)
    account = desk(cash=MARK, pauses=(pause,), realised_today=Decimal("-1.50"))

    assert Baseline.model_validate_json(account.baseline.model_dump_json()) == account.baseline


def test_modes_are_read_at_the_start_now_and_then_and_while_they_are_wrong() -> None:
    """F7: the position mode is known before the first entry."""
    fresh = Account(name="main", started_at=NOW)
    known = fresh.observed(snapshot(1, position_mode="one_way", margin_mode="REGULAR_MARGIN"))
    wrong = known.observed(snapshot(1, 1, position_mode="hedge"))

    assert fresh.wants_modes(LIMITS, NOW)
    assert not known.wants_modes(LIMITS, NOW + timedelta(minutes=1))
    assert known.wants_modes(LIMITS, NOW + timedelta(hours=1))
    foreign = known.model_copy(update={"margin_mode": MarginMode.PORTFOLIO})
    assert foreign.wants_modes(LIMITS, NOW + timedelta(minutes=1))
    assert wrong.wants_modes(LIMITS, NOW + timedelta(minutes=1))
