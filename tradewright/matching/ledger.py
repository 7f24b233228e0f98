"""The accounts, and every change to them as an event."""

import hashlib
import uuid
from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from msgspec.structs import replace

from tradewright.domain.market import Side
from tradewright.matching.account import Account
from tradewright.matching.board import Board
from tradewright.matching.event import (
    Event,
    Executed,
    OrderChanged,
    PositionChanged,
    ProfileChanged,
    StopTrailed,
    WalletChanged,
)
from tradewright.matching.market import Market
from tradewright.matching.order import ZERO, Order, OrderStatus
from tradewright.matching.position import Balance, Execution, Position, Profile

_IDS = uuid.UUID("6f0c1b9e-6d0f-5a43-9d0c-1f6b7d1f0a11").bytes


class Links(Protocol):
    """The order links that were ever used, with their accounts."""

    def __contains__(self, link: object, /) -> bool: ...
    def add(self, link: tuple[str, str], /) -> None: ...


class Ledger:
    def __init__(
        self, markets: Iterable[Market], *, seed: str = "", links: Links | None = None
    ) -> None:
        self.board = Board(markets)
        self.markets = self.board.markets
        self.last, self.mark, self.index = self.board.last, self.board.mark, self.board.index
        self.accounts: dict[str, Account] = {}
        self.seq = 0
        self._seed = seed
        self._links: Links = set() if links is None else links
        self._events: list[Event] = []
        self._untold: dict[str, Order] = {}
        self._touched: dict[str, None] = {}
        """Accounts whose cash changed since somebody saw to their margin."""
        self._holders: dict[str, dict[str, None]] = {s: {} for s in self.markets}

    def open_account(self, profile: Profile, cash: Decimal) -> list[Event]:
        balance = Balance(account=profile.account, start=cash)
        self.accounts[profile.account] = Account(profile, balance, self.board)
        self._events += [ProfileChanged(profile), WalletChanged(balance)]
        return self._drain()

    def restore(
        self,
        *,
        profiles: Iterable[Profile],
        balances: Iterable[Balance],
        positions: Iterable[Position],
        orders: Iterable[Order],
        last: Mapping[str, Decimal],
        mark: Mapping[str, Decimal] | None = None,
        index: Mapping[str, Decimal] | None = None,
        seq: int,
    ) -> None:
        """Take over a state that earlier events described; *orders* are the open ones.

        A *mark* or *index* that differs from the last price follows it no longer.
        """
        for symbol, price in last.items():
            self.board.move(symbol, price)
            own_mark, own_index = (p.get(symbol, price) for p in (mark or {}, index or {}))
            self.board.set(
                symbol,
                own_mark if own_mark != price else None,
                own_index if own_index != price else None,
            )
        of = {b.account: b for b in balances}
        for profile in profiles:
            self.accounts[profile.account] = Account(profile, of[profile.account], self.board)
        for position in positions:
            self._hold(position)
        for order in sorted(orders, key=lambda o: (o.turn, o.seq)):
            self.accounts[order.account].put(order)
            book = self.board.books[order.symbol]
            if order.is_resting:
                book.queues[order.side].add(order)
            else:
                book.waiting[order.order_id] = order
        self.seq = seq

    def _id(self, kind: str) -> str:
        self.seq += 1
        return _named(f"{self._seed}/{kind}/{self.seq}")

    def _live(self, order: Order) -> Order | None:
        """Return the present state of *order*; None if it is open no more."""
        return self.accounts[order.account].orders[order.symbol].get(order.order_id)

    def _position(self, order: Order) -> Position:
        return self.accounts[order.account].positions[order.symbol]

    def _reducible(self, order: Order) -> Decimal:
        return self._position(order).reducible(order.side)

    def _put(self, order: Order) -> None:
        """Take *order* for its former state, wherever that stands, and tell it."""
        self._keep(order)
        self._events.append(OrderChanged(order))

    def _put_untold(self, orders: Iterable[Order]) -> None:
        """Take *orders* for their former states; their owners are not told."""
        for order in orders:
            self._keep(order)
            self._untold[order.order_id] = order

    def _keep(self, order: Order) -> None:
        before = self.accounts[order.account].put(order)
        book = self.board.books[order.symbol]
        if order.status is OrderStatus.UNTRIGGERED:
            book.waiting[order.order_id] = order
        elif before is not None:
            if before.status is OrderStatus.UNTRIGGERED:
                del book.waiting[order.order_id]
            elif not order.is_open:
                book.queues[order.side].drop(before)
            else:
                book.queues[order.side].swap(order)

    def _queued(self, order: Order) -> Order:
        """Return *order* as it would stand in the book now, behind all others at its price."""
        book = self.board.books[order.symbol]
        ahead = book.liquidity.at(order.side, order.price) or ZERO
        turn = book.queues[order.side].turn(order)
        if (turn, ahead) == (order.turn, order.ahead):
            return order
        return replace(order, turn=turn, ahead=ahead)

    def _rest(self, order: Order) -> None:
        resting = self._queued(order)
        if resting is not order:
            self._put_untold([resting])
        self.board.books[order.symbol].queues[order.side].add(resting)

    def _end(
        self,
        order: Order,
        now: datetime,
        *,
        cancel_type: str = "UNKNOWN",
        reason: str = "",
        status: OrderStatus = OrderStatus.CANCELLED,
    ) -> None:
        cancelled = replace(
            order,
            status=status,
            updated=now,
            cancel_type=cancel_type,
            reject_reason=reason or "EC_NoError",
        )
        self._put(cancelled)

    def _hold(self, position: Position) -> None:
        self.accounts[position.account].hold(position)
        holders = self._holders[position.symbol]
        if position.size:
            holders[position.account] = None
        else:
            holders.pop(position.account, None)

    def _change_position(self, position: Position) -> None:
        self._hold(position)
        self._events.append(PositionChanged(position))

    def _pay(self, execution: Execution) -> None:
        """Book what *execution* realised and cost, or what funding paid."""
        owner = self.accounts[execution.account]
        balance = owner.balance
        if execution.order_type is None:
            self._change_balance(replace(balance, funding=balance.funding + execution.fee))
            return
        self._change_balance(
            replace(
                balance,
                realised=balance.realised + execution.pnl,
                fees=balance.fees + execution.fee,
            )
        )

    def _change_balance(self, balance: Balance) -> None:
        self.accounts[balance.account].balance = balance
        self._touched[balance.account] = None
        self._events.append(WalletChanged(balance))

    def _tell(self, execution: Execution) -> None:
        self._events.append(Executed(execution))

    def _drain(self) -> list[Event]:
        for order in self._untold.values():
            live = self._live(order)
            if live is not None:
                self._events.append(StopTrailed(live))
        self._untold.clear()
        events, self._events = self._events, []
        return events

    def levels(
        self, symbol: str, depth: int
    ) -> tuple[list[tuple[Decimal, Decimal]], list[tuple[Decimal, Decimal]]]:
        """Return bids and asks as (price, quantity), best first, accounts' orders included."""
        book = self.board.books[symbol]
        return book.levels(Side.BUY, depth), book.levels(Side.SELL, depth)

    def touch(self, symbol: str, side: Side) -> Decimal:
        """Return the price at which a taker on *side* trades now."""
        return self.board.touch(symbol, side)

    def price_limit(self, symbol: str) -> tuple[Decimal, Decimal]:
        """Return the highest price of a buy and the lowest of a sell."""
        return self.board.price_limit(symbol)


def _named(name: str) -> str:
    """Return the text of the UUID (version 5) of *name*; `uuid.uuid5` takes four times as long."""
    digest = hashlib.sha1(_IDS + name.encode(), usedforsecurity=False).hexdigest()
    variant = "89ab"[int(digest[16], 16) % 4]
    return f"{digest[:8]}-{digest[8:12]}-5{digest[13:16]}-{variant}{digest[17:20]}-{digest[20:32]}"
