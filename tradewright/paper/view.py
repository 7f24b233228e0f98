"""What reads see: all that is durable or, with a lag, what was durable that long ago.

The engine and the state may be ahead of it. Prices are never late.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from contextvars import ContextVar
from decimal import Decimal

import msgspec

from tradewright.matching import (
    Account,
    Balance,
    Engine,
    Event,
    Execution,
    Order,
    OrderChanged,
    PositionChanged,
    Profile,
    ProfileChanged,
    StopTrailed,
    WalletChanged,
)
from tradewright.paper.batch import Batch
from tradewright.paper.history import History
from tradewright.paper.query import (
    FOREVER_MS,
    Booking,
    BookingQuery,
    Hidden,
    OrderQuery,
    Page,
    Transfer,
)

ZERO = Decimal(0)
RECENT = 500
"""Ended orders of an account that are at hand without its history."""


class Orders:
    """Orders of one account by id and by link."""

    def __init__(self, orders: Iterable[Order] = ()) -> None:
        self._by_id: dict[str, Order] = {}
        self._ids: dict[str, str] = {}
        for order in orders:
            self.put(order)

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[Order]:
        return iter(self._by_id.values())

    def find(self, order_id: str, link: str) -> Order | None:
        """Return the order with *order_id*; without one, with *link*."""
        return self._by_id.get(order_id or self._ids.get(link, ""))

    def put(self, order: Order) -> None:
        self._by_id[order.order_id] = order
        if order.link:
            self._ids[order.link] = order.order_id

    def drop(self, order: Order) -> None:
        self._by_id.pop(order.order_id, None)
        self._ids.pop(order.link, None)

    def keep(self, count: int) -> None:
        """Drop the oldest until *count* are left."""
        while len(self._by_id) > count:
            self.drop(next(iter(self._by_id.values())))


class _Seen:
    """One account, as far as it is seen."""

    def __init__(self, account: Account) -> None:
        self.account = account
        self.open = Orders()
        self.recent = Orders()

    def put(self, order: Order) -> None:
        self.account.put(order)
        if order.is_open:
            self.open.put(order)
            # What is triggered ends as a stop and goes on as an order
            self.recent.drop(order)
        else:
            self.open.drop(order)
            self.recent.put(order)
            self.recent.keep(RECENT)


class _Unseen(msgspec.Struct, frozen=True):
    at: float
    batch: Batch


class View:
    def __init__(
        self,
        engine: Engine,
        history: History,
        *,
        lag_ms: int = 0,
        guard: Callable[[], AbstractContextManager[None]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.lag_ms = lag_ms
        """How late reads are from now on, by the wall clock."""
        self._engine = engine
        self._history = history
        self._guard = guard
        self._clock = clock
        self._unseen: deque[_Unseen] = deque()
        self._seen: dict[str, _Seen] = {}
        for account in engine.accounts.values():
            seen = self._opened(account.profile, account.balance)
            for position in account.positions.values():
                seen.account.hold(position)
            for order in account.open_orders():
                seen.put(order)

    def take(self, batch: Batch) -> None:
        """Show what *batch* wrote, now or when the lag is over."""
        self._catch_up()
        if self.lag_ms:
            self._unseen.append(_Unseen(self._clock(), batch))
            for event in batch.events:
                # An account may be asked about from the start, if only for nothing
                if isinstance(event, ProfileChanged) and event.profile.account not in self._seen:
                    self._take_profile(event.profile)
        else:
            self._show(batch.events)

    def account(self, account: str) -> Account:
        """Return orders, positions and balance to read margins from; not to be changed."""
        return self._of(account).account

    def open_orders(self, account: str, symbols: Iterable[str] | None = None) -> list[Order]:
        """Return open orders, the ones created last first."""
        wanted = None if symbols is None else frozenset(symbols)
        found = [o for o in self._of(account).open if wanted is None or o.symbol in wanted]
        return sorted(found, key=lambda o: (o.created, o.seq), reverse=True)

    def order(self, account: str, order_id: str = "", link: str = "") -> Order | None:
        """Return an order that is open or ended recently, by id or else by link."""
        seen = self._of(account)
        return seen.open.find(order_id, link) or seen.recent.find(order_id, link)

    def recent_closed(self, account: str) -> list[Order]:
        """Return up to `RECENT` orders that ended since the start, the last ended first."""
        return list(self._of(account).recent)[::-1]

    def orders(self, account: str, query: OrderQuery) -> Page[Order]:
        """Return ended orders, the ones created last first."""
        with self._guard():
            return self._history.orders(account, query, self._hidden())

    def executions(self, account: str, query: BookingQuery) -> Page[Execution]:
        """Return executions, the last first."""
        with self._guard():
            return self._history.executions(account, query, self._hidden())

    def closed(self, account: str, query: BookingQuery) -> Page[list[Execution]]:
        """Return the closing executions of each order that closed something, oldest first.

        Orders come in the order of the first of them, the last first; so does the time window.
        """
        with self._guard():
            return self._history.closed(account, query, self._hidden())

    def transactions(self, account: str, query: BookingQuery) -> Page[Booking]:
        """Return what changed the wallet, the last first."""
        with self._guard():
            return self._history.transactions(account, query, self._hidden())

    def transfers(self, account: str, query: BookingQuery) -> Page[Transfer]:
        """Return transfers, the last first; `order_id` asks for one by its transfer id."""
        with self._guard():
            return self._history.transfers(account, query, self._hidden())

    def _of(self, account: str) -> _Seen:
        self._catch_up()
        return self._seen[account]

    def _catch_up(self) -> None:
        due = self._clock() - self.lag_ms / 1000
        while self._unseen and self._unseen[0].at <= due:
            self._show(self._unseen.popleft().batch.events)

    def _show(self, events: Iterable[Event]) -> None:
        for event in events:
            if isinstance(event, (OrderChanged, StopTrailed)):
                self._seen[event.order.account].put(event.order)
            elif isinstance(event, PositionChanged):
                self._seen[event.position.account].account.hold(event.position)
            elif isinstance(event, WalletChanged):
                self._seen[event.balance.account].account.balance = event.balance
            elif isinstance(event, ProfileChanged):
                self._take_profile(event.profile)

    def _take_profile(self, profile: Profile) -> None:
        if profile.account in self._seen:
            self._seen[profile.account].account.profile = profile
        else:
            self._opened(profile, Balance(account=profile.account, start=ZERO))

    def _opened(self, profile: Profile, balance: Balance) -> _Seen:
        seen = _Seen(Account(profile, balance, self._engine.board))
        self._seen[profile.account] = seen
        return seen

    def _hidden(self) -> Hidden:
        self._catch_up()
        if not self._unseen:
            return Hidden()
        batches = [unseen.batch for unseen in self._unseen]
        return Hidden(
            order_ids=frozenset(o.order_id for b in batches for o in b.orders.values()),
            from_seq=min((x.cause.seq for b in batches for x in b.bookings), default=FOREVER_MS),
        )


seen: ContextVar[View | None] = ContextVar("seen", default=None)
"""The view of the present request, if it is not everybody's; only a fault sets it."""
