"""Presets rest after what their own trades have come to."""

import time
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.desk import HOUR, NOON, NOW, desk, proposal, refusal, trade_id
from tradewright.domain.account import (
    Account,
    Approved,
    Baseline,
    Lift,
    Limits,
    Past,
    RefusalCode,
    Refused,
    Released,
    Renaming,
    Result,
    decide,
    lifted,
)
from tradewright.domain.account.guard import REMEMBERED_RESULTS, memory, remembered
from tradewright.domain.plan import Proposal
from tradewright.domain.protection import DrawdownGuard, Guards, LossGuard

DAY = timedelta(days=1)
THREE = LossGuard(losses=3, within=DAY, pause=4 * HOUR)


def result(pnl: int, ago: timedelta, symbol: str = "BTCUSDT", preset: str = "ema") -> Result:
    return Result(
        trade_id=trade_id(int(ago / timedelta(minutes=1))),
        preset=preset,
        symbol=symbol,
        at=NOON - ago,
        pnl=Decimal(pnl),
        until=NOON + 30 * DAY,
    )


def having(*results: Result) -> Account:
    return desk(results=results)


def code(account: Account, wish: Proposal) -> RefusalCode | None:
    return refusal(decide(wish, account, Limits(), NOW))


def guarded(**guards: Any) -> Proposal:
    return proposal(guards=Guards(**guards))


# --- guards ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("results", "rests"),
    [
        ((), False),
        ((result(-1, 3 * HOUR), result(-1, 2 * HOUR)), False),
        ((result(-1, 3 * HOUR), result(-1, 2 * HOUR), result(-1, HOUR)), True),
        # A gain between them takes no loss back: they are counted, not in a row
        (
            (result(-1, 3 * HOUR), result(-1, 2 * HOUR), result(9, 1.5 * HOUR), result(-1, HOUR)),
            True,
        ),
        # Over when the pause is
        ((result(-1, 6 * HOUR), result(-1, 5 * HOUR), result(-1, 4 * HOUR)), False),
        # Not within a day of each other
        ((result(-1, 26 * HOUR), result(-1, 2 * HOUR), result(-1, HOUR)), False),
        # Of another preset
        ((result(-1, 3 * HOUR), result(-1, 2 * HOUR), result(-1, HOUR, preset="other")), False),
        # On any symbol
        ((result(-1, 3 * HOUR), result(-1, 2 * HOUR), result(-1, HOUR, symbol="ETHUSDT")), True),
        # The candle that is decided on may have closed before the last loss
        ((result(-1, 3 * HOUR), result(-1, 2 * HOUR), result(-1, -HOUR / 60)), True),
    ],
)
def test_a_preset_rests_after_so_many_losses(results: tuple[Result, ...], rests: bool) -> None:
    found = code(having(*results), guarded(stop_guard=THREE))

    assert found == (RefusalCode.STOP_GUARD if rests else None)


def test_without_a_guard_losses_do_not_let_a_preset_rest() -> None:
    losses = [result(-50, number * HOUR) for number in range(5, 0, -1)]

    assert code(having(*losses), proposal()) is None


def test_a_preset_rests_on_the_symbol_that_loses_and_on_no_other() -> None:
    losses = [result(-1, 3 * HOUR), result(-1, 2 * HOUR), result(-1, HOUR)]
    wish = guarded(losing_symbol=THREE)

    assert code(having(*losses), wish) is RefusalCode.LOSING_SYMBOL
    elsewhere = proposal(symbol="ETHUSDT", guards=wish.guards)
    assert code(having(*losses), elsewhere) is None


@pytest.mark.parametrize(
    ("pnl", "rests"),
    [
        ([-500], True),
        ([-499], False),
        # From the best moment, not from the start
        ([300, -250, -250], True),
        ([-300, 300, -300], False),
        # What was lost is not rested for once it was gained back at the last trade
        ([-600, 700], True),
    ],
)
def test_a_preset_rests_after_its_drawdown(pnl: list[int], rests: bool) -> None:
    guard = DrawdownGuard(fraction=Decimal("0.05"), within=7 * DAY, pause=DAY)
    results = [result(each, (len(pnl) - number) * HOUR) for number, each in enumerate(pnl)]

    found = code(having(*results), guarded(max_drawdown=guard))

    assert found == (RefusalCode.PRESET_DRAWDOWN if rests else None)


