"""The stop of a position: its trigger explicit, and trailed by the exchange itself."""

from decimal import Decimal
from typing import Any

import pytest

from tradewright.domain.errors import OutcomeUnknown
from tradewright.domain.plan import ExitRules, TradePlan, TrailedBy, Trailing
from tradewright.domain.trade import (
    PositionRead,
    StopConfirmed,
    StopKept,
    TrailingRefused,
    TrailingSet,
)
from tradewright.ports import TradeOrder

TRAIL = Decimal(300)


@pytest.fixture
async def trailing(bench: Any, make_plan: Any) -> TradePlan:
    """A plan in the market, to be trailed by the exchange."""
    exits = ExitRules(
        timeframe="1m",
        trailing=Trailing(after_r=Decimal(1), distance=TRAIL, by=TrailedBy.EXCHANGE),
    )
    plan: TradePlan = make_plan(exits=exits)
    await bench.enter(plan)
    return plan


def shown(bench: Any) -> dict[str, tuple[Decimal, Decimal, str]]:
    return {k: (o.trigger_price, o.trail, o.trigger_by) for k, o in bench.stops().items()}


@pytest.mark.parametrize("ask", ["verify_stop", "set_stop"])
async def test_a_stop_that_another_price_would_trigger_is_corrected_in_place(
    bench: Any, make_plan: Any, ask: str
) -> None:
    """C10: the kind of price that triggers the stop is read back, not believed."""
    plan = make_plan()
    await bench.enter(plan)
    wrong = {"stopLoss": str(plan.stop_loss), "slTriggerBy": "MarkPrice", "tpslMode": "Full"}
    await bench.client.call("set_trading_stop", category="linear", symbol="BTCUSDT", **wrong)
    assert shown(bench)["StopLoss"][2] == "MarkPrice"
    before = bench.stops()["StopLoss"].order_id
    if ask == "set_stop":
        # The exchange sees no change where only the price is compared
        bench.line.spoil("set_trading_stop", bench.faults.answers(34040, "not modified"))

    confirmed = await bench.run(getattr(bench.exchange, ask), TradeOrder(plan=plan))

    assert confirmed == StopConfirmed(price=plan.stop_loss)
    assert shown(bench)["StopLoss"] == (plan.stop_loss, Decimal(0), "LastPrice")
    assert bench.stops()["StopLoss"].order_id == before


async def test_the_stop_that_is_left_after_a_reduction_is_read_back(
    bench: Any, make_plan: Any
) -> None:
    """D1: a Full stop follows what is held, and is shown to."""
    plan = make_plan()
    await bench.enter(plan)
    await bench.order("BTCUSDT", "Sell", str(plan.qty / 2), reduceOnly=True)

    confirmed = await bench.run(bench.exchange.verify_stop, TradeOrder(plan=plan))

    assert confirmed == StopConfirmed(price=plan.stop_loss)
    assert bench.stops()["StopLoss"].qty == bench.held() == plan.qty / 2


