"""What is known only now: of the order book, of the preset's open trade, and of the account."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from activities.messenger import Messenger
from tradewright import ids
from tradewright.book import Book
from tradewright.domain.account import Account
from tradewright.domain.market import Timeframe
from tradewright.domain.trade import Trade
from tradewright.plugin import ACCOUNT_SERIES, BOOK_SERIES, POSITION_SERIES
from tradewright.ports import TradeView

WITHIN = 5.0
"""Seconds that the desk or a trade may take to answer; then nothing is known of it."""


class Facts:
    """Asks the desk and the trades, and only if a strategy wants to know."""

    def __init__(self, messenger: Messenger) -> None:
        self._messenger = messenger

    async def known(
        self,
        wanted: Collection[str],
        *,
        account: str,
        preset: str,
        preset_hash: str,
        symbol: str,
        price: float,
        at: datetime,
        timeframe: Timeframe,
        shadows: Sequence[str] = (),
    ) -> dict[str, float]:
        """Return what is known of the *wanted* series of account and position.

        Args:
            wanted: Names of series; those of the book and of histories are not looked at.
            account: Whose.
            preset: Whose trade counts: only what this version has opened.
            preset_hash: Of that version.
            symbol: On which.
            price: What the position is valued at.
            at: Market clock.
            timeframe: That the position's age is counted in.
            shadows: Workflow ids of virtual trades, which are looked at where there is no other.
        """
        if not set(wanted) & {*POSITION_SERIES, *ACCOUNT_SERIES}:
            return {}
        desk = await self._messenger.ask_in_time(
            ids.account_workflow(account), "account", Account, WITHIN
        )
        if desk is None:
            return {}
        found = account_numbers(desk)
        if not set(wanted).isdisjoint(POSITION_SERIES):
            trades = [
                ids.trade_workflow(symbol, held.plan.trade_id)
                for held in desk.reservations
                if (held.plan.preset, held.plan.symbol) == (preset, symbol)
            ]
            virtual = [name for name in shadows if name.split("/")[1] == symbol]
            for name in (*trades, *virtual):
                view = await self._messenger.ask_in_time(name, "trade", TradeView, WITHIN)
                if view is not None and view.trade.plan.preset_hash == preset_hash:
                    found |= position_numbers(view.trade, price, at, timeframe)
                    break
        return {name: value for name, value in found.items() if name in wanted}


def account_numbers(desk: Account) -> dict[str, float]:
    found = {"account.open_trades": float(len(desk.reservations))}
    if desk.snapshot is not None:
        found["account.equity"] = float(desk.snapshot.equity)
    return found


def position_numbers(
    trade: Trade, price: float, at: datetime, timeframe: Timeframe
) -> dict[str, float]:
    """Return open profit in R and in quote currency, and age; nothing unless something is held."""
    entry, opened, qty = trade.entry_price, trade.opened_at, trade.open_qty
    if entry is None or opened is None or not qty:
        return {}
    gain = (Decimal(repr(price)) - entry) * trade.plan.side.sign
    risk = abs(trade.plan.price - trade.plan.stop_loss)
    return {
        "position.pnl": float(gain * qty),
        "position.candles": float(max(0, (at - opened) // timeframe.length)),
    } | ({"position.r": float(gain / risk)} if risk else {})


def book_numbers(book: Book) -> dict[str, float]:
    return {name: float(getattr(book, name.removeprefix("book."))) for name in BOOK_SERIES}


def rows_of(
    facts: Mapping[str, float], wanted: Collection[str], count: int
) -> dict[str, NDArray[np.float64]]:
    """Return each of the *wanted* facts as a series of *count* rows: known in the last one alone.

    Histories are not among them.
    """
    found = {}
    for name in wanted:
        if name in {*BOOK_SERIES, *POSITION_SERIES, *ACCOUNT_SERIES}:
            found[name] = np.full(count, np.nan)
            if count:
                found[name][-1] = facts.get(name, np.nan)
    return found
