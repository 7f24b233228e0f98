"""The journal: what was decided and done, append-only, and what may be asked of it."""

from tradewright.journal.chain import ChainFault
from tradewright.journal.errors import (
    JournalConflict,
    JournalUnavailable,
    UnreadableEvent,
    WriteAbandoned,
    WrongRevision,
    WrongVenue,
)
from tradewright.journal.journal import Journal
from tradewright.journal.patrol import Altered, Beat, Patrolled
from tradewright.journal.row import (
    EventRow,
    ExecutionRow,
    Leg,
    OrderRow,
    RefusalRow,
    SignalRow,
    SnapshotRow,
    Stage,
    StoredPreset,
    TradeRow,
)

__all__ = [
    "Altered",
    "Beat",
    "ChainFault",
    "EventRow",
    "ExecutionRow",
    "Journal",
    "JournalConflict",
    "JournalUnavailable",
    "Leg",
    "OrderRow",
    "Patrolled",
    "RefusalRow",
    "SignalRow",
    "SnapshotRow",
    "Stage",
    "StoredPreset",
    "TradeRow",
    "UnreadableEvent",
    "WriteAbandoned",
    "WrongRevision",
    "WrongVenue",
]
