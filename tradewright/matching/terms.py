"""How accounts trade: leverage, margin mode, margin of single positions, money in and out."""

from datetime import datetime
from decimal import Decimal

from msgspec.structs import replace

from tradewright.matching.account import Account
from tradewright.matching.event import Event, PositionChanged, ProfileChanged
from tradewright.matching.moves import Moves
from tradewright.matching.order import ZERO
from tradewright.matching.position import MarginMode, Position, RequestRejected


class Terms(Moves):
    def set_leverage(
        self, account: str, symbol: str, leverage: Decimal, now: datetime
    ) -> list[Event]:
        owner = self.accounts[account]
        market = self.board.market(symbol)
        position = owner.positions[symbol]
        if leverage < 1 or leverage * 100 % 1:
            raise RequestRejected(10001, "leverage invalid")
        if leverage == position.leverage:
            raise RequestRejected(110043, "leverage not modified")
        most = min(market.instrument.max_leverage, owner.tier_of(symbol).max_leverage)
        if leverage > most:
            raise RequestRejected(
                110013,
                f"cannot set leverage [{leverage * 100:.0f}] gt maxLeverage [{most * 100:.0f}] "
                "by risk limit",
            )
        was_short_of = owner.available()
        self._try(owner, replace(position, leverage=leverage, updated=now), was_short_of)
        self._events.append(PositionChanged(owner.positions[symbol]))
        return self._drain()

    def set_margin_mode(self, account: str, mode: MarginMode, now: datetime) -> list[Event]:
        """Let all positions of *account* be cross or isolated."""
        owner = self.accounts[account]
        before = owner.profile
        if mode is before.margin_mode:
            return []
        owner.profile = replace(before, margin_mode=mode)
        doomed = any(owner.is_doomed(p.symbol) for p in owner.held())
        if doomed or (owner.held() and owner.available() < 0):
            owner.profile = before
            reason = ("3400000", "The margin is not enough for the positions and orders held")
            raise RequestRejected(3400045, "Set margin mode failed", (reason,))
        self._events.append(ProfileChanged(owner.profile))
        for position in owner.held():
            self._change_position(
                replace(position, extra_margin=ZERO, auto_add_margin=False, updated=now)
            )
        return self._drain()

    def add_margin(self, account: str, symbol: str, amount: Decimal, now: datetime) -> list[Event]:
        """Add *amount* to the margin of an isolated position, or take back what is negative."""
        owner = self.accounts[account]
        position = self._isolated_position(owner, symbol)
        if not amount:
            raise RequestRejected(110027, "Margin has not been modified.")
        if amount > max(owner.available(), ZERO):
            raise RequestRejected(
                110014, "Insufficient available balance to add additional margin."
            )
        extra = position.extra_margin + amount
        if amount < 0 and extra < 0:
            raise RequestRejected(110078, "Added margin more than max can reduce margin")
        self._try(owner, replace(position, extra_margin=extra, updated=now))
        self._events.append(PositionChanged(owner.positions[symbol]))
        return self._drain()

    def set_auto_add_margin(
        self, account: str, symbol: str, on: bool, now: datetime
    ) -> list[Event]:
        owner = self.accounts[account]
        self.board.market(symbol)
        if not owner.is_isolated:
            raise RequestRejected(110076, "Only isolated mode can set auto-add-margin")
        position = owner.positions[symbol]
        if position.auto_add_margin is on:
            raise RequestRejected(110027, "Margin has not been modified.")
        self._change_position(replace(position, auto_add_margin=on, updated=now))
        return self._drain()

    def transfer(self, account: str, amount: Decimal, now: datetime) -> list[Event]:
        """Put *amount* into the wallet, or take out what is negative."""
        owner = self.accounts[account]
        if -amount > owner.withdrawable():
            raise RequestRejected(131212, "Insufficient balance")
        balance = owner.balance
        self._change_balance(replace(balance, transfers=balance.transfers + amount))
        return self._drain()

    def set_limit_action(self, account: str, rejects: bool, now: datetime) -> list[Event]:
        """Let limit prices outside the price band be refused, or be moved to it."""
        owner = self.accounts[account]
        owner.profile = replace(owner.profile, rejects_outside_band=rejects)
        self._events.append(ProfileChanged(owner.profile))
        return self._drain()

    def _isolated_position(self, owner: Account, symbol: str) -> Position:
        self.board.market(symbol)
        if not owner.is_isolated:
            raise RequestRejected(110015, "The position is in cross margin mode.")
        position = owner.positions[symbol]
        if not position.size:
            raise RequestRejected(110033, "You can't set margin without an open position")
        return position

    def _try(self, owner: Account, after: Position, needs: Decimal | None = None) -> None:
        """Let *owner* hold *after*, unless that were liquidated or more than is available."""
        before = owner.positions[after.symbol]
        owner.hold(after)
        if needs is not None and owner.available() < min(needs, ZERO):
            owner.hold(before)
            raise RequestRejected(110044, "Available margin is insufficient.")
        if owner.is_doomed(after.symbol):
            owner.hold(before)
            raise RequestRejected(
                110011, "Liquidation will be triggered immediately by this adjustment"
            )
