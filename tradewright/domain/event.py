"""What is written to the journal: append-only, each event unique by its id."""

from enum import StrEnum
from typing import Any

from pydantic import AwareDatetime, Field

from tradewright.domain.market import Value


class EventKind(StrEnum):
    """What happened. The keys of `data` are listed beside each."""

    SIGNAL_APPROVED = "signal_approved"  # proposal, plan
    SIGNAL_REFUSED = "signal_refused"
    """code, reason; proposal, where there was a signal."""
    SIGNAL_ALERTED = "signal_alerted"  # proposal
    ENTRY_INTENDED = "entry_intended"  # plan, order_link_id
    TRADE_CHANGED = "trade_changed"
    """event; trade, unless another fill follows at once; view: market at the open and the close."""
    SHADOW_CHANGED = "shadow_changed"  # event, trade
    GATE_CHANGED = "gate_changed"  # gate
    KILL_SWITCH = "kill_switch"  # step, detail
    STRATEGY_CHANGED = "strategy_changed"  # change, by, reason
    DISCREPANCY = "discrepancy"  # discrepancy, remedy
    CASE_CHANGED = "case_changed"  # change, state, opening; decision, remedy, outcome
    SNAPSHOT = "snapshot"  # snapshot, baseline
    DESK = "desk"  # step, detail, code
    TRADE_RESOLVED = "trade_resolved"
    """A person said how a trade that could not go on goes on."""
    MESSAGE_REFUSED = "message_refused"  # message, fault
    NOTICE_ACKNOWLEDGED = "notice_acknowledged"  # key, title, by


class JournalEvent(Value):
    """One event of one workflow's chain."""

    event_id: str = Field(description="Derived from the workflow and its count: a repeat is known.")
    chain: str = Field(description="Workflow id; events of one chain are hash-linked.")
    kind: EventKind
    account: str
    at: AwareDatetime = Field(description="Wall clock.")
    market_at: AwareDatetime | None = None
    trade_id: str = ""
    symbol: str = ""
    preset: str = ""
    data: dict[str, Any] = Field(default_factory=dict, description="JSON; decimals as text.")
