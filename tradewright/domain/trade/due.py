"""What a step of a trade calls for at the exchange."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from tradewright.domain.plan import Origin, TrailedBy
from tradewright.domain.trade.life import Trade
from tradewright.domain.trade.table import S, TradeState


class Command(StrEnum):
    """What the shell has to do at the exchange."""

    PLACE_ENTRY = "place_entry"
    CANCEL_ENTRY = "cancel_entry"
    VERIFY_STOP = "verify_stop"
    SET_STOP = "set_stop"
    SET_TRAILING = "set_trailing"
    PLACE_TARGETS = "place_targets"
    LOOK_UP = "look_up"
    FLATTEN = "flatten"
    SETTLE = "settle"


ON_ENTERING: Final[Mapping[TradeState, Command]] = MappingProxyType(
    {
        S.ENTERING: Command.PLACE_ENTRY,
        S.OPEN: Command.VERIFY_STOP,
        S.EXITING: Command.FLATTEN,
        S.SETTLING: Command.SETTLE,
    }
)


def due(before: Trade, after: Trade) -> tuple[Command, ...]:
    """Return the commands that the step from *before* to *after* calls for, most urgent first."""
    pending = _pending(before)
    return (*_urgent(before, after), *(c for c in _pending(after) if c not in pending))


def _urgent(before: Trade, after: Trade) -> tuple[Command, ...]:
    """Return what the step itself calls for."""
    if after.state is not before.state:
        if after.state is S.OPEN and after.plan.origin is Origin.ADOPTED:
            return (Command.SET_STOP,)
        command = ON_ENTERING.get(after.state)
        return (command,) if command else ()
    if after.state is S.OPEN and after.stops_set > before.stops_set:
        return (Command.SET_STOP,)
    if after.state is S.OPEN and len(after.exits) > len(before.exits):
        # A reduction may have taken the stop along
        return (Command.VERIFY_STOP,)
    if after.state is S.OPEN and len(after.entries) > len(before.entries) and _was_moved(after):
        # What fills brings its own stop along, and may put the old one back
        return (Command.VERIFY_STOP,)
    if after.rechecks > before.rechecks and not after.is_final:
        return (Command.SETTLE if after.state is S.SETTLING else Command.LOOK_UP,)
    return ()


def _was_moved(trade: Trade) -> bool:
    return trade.stop is not None and trade.wanted_stop != trade.plan.stop_loss


def _pending(trade: Trade) -> tuple[Command, ...]:
    """Return what is to be done once before the trade is as it was planned."""
    found = []
    if trade.entry_expired and trade.entry_order_id and trade.is_working:
        found += [Command.CANCEL_ENTRY] if trade.state in {S.ENTERING, S.OPEN} else []
    # Nothing is added to a position whose stop was not seen yet
    if trade.state is S.OPEN and trade.stop is not None:
        trailing = trade.plan.exits.trailing
        if trailing and trailing.by is TrailedBy.EXCHANGE and trade.trailed_by is None:
            found.append(Command.SET_TRAILING)
        if trade.entry_ended and not trade.targets_placed and trade.target_orders(1):
            found.append(Command.PLACE_TARGETS)
    return tuple(found)
