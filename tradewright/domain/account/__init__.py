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
    UNEXPLAINED_PATIENCE,
    Account,
    Block,
    Cooldown,
    Reservation,
)
from tradewright.domain.account.guard import GUARDS, LONGEST_MEMORY, Lift, Result, counted
from tradewright.domain.account.limits import (
    Consequence,
    Consequences,
    Limits,
    MarginMode,
    PositionMode,
)
from tradewright.domain.account.message import (
    Channel,
    Filled,
    LeaveWish,
    Released,
    Renaming,
    Resting,
    Unresolved,
)
from tradewright.domain.account.monitor import (
    Breach,
    Watch,
    breach,
    breaches,
    lifted,
    limit_changes,
    unfired,
    watch,
)
from tradewright.domain.account.name import Renamed
from tradewright.domain.account.past import Baseline, Fired, Past, Pause
from tradewright.domain.account.refusal import EXPLANATIONS, Explanation, RefusalCode, explained
from tradewright.domain.account.snapshot import Position, Snapshot
from tradewright.domain.account.tally import CashMark, Tally, tally
from tradewright.domain.account.usage import Usage, usage

__all__ = [
    "EXPLANATIONS",
    "GUARDS",
    "LONGEST_MEMORY",
    "REMEMBERED_TRADES",
    "SNAPSHOT_MAX_AGE",
    "UNEXPLAINED_PATIENCE",
    "Account",
    "Approved",
    "Baseline",
    "Block",
    "Breach",
    "CashMark",
    "Channel",
    "Consequence",
    "Consequences",
    "Cooldown",
    "Decision",
    "Explanation",
    "Filled",
    "Fired",
    "LeaveWish",
    "Lift",
    "Limits",
    "MarginMode",
    "Past",
    "Pause",
    "Position",
    "PositionMode",
    "RefusalCode",
    "Refused",
    "Released",
    "Renamed",
    "Renaming",
    "Reservation",
    "Resting",
    "Result",
    "Snapshot",
    "Tally",
    "Unresolved",
    "Usage",
    "Watch",
    "breach",
    "breaches",
    "counted",
    "decide",
    "explained",
    "lifted",
    "limit_changes",
    "tally",
    "unfired",
    "usage",
    "watch",
]
