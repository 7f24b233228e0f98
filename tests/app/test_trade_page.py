"""What the journal alone tells of a trade."""

from decimal import Decimal

from tests.unit.life import after, at, fill, make_plan
from tradewright.app.trade_page import _as_journaled, _detail
from tradewright.domain.event import EventKind, JournalEvent
from tradewright.domain.trade import Executed, Started, StopConfirmed, Trade, TradeEvent

PLAN = make_plan()


def journaled(number: int, change: TradeEvent, trade: Trade | None) -> JournalEvent:
    data = {"event": change.model_dump(mode="json")}
    if trade is not None:
        data["trade"] = trade.model_dump(mode="json")
    return JournalEvent(
        event_id=str(number),
        chain="t",
        kind=EventKind.TRADE_CHANGED,
        account="main",
        at=at(number),
        data=data,
    )


def test_fills_that_no_event_has_told_the_trade_of_yet_are_part_of_it() -> None:
    fills: list[Executed] = [fill(n, qty="0.02") for n in range(1, 4)]
    begun = after(Started(), trade=Trade(plan=PLAN))
    told = [journaled(1, Started(), begun)]
    told += [journaled(n, change, None) for n, change in enumerate(fills, start=2)]

    trade = _as_journaled(told)

    assert trade == after(*fills, trade=begun)
    assert trade.open_qty == Decimal("0.06")


def test_the_last_event_that_brings_the_trade_is_believed() -> None:
    first, second = fill(1, qty="0.02"), fill(2, qty="0.02")
    opened = after(Started(), first, second, trade=Trade(plan=PLAN))
    safe = after(StopConfirmed(price=PLAN.stop_loss), trade=opened)
    told = [
        journaled(1, first, None),
        journaled(2, second, opened),
        journaled(3, StopConfirmed(price=PLAN.stop_loss), safe),
    ]

    assert _as_journaled(told) == safe
    assert _as_journaled(told[:1]) is None
    assert _as_journaled([]) is None


def test_a_fill_among_others_is_shown_without_a_state() -> None:
    change = fill(1, qty="0.02")
    among = journaled(1, change, None)
    last = journaled(2, change, after(Started(), change, trade=Trade(plan=PLAN)))

    assert _detail(among.kind, among.data).startswith("executed: Buy, 0.02")
    assert _detail(last.kind, last.data).startswith("executed → ")
