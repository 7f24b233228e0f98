"""Reading page by page, and telling whose execution is whose."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr
from requests import Session

from activities import lookup
from activities.bybit import BybitClient
from activities.pace import milliseconds
from activities.secrets import ExchangeKey
from tradewright.domain.account import Position
from tradewright.domain.execution import Execution
from tradewright.domain.market import Side

START = datetime(2022, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)


class PagedSession:
    """Answers reads of executions as Bybit does: seven days at a time, newest first, in pages."""

    def __init__(self, times: list[datetime], page: int) -> None:
        self.rows = [
            {
                **{"execId": f"e{n}", "seq": n, "orderId": "o", "symbol": "BTCUSDT", "side": "Buy"},
                **{"execPrice": "1", "execQty": "1", "execFee": "0", "execType": "Trade"},
                "execTime": str(milliseconds(at)),
            }
            for n, at in enumerate(times)
        ]
        self.page = page
        self.calls = 0
        self.client = Session()

    def get_executions(self, *, startTime: int, cursor: str = "", **_: Any) -> Any:  # noqa: N803
        self.calls += 1
        end = startTime + milliseconds(START + 7 * DAY) - milliseconds(START)
        inside = [r for r in self.rows[::-1] if startTime <= int(str(r["execTime"])) <= end]
        first = int(cursor or 0)
        rest = first + self.page < len(inside)
        following = str(first + self.page) if rest else ""
        listed = inside[first : first + self.page]
        return {"retCode": 0, "result": {"list": listed, "nextPageCursor": following}}, None, {}


class AnyKey:
    async def exchange_key(self) -> ExchangeKey:
        return ExchangeKey(api_key=SecretStr("k"), api_secret=SecretStr("s"))


@pytest.fixture
def session() -> PagedSession:
    return PagedSession([START + n * DAY / 4 for n in range(80)], page=10)


@pytest.fixture
def client(session: PagedSession) -> Iterator[BybitClient]:
    client = BybitClient("http://127.0.0.1", AnyKey(), session_factory=lambda key: session)
    yield client
    client.close()


async def test_executions_of_many_days_are_read_window_by_window_page_by_page(
    client: BybitClient, session: PagedSession
) -> None:
    found = await lookup.fetch_executions(client, "BTCUSDT", START, START + 20 * DAY)

    assert [e.exec_id for e in found] == [f"e{n}" for n in range(80)]
    assert session.calls >= 8


async def test_the_last_window_is_read_even_when_our_clock_is_behind(
    client: BybitClient, session: PagedSession
) -> None:
    found = await lookup.fetch_executions(client, "BTCUSDT", START, START - DAY)

    assert len(found) == 29


def execution(number: int, qty: int) -> Execution:
    return Execution(
        exec_id=f"e{number}",
        seq=number,
        order_id="o",
        symbol="BTCUSDT",
        side=Side.BUY if qty > 0 else Side.SELL,
        price=Decimal(1),
        qty=Decimal(abs(qty)),
        fee=Decimal(0),
        at=START,
    )


QUANTITIES = st.lists(st.integers(-3, 3).filter(bool), min_size=1, max_size=12)


@given(QUANTITIES.filter(lambda qtys: sum(qtys) != 0))
def test_a_position_begins_where_nothing_was_held_on_its_side_for_the_last_time(
    qtys: list[int],
) -> None:
    held, first, sides = 0, 0, []
    for number, qty in enumerate(qtys):
        before, held = held, held + qty
        if before * held <= 0:
            first = number
        sides.append(held)
    position = Position(
        symbol="BTCUSDT",
        side=Side.BUY if held > 0 else Side.SELL,
        qty=Decimal(abs(held)),
        entry_price=Decimal(1),
        mark_price=Decimal(1),
    )
    executions = [execution(number, qty) for number, qty in enumerate(qtys)]

    found = lookup.first_of_position(position, executions)

    assert found is not None
    assert found.exec_id == f"e{first}"


def test_a_position_older_than_what_is_read_has_no_first_execution() -> None:
    position = Position(
        **{"symbol": "BTCUSDT", "side": Side.BUY, "qty": Decimal(5)},
        entry_price=Decimal(1),
        mark_price=Decimal(1),
    )

    assert lookup.first_of_position(position, [execution(0, 2), execution(1, 1)]) is None