def test_a_drawdown_is_over_after_its_pause_and_looks_no_farther_than_told() -> None:
    guard = DrawdownGuard(fraction=Decimal("0.05"), within=2 * HOUR, pause=HOUR)
    wish = guarded(max_drawdown=guard)

    assert code(having(result(-500, HOUR)), wish) is None
    assert code(having(result(-400, 3 * HOUR), result(-100, HOUR / 2)), wish) is None
    both = having(result(-400, 2 * HOUR), result(-100, HOUR / 2))
    assert code(both, wish) is RefusalCode.PRESET_DRAWDOWN


def test_a_person_lifts_one_guard_and_later_losses_count_again() -> None:
    losses = [result(-1, 3 * HOUR), result(-1, 2 * HOUR), result(-1, HOUR)]
    wish = guarded(stop_guard=THREE, losing_symbol=THREE)

    eased = lifted(having(*losses), RefusalCode.STOP_GUARD)
    free = lifted(eased, RefusalCode.LOSING_SYMBOL)

    assert code(eased, wish) is RefusalCode.LOSING_SYMBOL
    assert code(free, wish) is None
    later = wish.model_copy(update={"trigger": NOON + 3 * HOUR})
    again = [*losses, *(result(-1, -number * HOUR / 2) for number in (1, 2, 3))]
    assert code(free.model_copy(update={"results": tuple(again)}), later) is RefusalCode.STOP_GUARD


def test_a_guard_is_lifted_of_one_preset_alone() -> None:
    of_both = [
        result(-1, number * HOUR, preset=name) for number in (3, 2, 1) for name in ("ema", "other")
    ]
    ours, other = (
        guarded(stop_guard=THREE),
        proposal(preset="other", guards=Guards(stop_guard=THREE)),
    )

    eased = lifted(having(*of_both), RefusalCode.STOP_GUARD, "ema")

    assert (code(eased, ours), code(eased, other)) == (None, RefusalCode.STOP_GUARD)
    assert len(lifted(eased, RefusalCode.STOP_GUARD, "ema").lifts) == 1


def test_the_reason_says_until_when() -> None:
    losses = [result(-1, 3 * HOUR), result(-1, 2 * HOUR), result(-1, HOUR)]

    decision = decide(guarded(stop_guard=THREE), having(*losses), Limits(), NOW)

    assert isinstance(decision, Refused)
    assert decision.reason == (
        "ema lost 3 trades within 24 h, it rests until 2026-03-02 15:00 UTC (market time)"
    )


# --- what is remembered ---------------------------------------------------------------------------


def closed(account: Account, wish: Proposal, pnl: int, at: datetime) -> Account:
    decision = decide(wish, account, Limits(), NOW)
    assert isinstance(decision, Approved), decision
    held = account.reserved(decision.plan, NOW)
    return held.released(Released(trade_id=wish.trade_id, at=at, pnl=Decimal(pnl)))


def test_the_desk_remembers_what_trades_have_come_to_as_long_as_their_guards_look() -> None:
    guards = Guards(stop_guard=THREE, losing_symbol=LossGuard(losses=1, within=3 * DAY, pause=DAY))

    account = closed(desk(), proposal(1, guards=guards), -5, NOON)
    account = closed(account, proposal(2, preset="plain", symbol="ETHUSDT"), 7, NOON)
    account = closed(account, proposal(3, preset="none", symbol="XRPUSDT"), 0, NOON)

    found = [(r.preset, r.symbol, r.pnl, r.until - r.at) for r in account.results]
    assert found == [
        ("ema", "BTCUSDT", Decimal(-5), 4 * DAY),
        ("plain", "ETHUSDT", Decimal(7), DAY),
    ]
    later = closed(account, proposal(4, preset="late", symbol="SOLUSDT"), 1, NOON + 2 * DAY)
    assert [r.preset for r in later.results] == ["ema", "late"]


def test_a_repeated_release_counts_once() -> None:
    account = closed(desk(), proposal(1), -5, NOON)

    again = account.released(Released(trade_id=trade_id(1), at=NOON, pnl=Decimal(-5)))

    assert again.results == account.results


def test_what_is_remembered_is_bounded() -> None:
    many = [result(-1, timedelta(minutes=number)) for number in range(REMEMBERED_RESULTS + 5)]

    kept = remembered(many, NOON)

    assert len(kept) == REMEMBERED_RESULTS
    assert kept[-1].at == NOON


