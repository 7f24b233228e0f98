"""What a preset holds: where it is asked what to leave, though it enters nothing."""

from dataclasses import dataclass
from typing import Final

from activities.messenger import Messenger
from tradewright import ids
from tradewright.domain.account import Account
from tradewright.domain.plan import TradePlan
from tradewright.ports import Evaluation

WITHIN: Final = 5.0
"""Seconds that the desk may take to say what is held."""


@dataclass(frozen=True)
class Held:
    plans: tuple[TradePlan, ...] | None
    """None: the desk does not say, and anything may be held."""
    virtual: frozenset[str]
    """Symbols of virtual trades."""

    def has(self, symbol: str = "", version: str = "") -> bool:
        """Return whether something may be held on *symbol*, and by *version*; unset: any."""
        if self.plans is None:
            return True
        return (symbol in self.virtual and not version) or any(
            symbol in {"", plan.symbol} and version in {"", plan.preset_hash} for plan in self.plans
        )


class Holdings:
    def __init__(self, messenger: Messenger) -> None:
        self._messenger = messenger

    async def of(self, asked: Evaluation) -> Held:
        """Return what the preset holds that is *asked* for."""
        desk = await self._messenger.ask_in_time(
            ids.account_workflow(asked.account), "account", Account, WITHIN
        )
        plans = None
        if desk is not None:
            reserved = (reservation.plan for reservation in desk.reservations)
            plans = tuple(plan for plan in reserved if plan.preset == asked.preset)
        return Held(plans, frozenset(name.split("/")[1] for name in asked.shadows))