async def test_a_stop_that_a_fill_put_back_is_not_confirmed_by_a_read_older_than_the_fill(
    bench: Any, make_plan: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """B2: an entry's next fill brings the stop that it was sent with, and reads lag."""
    monkeypatch.setattr("activities.stops.READS_LAG", 0.3)
    plan = make_plan()
    await bench.enter(plan)
    moved = plan.stop_loss + 50
    lagging = bench.faults.rows(lambda rows: [row | {"stopLoss": str(moved)} for row in rows])
    bench.line.spoil("get_positions", lagging)

    confirmed = await bench.run(bench.exchange.verify_stop, TradeOrder(plan=plan, price=moved))

    assert confirmed == StopConfirmed(price=plan.stop_loss)


async def test_the_stop_is_only_ever_amended(bench: Any, make_plan: Any) -> None:
    """C4: there is no moment between an old stop and a new one."""
    plan = make_plan()
    await bench.enter(plan)
    before = bench.stops()["StopLoss"].order_id

    for step in (100, 200, 300):
        order = TradeOrder(plan=plan, price=plan.stop_loss + step)
        await bench.run(bench.exchange.set_stop, order)

    assert bench.stops()["StopLoss"].order_id == before
    assert bench.line.count("cancel_order") == 0


@pytest.mark.parametrize("side", ["Buy", "Sell"])
async def test_a_stop_that_a_person_tightened_at_the_exchange_is_never_loosened(
    bench: Any, make_plan: Any, side: str
) -> None:
    plan = make_plan(side=side)
    await bench.enter(plan)
    by_hand, by_plan = (plan.stop_loss + plan.side.sign * n for n in (400, 200))
    await bench.client.call(
        "set_trading_stop", category="linear", symbol="BTCUSDT", stopLoss=str(by_hand)
    )
    order = TradeOrder(plan=plan, price=by_plan)

    trailed = await bench.run(bench.exchange.set_stop, order)
    wished = await bench.run(bench.exchange.set_stop, order.model_copy(update={"wished_by": "ann"}))

    assert trailed == StopConfirmed(price=by_hand)
    assert wished == StopKept(price=by_hand, reason="a tighter stop stands at the exchange already")
    assert bench.stops()["StopLoss"].trigger_price == by_hand


async def test_a_stop_that_a_person_tightens_while_it_is_moved_is_told(
    bench: Any, make_plan: Any
) -> None:
    plan = make_plan()
    await bench.enter(plan)
    by_hand = plan.stop_loss + 400

    def tightened_after(send: Any) -> Any:
        bench.line.spoil(
            "get_positions",
            bench.faults.rows(lambda rows: [row | {"stopLoss": str(by_hand)} for row in rows]),
        )
        return send()

    bench.line.spoil("set_trading_stop", tightened_after)

    moved = await bench.run(
        bench.exchange.set_stop, TradeOrder(plan=plan, price=plan.stop_loss + 200)
    )

    assert moved == StopConfirmed(price=by_hand)


async def test_the_exchange_trails_from_a_price_on_and_the_stop_stays(
    bench: Any, trailing: TradePlan
) -> None:
    begin = trailing.price + 500

    answer = await bench.run(bench.exchange.set_trailing, TradeOrder(plan=trailing, price=begin))

    assert answer == TrailingSet()
    assert shown(bench) == {
        "StopLoss": (trailing.stop_loss, 0, "LastPrice"),
        "TakeProfit": (trailing.take_profit, 0, "LastPrice"),
        "TrailingStop": (begin, TRAIL, "LastPrice"),
    }
    bench.move("BTCUSDT", trailing.price + 200, trailing.price - 200)
    assert bench.held() == trailing.qty
    bench.move("BTCUSDT", begin + 50, begin + 50 - TRAIL)
    assert (bench.held(), bench.stops()) == (0, {})


async def test_a_trailing_that_should_have_begun_already_begins_at_once(
    bench: Any, trailing: TradePlan
) -> None:
    begin = trailing.price + 500
    bench.move("BTCUSDT", begin + 100)

    answer = await bench.run(bench.exchange.set_trailing, TradeOrder(plan=trailing, price=begin))

    assert answer == TrailingSet()
    assert "activePrice" not in bench.line.sent("set_trading_stop")[0]
    assert bench.stops()["TrailingStop"].best == begin + 100


async def test_a_price_that_begins_the_trailing_while_it_is_set_begins_it_at_once(
    bench: Any, trailing: TradePlan
) -> None:
    begin = trailing.price + 500

    def passed_first(send: Any) -> Any:
        bench.move_meanwhile("BTCUSDT", begin + 1)
        return bench.faults.answers(10001, "TrailingProfit should be higher than the price")(send)

    bench.line.spoil("set_trading_stop", passed_first)

    answer = await bench.run(bench.exchange.set_trailing, TradeOrder(plan=trailing, price=begin))

    assert answer == TrailingSet()
    assert bench.stops()["TrailingStop"].best == begin + 1


async def test_a_trailing_that_the_exchange_refuses_leaves_the_stop_as_it_is(
    bench: Any, trailing: TradePlan
) -> None:
    bench.line.spoil("set_trading_stop", bench.faults.answers(110013, "not at this distance"))

    answer = await bench.run(bench.exchange.set_trailing, TradeOrder(plan=trailing))

    assert answer == TrailingRefused(reason="not at this distance (retCode 110013)")
    assert set(shown(bench)) == {"StopLoss", "TakeProfit"}


async def test_a_trailing_whose_answer_was_lost_keeps_the_best_price(
    bench: Any, trailing: TradePlan
) -> None:
    await bench.fault("reset", when={"endpoint": "/v5/position/trading-stop", "times": 1})
    with pytest.raises(OutcomeUnknown):
        await bench.run(bench.exchange.set_trailing, TradeOrder(plan=trailing))
    bench.move("BTCUSDT", trailing.price + 200, trailing.price + 100)

    answer = await bench.run(bench.exchange.set_trailing, TradeOrder(plan=trailing), attempt=2)

    assert answer == TrailingSet()
    assert bench.line.count("set_trading_stop") == 1
    assert bench.stops()["TrailingStop"].best == trailing.price + 200


async def test_a_trailing_that_does_not_show_is_not_believed(
    bench: Any, trailing: TradePlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("activities.stops.STOP_DEADLINE", 0.2)
    bench.line.spoil("set_trading_stop", lambda send: ({"retCode": 0, "result": {}}, None, {}))

    with pytest.raises(OutcomeUnknown, match="the distance shown is None"):
        await bench.run(bench.exchange.set_trailing, TradeOrder(plan=trailing))
    answer = await bench.run(bench.exchange.set_trailing, TradeOrder(plan=trailing), attempt=2)

    assert answer == TrailingSet()


async def test_a_trailing_for_nothing_reads_flat(bench: Any, trailing: TradePlan) -> None:
    bench.move("BTCUSDT", trailing.stop_loss - 10)

    answer = await bench.run(bench.exchange.set_trailing, TradeOrder(plan=trailing))

    assert isinstance(answer, PositionRead)
    assert answer.qty == bench.line.count("set_trading_stop") == 0