def test_a_preset_that_trades_much_forgets_its_own_results_and_nobody_elses() -> None:
    slow = [result(-1, 6 * DAY), result(-1, 5 * DAY), result(-1, 4 * DAY)]
    busy = [
        result(1, timedelta(minutes=number), preset="busy")
        for number in range(REMEMBERED_RESULTS + 5)
    ]

    kept = remembered((*slow, *busy), NOON)

    assert len(kept) == REMEMBERED_RESULTS
    assert [r for r in kept if r.preset == "ema"] == slow
    guard = LossGuard(losses=3, within=7 * DAY, pause=7 * DAY)
    assert code(having(*kept), guarded(stop_guard=guard)) is RefusalCode.STOP_GUARD


def test_what_a_person_has_lifted_stays_lifted_as_long_as_the_losses_are_remembered() -> None:
    guards = Guards(stop_guard=LossGuard(losses=1, within=30 * DAY, pause=30 * DAY))
    account = closed(desk(), proposal(1, guards=guards), -5, NOON)
    account = lifted(account, RefusalCode.STOP_GUARD)
    assert code(account, proposal(2, guards=guards)) is None

    month = proposal(3, preset="other", trigger=NOON + 40 * DAY)
    account = closed(account, month, 5, NOON + 40 * DAY)

    later = proposal(4, guards=guards, trigger=NOON + 41 * DAY)
    assert code(account, later) is None
    account = closed(
        account, month.model_copy(update={"trade_id": trade_id(5)}), 5, NOON + 60 * DAY
    )
    assert (account.lifts, [r.preset for r in account.results]) == ((), ["other"])


def test_a_new_desk_learns_from_the_journal_and_keeps_what_it_heard_meanwhile() -> None:
    losses = (result(-1, 3 * HOUR), result(-1, 2 * HOUR))
    fresh = having(result(-1, HOUR)).model_copy(update={"is_rebuilt": False})
    past = Past(
        baseline=Baseline(lifts=(Lift(code=RefusalCode.LOSING_SYMBOL, at=NOON - HOUR),)),
        results=losses,
    )

    rebuilt = fresh.rebuilt(Past.model_validate_json(past.model_dump_json()))

    assert [r.at for r in rebuilt.results] == sorted(r.at for r in rebuilt.results)
    assert len(rebuilt.results) == 3
    wish = guarded(stop_guard=THREE, losing_symbol=THREE)
    assert code(rebuilt, wish) is RefusalCode.STOP_GUARD
    assert code(rebuilt, guarded(losing_symbol=THREE)) is None


def test_a_new_desk_keeps_cooldowns() -> None:
    rebuilt = desk().rebuilt(Past(results=(result(5, HOUR / 2),)))

    assert code(rebuilt, proposal(cooldown=HOUR)) is RefusalCode.COOLDOWN
    assert code(rebuilt, proposal(cooldown=HOUR / 4)) is None
    assert code(rebuilt, proposal(symbol="ETHUSDT", cooldown=HOUR)) is None


def test_a_desk_carried_from_before_guards_still_reads() -> None:
    carried = desk().model_dump(mode="json")
    del carried["results"], carried["lifts"]

    assert Account.model_validate(carried) == desk()


def test_no_guard_needs_no_more_than_a_day() -> None:
    assert memory(None) == memory(Guards()) == DAY


moments = st.lists(st.integers(0, 60 * 72), max_size=12, unique=True)


@given(moments, st.integers(1, 4), st.integers(1, 48), st.integers(1, 12))
def test_a_guard_rests_exactly_while_so_many_losses_lie_behind(
    minutes: list[int], losses: int, within: int, pause: int
) -> None:
    guard = LossGuard(losses=losses, within=within * HOUR, pause=pause * HOUR)
    results = [result(-1, timedelta(minutes=m)) for m in sorted(minutes, reverse=True)]

    found = code(having(*results), guarded(stop_guard=guard))

    times = [r.at for r in results]
    expected = any(
        last + guard.pause > NOON
        and sum(last - guard.within <= at <= last for at in times) >= losses
        for last in times
    )
    assert (found is RefusalCode.STOP_GUARD) == expected


