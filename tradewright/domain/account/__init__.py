"""The desk of one account: who holds what risk, and the decision on every proposal."""

from tradewright.domain.account.decision import (
    SNAPSHOT_MAX_AGE,
    Approved,
    Decision,
    Refused,
    decide,
)
from tradewright.domain.account.desk import (
    REMEMBERED_TRADES,
    Account,
    Block,
    Cooldown,
    Reservation,
)
from tradewright.domain.account.limits import Limits
from tradewright.domain.account.message import (
    Channel,
    Filled,
    LeaveWish,
    Released,
    Unresolved,
)
from tradewright.domain.account.monitor import breach
from tradewright.domain.account.refusal import RefusalCode
from tradewright.domain.account.snapshot import Position, Snapshot

__all__ = [
    "REMEMBERED_TRADES",
    "SNAPSHOT_MAX_AGE",
    "Account",
    "Approved",
    "Block",
    "Channel",
    "Cooldown",
    "Decision",
    "Filled",
    "LeaveWish",
    "Limits",
    "Position",
    "RefusalCode",
    "Refused",
    "Released",
    "Reservation",
    "Snapshot",
    "Unresolved",
    "breach",
    "decide",
]
