"""What changed since the last write, booked: one transaction of the state."""

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from typing import Any, Self

import msgspec
from msgspec.structs import replace

from tradewright.domain.errors import TradewrightError
from tradewright.matching import (
    Account,
    Balance,
    Engine,
    Event,
    ExecType,
    Executed,
    Execution,
    Order,
    OrderChanged,
    Position,
    PositionChanged,
    Profile,
    ProfileChanged,
    StopTrailed,
    WalletChanged,
)
from tradewright.paper.query import Booking, Transfer

ZERO = Decimal(0)


class Prices(msgspec.Struct, frozen=True, array_like=True):
    last: Decimal
    mark: Decimal
    index: Decimal


class LedgerBroken(TradewrightError):
    def __init__(self, account: str, detail: str) -> None:
        super().__init__(f"ledger of account {account} does not balance: {detail}")


class TransferNote(msgspec.Struct, frozen=True):
    """How the client named a transfer."""

    transfer_id: str = ""
    source: str = ""
    target: str = ""


NO_NOTE = TransferNote()


class Batch:
    """Of each thing only what it was last; of bookings all."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.orders: dict[int, Order] = {}
        self.bookings: list[Booking] = []
        self.positions: dict[tuple[str, str], Position] = {}
        self.balances: dict[str, Balance] = {}
        self.profiles: dict[str, Profile] = {}
        self.prices: dict[str, Prices] = {}
        self.facts: dict[str, Any] = {}

    def __len__(self) -> int:
        return len(self.orders) + len(self.bookings)

    def join(self, later: "Batch") -> None:
        """Take in what happened after; not the events, which are told batch by batch."""
        self.orders |= later.orders
        self.bookings += later.bookings
        self.positions |= later.positions
        self.balances |= later.balances
        self.profiles |= later.profiles
        self.prices |= later.prices
        self.facts |= later.facts


class Tally(msgspec.Struct):
    """What the bookings of one account have added up to so far."""

    balance: Balance
    sizes: dict[str, Decimal]
    """Positions, negative if short."""

    @classmethod
    def of(cls, account: Account) -> Self:
        return cls(account.balance, {s: _size(p) for s, p in account.positions.items() if p.size})

    def book(self, execution: Execution) -> Booking:
        before, symbol = self.balance, execution.symbol
        size = self.sizes.get(symbol, ZERO)
        if execution.exec_type is ExecType.FUNDING:
            self.balance = replace(before, funding=before.funding + execution.fee)
        else:
            size = self.sizes[symbol] = size + execution.side.sign * execution.qty
            self.balance = replace(
                before, realised=before.realised + execution.pnl, fees=before.fees + execution.fee
            )
        return Booking(execution, self.balance.cash, size)

    def move(self, transfer: Transfer) -> Booking:
        self.balance = replace(self.balance, transfers=self.balance.transfers + transfer.amount)
        return Booking(transfer, self.balance.cash, ZERO)


class Books:
    """Books what the engine reports, batch after batch."""

    def __init__(self, engine: Engine, *, is_checked: bool) -> None:
        self.batch = Batch()
        self._engine = engine
        self._is_checked = is_checked
        self._tallies = {name: Tally.of(account) for name, account in engine.accounts.items()}
        self._known: tuple[dict[str, Decimal], ...] = ({}, {}, {})

    def take(self, events: Iterable[Event], now: datetime, note: TransferNote = NO_NOTE) -> None:
        """Book *events*; *note* says more of the transfer that is among them.

        Raises:
            LedgerBroken: An account does not hold what its bookings add up to.
        """
        batch = self.batch
        touched: set[str] = set()
        for event in events:
            batch.events.append(event)
            if isinstance(event, (OrderChanged, StopTrailed)):
                batch.orders[event.order.seq] = event.order
            elif isinstance(event, Executed):
                execution = event.execution
                batch.bookings.append(self._tallies[execution.account].book(execution))
                touched.add(execution.account)
            elif isinstance(event, PositionChanged):
                position = event.position
                batch.positions[position.account, position.symbol] = position
            elif isinstance(event, WalletChanged):
                self._take_balance(event.balance, now, note)
                touched.add(event.balance.account)
            elif isinstance(event, ProfileChanged):
                batch.profiles[event.profile.account] = event.profile
        if self._is_checked:
            for account in touched:
                self._check(account)

    def close(self, facts: dict[str, Any]) -> Batch:
        """Return the batch, with the prices that have moved and *facts*; begin another one."""
        batch, self.batch = self.batch, Batch()
        batch.prices = self._moved()
        batch.facts = facts
        return batch

    def _take_balance(self, balance: Balance, now: datetime, note: TransferNote) -> None:
        account = balance.account
        self.batch.balances[account] = balance
        tally = self._tallies.setdefault(account, Tally(balance, {}))
        amount = balance.transfers - tally.balance.transfers
        if amount:
            self._engine.seq += 1
            moved = Transfer(
                seq=self._engine.seq,
                account=account,
                amount=amount,
                time=now,
                transfer_id=note.transfer_id,
                source=note.source,
                target=note.target,
            )
            self.batch.bookings.append(tally.move(moved))

    def _check(self, name: str) -> None:
        account, tally = self._engine.accounts[name], self._tallies[name]
        if tally.balance != account.balance:
            raise LedgerBroken(name, f"booked {tally.balance}, held {account.balance}")
        held = {s: _size(p) for s, p in account.positions.items() if p.size}
        booked = {s: size for s, size in tally.sizes.items() if size}
        if held != booked:
            raise LedgerBroken(name, f"booked {booked}, held {held}")

    def _moved(self) -> dict[str, Prices]:
        """Return the prices that are not as they were at the last call."""
        engine = self._engine
        known, now = self._known, (engine.last, engine.mark, engine.index)
        if now == known:
            # Compared as a whole, which for hundreds of symbols is much faster
            return {}
        self._known = last, mark, index = tuple(p.copy() for p in now)
        return {
            s: Prices(last[s], mark[s], index[s])
            for s in last
            if any(after[s] != before.get(s) for before, after in zip(known, now, strict=True))
        }


def _size(position: Position) -> Decimal:
    return position.side.sign * position.size