@given(
    st.lists(st.tuples(st.integers(0, 60 * 72), st.integers(-9, 9)), max_size=14),
    st.integers(1, 12),
    st.integers(1, 48),
    st.integers(1, 12),
)
def test_a_drawdown_is_the_fall_from_the_best_moment_of_its_time(
    told: list[tuple[int, int]], fell: int, within: int, pause: int
) -> None:
    guard = DrawdownGuard(fraction=Decimal(fell) / 10_000, within=within * HOUR, pause=pause * HOUR)
    results = [result(pnl, timedelta(minutes=ago)) for ago, pnl in sorted(told, reverse=True)]

    found = code(having(*results), guarded(max_drawdown=guard))

    def fall(until: int) -> Decimal:
        last = results[until]
        levels = [Decimal(0)]
        for each in results[: until + 1]:
            if each.at > last.at - guard.within:
                levels.append(levels[-1] + each.pnl)
        return max(levels) - levels[-1]

    expected = any(
        each.pnl < 0 and each.at + guard.pause > NOON and fall(number) >= fell
        for number, each in enumerate(results)
    )
    assert (found is RefusalCode.PRESET_DRAWDOWN) == expected


def test_all_that_is_remembered_is_looked_at_in_no_time() -> None:
    """Decisions of a desk that come at once share the two seconds that Temporal gives them."""
    many = [result((-1) ** n, timedelta(minutes=n)) for n in range(REMEMBERED_RESULTS, 0, -1)]
    longest = {"within": 30 * DAY, "pause": 30 * DAY}
    wish = guarded(
        max_drawdown=DrawdownGuard(fraction=Decimal("0.5"), **longest),
        stop_guard=LossGuard(losses=REMEMBERED_RESULTS, **longest),
    )
    account = having(*many)
    begun = time.process_time()

    assert code(account, wish) is None

    assert time.process_time() - begun < 0.1


# --- another name ---------------------------------------------------------------------------------


def test_another_name_takes_over_what_the_preset_has_come_to() -> None:
    losses = [result(-1, (ago + 1) * HOUR) for ago in range(3)]
    account = having(*losses).renamed(Renaming(preset="slow", formerly="ema"), NOW)
    again = account.renamed(Renaming(preset="calm", formerly="slow"), NOW)
    rebuilt = desk().rebuilt(Past(baseline=again.baseline, results=tuple(losses)))

    codes = [
        code(each, guarded(stop_guard=THREE).model_copy(update={"preset": name}))
        for each, name in ((account, "slow"), (again, "calm"), (rebuilt, "calm"), (again, "other"))
    ]

    assert codes == [*(3 * [RefusalCode.STOP_GUARD]), None]


def test_a_trade_that_began_under_the_former_name_counts_when_it_ends() -> None:
    held = decide(proposal(), desk(), Limits(), NOW)
    assert isinstance(held, Approved)
    account = desk().reserved(held.plan, NOW).renamed(Renaming(preset="slow", formerly="ema"), NOW)
    wish = proposal(2, preset="slow", symbol="ETHUSDT", max_open_trades=1)
    one = wish.model_copy(
        update={"guards": Guards(stop_guard=LossGuard(losses=1, within=DAY, pause=HOUR))}
    )

    during = code(account, wish)
    ended = Released(trade_id=held.plan.trade_id, at=NOON, pnl=Decimal(-1))
    afterwards = code(account.released(ended), one)

    assert (during, afterwards) == (RefusalCode.PRESET_MAX_OPEN_TRADES, RefusalCode.STOP_GUARD)


def test_who_takes_the_old_name_begins_anew() -> None:
    lost = having(*(result(-1, (ago + 1) * HOUR) for ago in range(3)))
    account = lost.renamed(Renaming(preset="slow", formerly="ema"), NOW)
    wish = guarded(stop_guard=THREE)
    plan = decide(wish, account, Limits(), NOW)

    assert isinstance(plan, Approved)
    held = account.reserved(plan.plan, NOW)
    assert [len(held.held_of(name)) for name in ("ema", "slow")] == [1, 0]
    told_twice = held.renamed(Renaming(preset="slow", formerly="ema"), NOW)
    assert told_twice == held


def test_what_was_lifted_stays_lifted_under_another_name() -> None:
    lost = having(*(result(-1, (ago + 1) * HOUR) for ago in range(3)))
    account = lifted(lost, RefusalCode.STOP_GUARD, "ema")
    account = account.renamed(Renaming(preset="slow", formerly="ema"), NOW)

    assert code(account, guarded(stop_guard=THREE).model_copy(update={"preset": "slow"})) is None
