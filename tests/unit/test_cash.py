import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewright.domain.cash import CashBook, CashFlow, cash_report

START = datetime(2026, 1, 1, tzinfo=UTC)
MONEY = st.decimals(min_value=-1000, max_value=1000, places=8)


def book_of(*flows: tuple[str, str, str, bool], opening: str = "100") -> CashBook:
    """Return a book that adds up, of flows (traded, fee, funding, is a trade)."""
    balance = Decimal(opening)
    made = []
    for n, (traded, fee, funding, is_trade) in enumerate(flows):
        change = Decimal(traded) + Decimal(funding) - Decimal(fee)
        balance += change
        made.append(
            CashFlow(
                flow_id=f"f{n}",
                at=START + timedelta(seconds=n),
                is_trade=is_trade,
                traded=Decimal(traded),
                fee=Decimal(fee),
                funding=Decimal(funding),
                change=change,
                balance=balance,
            )
        )
    return CashBook(flows=tuple(made), wallet=balance, unrealised=Decimal(3), equity=balance + 3)


def test_cash_adds_up_from_its_flows() -> None:
    report = cash_report(
        book_of(("0", "1", "0", True), ("10", "2", "0", True), ("0", "0", "-0.5", True))
    )

    assert report.ok
    assert [report.opening, report.traded, report.fees] == [Decimal(100), Decimal(10), Decimal(3)]
    assert [report.funding, report.wallet] == [Decimal("0.5"), Decimal("106.5")]
    assert report.equity == Decimal("109.5")


def test_a_withdrawal_is_no_loss() -> None:
    report = cash_report(book_of(("-40", "0", "0", False)))

    assert report.ok
    assert [report.moved, report.traded, report.wallet] == [Decimal(-40), Decimal(0), Decimal(60)]


def test_an_account_that_never_traded_is_in_order() -> None:
    report = cash_report(book_of())

    assert report.ok
    assert report.opening == report.wallet == 100


@pytest.mark.parametrize(
    ("field", "told"),
    [
        ("wallet", "wallet holds 7, but its last flow left 109"),
        ("equity", r"equity is 7, not 109 \+ 3 unrealised"),
    ],
)
def test_what_the_exchange_shows_must_follow_from_the_flows(field: str, told: str) -> None:
    book = book_of(("10", "1", "0", True))
    wrong = book.model_copy(update={field: Decimal(7)})

    faults = cash_report(wrong).faults

    assert any(re.search(told, fault) for fault in faults)


def test_a_missing_flow_is_found() -> None:
    book = book_of(("10", "1", "0", True), ("-5", "1", "0", True), ("1", "1", "0", True))
    torn = book.model_copy(update={"flows": (book.flows[0], book.flows[2])})

    (fault,) = cash_report(torn).faults

    assert "a flow is missing" in fault


@given(st.lists(st.tuples(MONEY, MONEY, MONEY, st.booleans())), st.data())
def test_every_change_of_a_book_that_adds_up_is_found(
    flows: list[tuple[Decimal, Decimal, Decimal, bool]], data: st.DataObject
) -> None:
    book = book_of(*((str(a), str(b), str(c), d) for a, b, c, d in flows))
    assert cash_report(book).ok
    if not book.flows:
        return
    n = data.draw(st.integers(0, len(book.flows) - 1))
    field = data.draw(st.sampled_from(["traded", "fee", "funding", "change", "balance"]))
    flow = book.flows[n]
    wrong = flow.model_copy(update={field: getattr(flow, field) + 1})
    changed = (*book.flows[:n], wrong, *book.flows[n + 1 :])

    assert not cash_report(book.model_copy(update={"flows": changed})).ok
