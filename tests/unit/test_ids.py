"""Ids: derived, unique, and short enough for the exchange."""

from datetime import UTC, datetime, timedelta
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewright import ids

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
TRADE = "tw" + "a2" * 8


def test_a_trade_has_the_same_id_whenever_it_is_asked_for() -> None:
    assert ids.trade_id("main", "ema", "BTCUSDT", NOON) == ids.trade_id(
        "main", "ema", "BTCUSDT", NOON
    )


def test_trades_that_differ_in_anything_have_other_ids() -> None:
    moments = [NOON + timedelta(minutes=minute) for minute in range(500)]
    names = product(["main", "second"], ["ema", "donchian"], ["BTCUSDT", "ETHUSDT"], moments)

    made = [ids.trade_id(*name) for name in names]

    assert len(set(made)) == len(made) == 4_000


def test_names_do_not_run_into_each_other() -> None:
    assert ids.trade_id("a", "bc", "BTCUSDT", NOON) != ids.trade_id("ab", "c", "BTCUSDT", NOON)
    assert ids.adopted_trade_id("a", "BTCUSDT", "1") != ids.adopted_trade_id("aB", "TCUSDT", "1")


@given(st.text(max_size=60), st.text(max_size=60), st.sampled_from("ext"), st.integers(1, 9999))
def test_an_order_link_fits_and_says_whose_it_is(
    account: str, preset: str, leg: str, number: int
) -> None:
    trade = ids.trade_id(account, preset, "BTCUSDT", NOON)

    link = ids.order_link(trade, leg, number)

    assert len(link) <= 36
    assert ids.parse_link(link) == ids.Link(trade, leg, number)
    assert ids.is_ours(link)
    assert not ids.is_kill_link(link)


@given(st.integers(0, 10**12), st.integers(0, 10**6))
def test_a_link_of_the_kill_switch_fits_and_is_no_trades(trip: int, number: int) -> None:
    link = ids.kill_link(trip, number)

    assert len(link) <= 36
    assert ids.is_kill_link(link)
    assert ids.is_ours(link)
    assert ids.parse_link(link) is None


@given(st.datetimes(NOON.replace(tzinfo=None), timezones=st.just(UTC)), st.integers(0, 10**6))
def test_a_link_of_a_kill_without_temporal_is_never_one_of_the_workflows(
    began: datetime, number: int
) -> None:
    link = ids.direct_kill_link(began, number)

    assert len(link) <= 36
    assert ids.is_kill_link(link)
    assert ids.is_ours(link)
    assert not link.startswith(ids.kill_link(int(began.timestamp() * 1000), number))


@pytest.mark.parametrize(
    "link",
    [
        "",
        "web-1",
        TRADE,
        f"{TRADE}-e",
        f"{TRADE}-y1",
        f"{TRADE}-e12345",
        "tw1-e1",
        "kill-1",
        "kill-a-1",
    ],
)
def test_what_is_not_ours_is_not_taken_for_ours(link: str) -> None:
    assert not ids.is_ours(link)


def test_every_singleton_has_a_workflow_of_its_own() -> None:
    made = {
        ids.strategy_workflow("main"),
        ids.trade_workflow("BTCUSDT", TRADE),
        ids.account_workflow("main"),
        ids.kill_switch_workflow("main"),
        ids.reconciliation_workflow("main"),
        ids.stream_workflow("main"),
        ids.market_workflow("main"),
    }

    assert len(made) == 7


@pytest.mark.parametrize(
    ("own", "queue", "expected"),
    [
        ("trading", ids.QUEUE_MARKET, "market"),
        ("a:trading", ids.QUEUE_KILL, "a:kill"),
        ("a:b:trading", ids.QUEUE_MARKET, "a:b:market"),
    ],
)
def test_a_queue_keeps_the_prefix_of_its_sibling(own: str, queue: str, expected: str) -> None:
    assert ids.sibling_queue(own, queue) == expected
