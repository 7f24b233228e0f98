"""Margin, what is available, funding, transfers: the numbers of an account."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.matching import (
    BTC,
    MAIN,
    NOW,
    OTHER,
    TIERS,
    D,
    account,
    executions,
    limit,
    make_engine,
    make_request,
    place,
    play,
    rejection,
    sell,
)
from tradewright.domain.market import Side
from tradewright.matching import (
    Engine,
    ExecType,
    Executed,
    MarginMode,
    Market,
    PositionChanged,
    ProfileChanged,
    RequestRejected,
    WalletChanged,
    margin,
)

TAKER = D("0.00055")


def make_held(side: Side = Side.BUY, qty: str = "0.1", **options: object) -> Engine:
    """Return an engine where *MAIN* holds *qty* at exactly 50,000."""
    fields: dict[str, object] = {"names": (MAIN, OTHER), "cash": "10000", **options}
    engine = make_engine(**fields)  # type: ignore[arg-type]
    engine.transfer(OTHER, D(10**9), NOW)
    place(engine, limit("50000", side.opposite, qty=qty), OTHER)
    place(engine, limit("50000", side, qty=qty))
    return engine


def refused(code: int, engine: Engine, call: str, *arguments: object) -> RequestRejected:
    before = account(engine).balance, dict(account(engine).positions), account(engine).profile
    with pytest.raises(RequestRejected) as failure:
        getattr(engine, call)(*arguments, NOW)
    assert failure.value.code == code
    after = account(engine).balance, dict(account(engine).positions), account(engine).profile
    assert after == before
    return failure.value


@pytest.mark.parametrize(("side", "bankrupt"), [(Side.BUY, "0.9"), (Side.SELL, "1.1")])
def test_isolated_initial_margin_stays_at_the_entry(side: Side, bankrupt: str) -> None:
    engine = make_held(side, isolated=True)

    play(engine, "50000", "50400")

    assert account(engine).initial_margin_of("BTCUSDT") == 500 + 5000 * D(bankrupt) * TAKER


@pytest.mark.parametrize(("side", "bankrupt"), [(Side.BUY, "0.9"), (Side.SELL, "1.1")])
def test_isolated_maintenance_margin_goes_with_the_mark(side: Side, bankrupt: str) -> None:
    engine = make_held(side, isolated=True)

    play(engine, "50000", "50400")

    fee = 5000 * D(bankrupt) * TAKER
    assert account(engine).maintenance_margin_of("BTCUSDT") == D("5040") * D("0.005") + fee


@pytest.mark.parametrize(("side", "bankrupt"), [(Side.BUY, "0.9"), (Side.SELL, "1.1")])
def test_cross_margin_goes_with_the_mark(side: Side, bankrupt: str) -> None:
    engine = make_held(side)

    play(engine, "50000", "50400")

    fee = 5040 * D(bankrupt) * TAKER
    assert account(engine).initial_margin_of("BTCUSDT") == 504 + fee
    assert account(engine).maintenance_margin_of("BTCUSDT") == D("25.2") + fee


def test_maintenance_margin_grows_from_tier_to_tier() -> None:
    engine = make_held(qty="6", cash="100000", isolated=True, tiers=TIERS)

    held = account(engine).maintenance_margin_of("BTCUSDT")

    assert held == 300_000 * D("0.01") - 500 + 300_000 * D("0.9") * TAKER
    assert account(engine).tier_of("BTCUSDT") == TIERS[1]


@given(st.integers(0, 2_000_000).map(Decimal), st.integers(0, 100_000).map(Decimal))
def test_maintenance_margin_grows_without_jumps(value: Decimal, more: Decimal) -> None:
    market = Market(BTC, tiers=TIERS)

    growth = margin.maintenance_margin(market, value + more) - margin.maintenance_margin(
        market, value
    )

    assert more * TIERS[0].maintenance_rate <= growth <= more * TIERS[-1].maintenance_rate


@pytest.mark.parametrize(("side", "bankrupt"), [(Side.BUY, "0.9"), (Side.SELL, "1.1")])
def test_an_order_costs_its_margin_and_both_fees(side: Side, bankrupt: str) -> None:
    engine = make_engine()
    price = 49_000 if side is Side.BUY else 51_000
    value = D("0.1") * price

    place(engine, limit(str(price), side))

    assert account(engine).order_margin() == value / 10 + value * TAKER * (1 + D(bankrupt))
    assert account(engine).available() == 10_000 - account(engine).order_margin()


def test_orders_that_reduce_cost_nothing() -> None:
    engine = make_held()

    place(engine, limit("51000", Side.SELL, qty="0.1", reduce_only=True))
    place(engine, limit("51000", Side.SELL, qty="0.06"))
    free = account(engine).order_margin()
    place(engine, limit("51000", Side.SELL, qty="0.06"))

    assert free == 0
    opening = D("0.02") * 51_000
    assert account(engine).order_margin() == pytest.approx(
        opening / 10 + opening * TAKER * D("2.1"), abs=D("1E-20")
    )


def test_what_an_order_costs_comes_back_with_its_end() -> None:
    engine = make_engine()
    place(engine, limit("49000"))

    engine.cancel_all(MAIN, {"BTCUSDT"}, NOW)

    assert account(engine).available() == 10_000


def test_gains_count_with_cross_margin_alone() -> None:
    engine = make_held()
    play(engine, "50000", "52000")
    cross = account(engine).available()
    engine.set_margin_mode(MAIN, MarginMode.ISOLATED, NOW)
    isolated = account(engine).available()

    assert cross == account(engine).equity() - 520 - 5200 * D("0.9") * TAKER
    assert isolated == account(engine).balance.cash - 500 - 5000 * D("0.9") * TAKER
    assert account(engine).unrealised() == 200


def test_leverage_beyond_the_tier_is_refused() -> None:
    engine = make_held(qty="6", cash="100000", tiers=TIERS)

    refused(110013, engine, "set_leverage", MAIN, "BTCUSDT", D(60))
    engine.set_leverage(MAIN, "BTCUSDT", D(50), NOW)

    assert account(engine).positions["BTCUSDT"].leverage == 50


@pytest.mark.parametrize("leverage", ["0.5", "10.001"])
def test_impossible_leverage_is_refused(leverage: str) -> None:
    refused(10001, make_held(), "set_leverage", MAIN, "BTCUSDT", D(leverage))


def test_leverage_beyond_the_most_is_refused_with_both() -> None:
    refusal = refused(110013, make_held(), "set_leverage", MAIN, "BTCUSDT", D(101))

    assert refusal.text == "cannot set leverage [10100] gt maxLeverage [10000] by risk limit"


def test_less_leverage_needs_margin_that_is_there() -> None:
    engine = make_held(cash="1000")

    refused(110044, engine, "set_leverage", MAIN, "BTCUSDT", D(2))


def test_margin_is_added_to_and_taken_from_an_isolated_position() -> None:
    engine = make_held(isolated=True)
    before = account(engine).available()

    events = engine.add_margin(MAIN, "BTCUSDT", D(100), NOW)
    added = account(engine).available()
    engine.add_margin(MAIN, "BTCUSDT", D(-40), NOW)

    assert [type(e) for e in events] == [PositionChanged]
    assert added == before - 100
    assert account(engine).positions["BTCUSDT"].extra_margin == 60
    assert account(engine).available() == before - 60


def test_added_margin_leaves_with_what_is_closed() -> None:
    engine = make_held(isolated=True)
    engine.add_margin(MAIN, "BTCUSDT", D(100), NOW)

    place(engine, sell(qty="0.025", reduce_only=True))
    part = account(engine).positions["BTCUSDT"].extra_margin
    place(engine, sell(qty="0.075", reduce_only=True))

    assert part == 75
    assert account(engine).positions["BTCUSDT"].extra_margin == 0


@pytest.mark.parametrize(("amount", "code"), [("100000", 110014), ("-1", 110078), ("0", 110027)])
def test_impossible_margin_is_refused(amount: str, code: int) -> None:
    refused(code, make_held(isolated=True), "add_margin", MAIN, "BTCUSDT", D(amount))


def test_margin_whose_lack_would_liquidate_is_not_given_back() -> None:
    engine = make_held(isolated=True)
    engine.add_margin(MAIN, "BTCUSDT", D(600), NOW)
    play(engine, "50000", "45000")

    refused(110011, engine, "add_margin", MAIN, "BTCUSDT", D(-600))


def test_margin_of_positions_is_for_isolated_ones() -> None:
    cross, flat = make_held(), make_engine(isolated=True)

    refused(110015, cross, "add_margin", MAIN, "BTCUSDT", D(1))
    refused(110033, flat, "add_margin", MAIN, "BTCUSDT", D(1))
    refused(110076, cross, "set_auto_add_margin", MAIN, "BTCUSDT", True)


def test_auto_added_margin_is_switched_once() -> None:
    engine = make_held(isolated=True)

    engine.set_auto_add_margin(MAIN, "BTCUSDT", True, NOW)

    assert account(engine).positions["BTCUSDT"].auto_add_margin
    refused(110027, engine, "set_auto_add_margin", MAIN, "BTCUSDT", True)


def test_the_margin_mode_is_of_the_whole_account() -> None:
    engine = make_held()

    (event, *_) = engine.set_margin_mode(MAIN, MarginMode.ISOLATED, NOW)

    assert isinstance(event, ProfileChanged)
    assert account(engine).profile.margin_mode is MarginMode.ISOLATED
    assert engine.set_margin_mode(MAIN, MarginMode.ISOLATED, NOW) == []
    assert account(engine, OTHER).profile.margin_mode is MarginMode.CROSS


def test_a_margin_mode_that_would_liquidate_is_refused_with_reasons() -> None:
    engine = make_held()
    play(engine, "50000", "44000")

    failure = refused(3400045, engine, "set_margin_mode", MAIN, MarginMode.ISOLATED)

    assert [code for code, _ in failure.reasons] == ["3400000"]


def test_money_comes_and_goes() -> None:
    engine = make_engine(cash="100")

    (event,) = engine.transfer(MAIN, D(50), NOW)
    engine.transfer(MAIN, D(-150), NOW)

    assert isinstance(event, WalletChanged)
    assert account(engine).balance.cash == account(engine).balance.transfers + 100 == 0
    refused(131212, engine, "transfer", MAIN, D(-1))


def test_what_margin_holds_cannot_be_taken_out() -> None:
    engine = make_held(cash="1000")
    free = account(engine).withdrawable()
    assert 0 < free < 500

    refused(131212, engine, "transfer", MAIN, -free - 1)
    engine.transfer(MAIN, -free, NOW)

    assert account(engine).available() == 0


def test_longs_pay_funding_to_shorts() -> None:
    engine = make_held(qty="1.2", cash="100000")
    play(engine, "72.25")
    before = {n: a.balance.cash for n, a in engine.accounts.items()}

    events = engine.fund("BTCUSDT", D("0.0001"), NOW)

    paid = {e.account: e for e in executions(events)}
    assert paid[OTHER].fee == -paid[MAIN].fee == D("-0.00867")
    assert {e.exec_type for e in paid.values()} == {ExecType.FUNDING}
    assert (paid[MAIN].price, paid[MAIN].qty, paid[MAIN].fee_rate) == (
        D("72.25"),
        D("1.2"),
        D("0.0001"),
    )
    assert account(engine).balance.funding == D("0.00867")
    assert account(engine).balance.cash == before[MAIN] - D("0.00867")
    assert account(engine, OTHER).balance.cash == before[OTHER] + D("0.00867")
    assert account(engine, OTHER).positions["BTCUSDT"].size == D("1.2")


def test_funding_is_part_of_what_a_position_realised() -> None:
    engine = make_held()
    before = account(engine).positions["BTCUSDT"]

    engine.fund("BTCUSDT", D("0.001"), NOW)

    after = account(engine).positions["BTCUSDT"]
    assert after.realised - before.realised == -5
    assert after.total_realised - before.total_realised == -5
    assert after.cost == before.cost


def test_funding_beyond_what_is_free_comes_out_of_isolated_margin() -> None:
    engine = make_held(isolated=True)
    engine.transfer(MAIN, -account(engine).withdrawable() + 2, NOW)

    engine.fund("BTCUSDT", D("0.001"), NOW)

    assert account(engine).positions["BTCUSDT"].extra_margin == -3
    assert account(engine).available() == 0


def test_who_holds_nothing_is_not_funded() -> None:
    engine = make_held()

    assert engine.fund("ETHUSDT", D("0.001"), NOW) == []


@pytest.mark.parametrize("side", list(Side))
def test_a_check_tells_what_the_order_would_do(side: Side) -> None:
    engine = make_held()
    request = make_request(side=side, qty="0.3")

    before = account(engine).open_orders(), engine.seq
    check = engine.precheck(MAIN, request)
    untouched = (account(engine).open_orders(), engine.seq) == before
    place(engine, request)

    held = account(engine)
    assert untouched
    assert 0 < check.im_rate_before < check.im_rate_after
    assert 0 < check.mm_rate_before < check.mm_rate_after
    assert check.mm_rate_after == pytest.approx(
        held.maintenance_margin() / held.equity(), rel=D("0.001")
    )


def test_a_check_of_a_bad_order_is_refused_like_the_order() -> None:
    engine = make_engine()

    with pytest.raises(RequestRejected) as failure:
        engine.precheck(MAIN, make_request(qty="40"))

    assert failure.value.code == rejection(engine, make_request(qty="40")).code == 110007


QTYS = st.integers(1, 100).map(lambda n: n * BTC.qty_step)


@given(st.lists(st.tuples(st.sampled_from(list(Side)), QTYS), max_size=10), st.booleans())
def test_closing_everything_leaves_all_margin_free(
    trades: list[tuple[Side, Decimal]], isolated: bool
) -> None:
    engine = make_engine(isolated=isolated)
    for side, qty in trades:
        place(engine, make_request(side=side, qty=qty))

    held = account(engine).positions["BTCUSDT"]
    if held.size:
        place(engine, make_request(side=held.side.opposite, qty=held.size, reduce_only=True))

    assert account(engine).available() == account(engine).balance.cash == account(engine).equity()
    assert account(engine).position_margin() == account(engine).maintenance_margin() == 0


def test_each_execution_of_a_funding_is_told_once() -> None:
    engine = make_held()

    told = [type(e) for e in engine.fund("BTCUSDT", D("0.001"), NOW)]

    assert told == [Executed, PositionChanged, WalletChanged] * 2


@given(cash=st.decimals(100_000, 3_000_000, places=2))
def test_a_short_without_a_liquidation_price_outlives_every_tier(cash: Decimal) -> None:
    engine = make_engine(cash=str(cash), tiers=TIERS)
    engine.place(MAIN, make_request(side=Side.SELL, qty="10"), NOW)
    price = account(engine).liq_price("BTCUSDT")
    play(engine, str(TIERS[-1].limit / 10))
    whole = account(engine).positions["BTCUSDT"].size == 10
    assert whole is (price is None)
