"""The wallet between two looks: what trading did, what was moved, and what is not known yet."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewright.domain.account import CashMark, tally
from tradewright.domain.cash import CashBook, CashFlow
from tradewright.domain.reconciliation import balance_drift

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
NOTHING = Decimal(0)
MARK = CashMark(
    at=NOON - timedelta(minutes=1),
    balance=Decimal(1_000),
    counted={"before": NOON - timedelta(minutes=1)},
)


def flows(*changes: Any, start: Decimal = Decimal(1_000), at: datetime = NOON) -> list[CashFlow]:
    """Return flows from *start* on: numbers are trades, pairs ``("moved", x)`` are not."""
    found, balance = [], start
    for number, change in enumerate(changes):
        is_trade = not isinstance(change, tuple)
        amount = Decimal(change if is_trade else change[1])
        fee = Decimal("0.1") if is_trade else Decimal(0)
        balance += amount - fee
        found.append(
            CashFlow(
                flow_id=f"{at:%d}-{number}",
                at=at + timedelta(seconds=number),
                is_trade=is_trade,
                traded=amount,
                fee=fee,
                funding=Decimal(0),
                change=amount - fee,
                balance=balance,
            )
        )
    return found


def test_trades_and_moves_are_told_apart() -> None:
    found = tally(flows(5, ("moved", 100), -2), Decimal("1102.8"), MARK, NOON)

    assert found.explained
    assert (found.moved, found.realised, found.fees) == tuple(map(Decimal, ("100", "2.8", "0.2")))
    assert found.mark.balance == Decimal("1102.8")


def test_what_came_after_the_wallet_was_read_is_counted_the_next_time() -> None:
    log = flows(5, ("moved", -100), 7)

    first = tally(log, Decimal("1004.9"), MARK, NOON)
    second = tally(log, Decimal("911.8"), first.mark, NOON)
    third = tally(log, Decimal("911.8"), second.mark, NOON)

    assert (first.moved, first.realised) == (NOTHING, Decimal("4.9"))
    assert (second.moved, second.realised) == (Decimal(-100), Decimal("6.9"))
    assert (third.explained, third.moved, third.realised) == (True, NOTHING, NOTHING)


def test_a_flow_that_is_not_listed_yet_is_not_explained() -> None:
    found = tally(flows(5), Decimal("904.9"), MARK, NOON)

    assert not found.explained


@pytest.mark.parametrize(("apart", "is_explained"), [("0.01", True), ("0.011", False)])
def test_wallet_and_log_may_differ_by_as_much_here_as_in_a_reconciliation(
    apart: str, is_explained: bool
) -> None:
    log = flows(5)
    wallet = log[-1].balance + Decimal(apart)
    nothing = Decimal(0)
    book = CashBook(flows=tuple(log), wallet=wallet, unrealised=nothing, equity=nothing)

    found = tally(log, wallet, MARK, NOON)

    assert found.explained is (balance_drift(book) is None) is is_explained


def test_money_that_was_there_at_the_first_look_was_not_moved() -> None:
    found = tally(flows(("moved", 1_000), 5, start=Decimal(0)), Decimal("1004.9"), None, NOON)

    assert (found.explained, found.moved, found.realised) == (True, NOTHING, Decimal("4.9"))


def test_an_account_without_any_flow_is_explained() -> None:
    found = tally([], Decimal(500), None, NOON)

    assert (found.explained, found.mark.balance) == (True, Decimal(500))


def test_only_the_flows_of_the_day_are_of_the_day() -> None:
    yesterday = flows(50, at=NOON - timedelta(days=1))
    log = [*yesterday, *flows(5, start=yesterday[-1].balance)]

    found = tally(log, log[-1].balance, MARK, NOON)

    assert found.realised == Decimal("4.9")


@given(
    amounts=st.lists(
        st.tuples(st.booleans(), st.integers(min_value=-50, max_value=50)), max_size=20
    ),
    cuts=st.lists(st.integers(min_value=0, max_value=20), max_size=5),
    lags=st.lists(st.integers(min_value=0, max_value=3), max_size=5),
)
def test_every_flow_is_counted_once_however_the_reads_lag(
    amounts: list[tuple[bool, int]], cuts: list[int], lags: list[int]
) -> None:
    log = flows(*(amount if trade else ("moved", amount) for trade, amount in amounts))
    balances = [MARK.balance, *(flow.balance for flow in log)]
    mark, moved, realised = MARK, Decimal(0), Decimal(0)
    looks = [*sorted(min(cut, len(log)) for cut in cuts), len(log)]
    for number, seen in enumerate(looks):
        lag = lags[number] if number < len(lags) and number < len(looks) - 1 else 0
        shown = [flow for flow in log[: max(seen - lag, 0)] if flow.at >= mark.since]
        found = tally(shown, balances[seen], mark, NOON)
        if not found.explained:
            continue
        mark, moved, realised = found.mark, moved + found.moved, realised + found.realised

    assert moved == sum(f.change for f in log if not f.is_trade)
    assert realised == sum(f.traded - f.fee for f in log if f.is_trade)
