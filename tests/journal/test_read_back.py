"""Events that another version wrote: read back into the same rows, under the same hash."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from tests.journal.conftest import TRADE_ID, Book
from tradewright.domain.event import EventKind, JournalEvent
from tradewright.domain.record import read_back
from tradewright.domain.signal import Signal
from tradewright.domain.trade import Started, Trade
from tradewright.journal import Journal
from tradewright.journal.chain import link
from tradewright.journal.errors import UnreadableEvent

MakeBook = Callable[..., Book]
MakeEvent = Callable[..., JournalEvent]
TABLES = {"factors", "market"}
"""Not models: their keys are data."""


def of_another_version(said: Any) -> Any:
    """Return *said* with a key that this version does not know in each of its models."""
    if not isinstance(said, dict):
        return said
    models = said.keys() - TABLES
    return {
        key: of_another_version(value) if key in models else value for key, value in said.items()
    } | {"retired": "1"}


async def test_events_with_keys_that_are_gone_give_the_same_rows(
    journal: Journal, make_book: MakeBook, make_event: MakeEvent
) -> None:
    trade = make_book().trade
    data = {
        "event": Started().model_dump(mode="json"),
        "trade": trade.after(Started()).model_dump(mode="json"),
    }
    changed = make_event(
        "t/1",
        kind=EventKind.TRADE_CHANGED,
        trade_id=TRADE_ID,
        data={key: of_another_version(value) for key, value in data.items()},
    )

    await journal.append([changed])
    (before,) = await journal.trades()
    await journal.rebuild_projections()

    assert await journal.trades() == (before,)
    assert (before.trade_id, before.symbol) == (TRADE_ID, trade.plan.symbol)
    assert await journal.verify() == ()


async def test_an_event_that_lacks_what_is_needed_is_named(
    journal: Journal, make_book: MakeBook, make_event: MakeEvent
) -> None:
    told = make_book().trade.model_dump(mode="json")
    del told["plan"]["symbol"]
    event = make_event(
        "t/1",
        kind=EventKind.TRADE_CHANGED,
        data={"event": Started().model_dump(mode="json"), "trade": told},
    )

    with pytest.raises(UnreadableEvent, match="t/1"):
        await journal.append([event])


def test_the_hash_of_what_was_written_stays(make_event: MakeEvent) -> None:
    """A key more or less in `JournalEvent` itself would make every old journal look altered."""
    event = make_event("k/1", trade_id=TRADE_ID, data={"step": "tripped", "price": "1.50"})

    assert link("", event) == ("dee9561a84ba6abafe8558b888b7436fcc7fd98095e76378b6037b394361a664")


def test_what_people_write_is_read_as_strictly_as_before(make_book: MakeBook) -> None:
    trade = make_book().trade

    assert read_back(Trade, of_another_version(trade.model_dump(mode="json"))) == trade
    with pytest.raises(ValueError, match="retired"):
        Signal.model_validate({"side": "Buy", "reason": "x", "retired": Decimal(1)})
