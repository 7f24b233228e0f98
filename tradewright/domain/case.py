"""A case: a difference that a person decides on, from its opening to its verified end."""

from datetime import timedelta
from enum import StrEnum
from typing import Final

from pydantic import AwareDatetime, Field

from tradewright.domain.market import Value
from tradewright.domain.reconciliation import Choice, Discrepancy, Kind

__all__ = ["Case", "CaseOpening", "CaseState", "Choice", "Decision", "Sighting"]

GONE_AFTER: Final = 2
"""Comparisons in a row without the difference, before nobody is asked any more."""
FAILED_AFTER: Final = 2
"""Comparisons that still see the difference, before a decision counts as without effect."""
ESCALATE_AFTER: Final = (
    timedelta(minutes=5),
    timedelta(minutes=15),
    timedelta(hours=1),
    timedelta(hours=6),
)
"""Between two calls for a person; the last one again and again."""


class CaseOpening(Value):
    """What differs, and what may be done about it."""

    account: str
    symbol: str = Field(default="", description="Empty: the whole account is meant.")
    kind: str = Field(min_length=1)
    detail: str
    fingerprint: str = Field(description="Equal as long as the difference has not changed.")
    trade_id: str = ""
    workflow_id: str = Field(default="", description="Of the trade that is to act, if one runs.")
    choices: tuple[Choice, ...] = Field(min_length=1)
    subjects: tuple[Discrepancy, ...] = Field(
        default=(), description="What a reconciliation found; empty where a trade itself asks."
    )
    at: AwareDatetime | None = Field(
        default=None, description="Wall clock, when the reads began that showed it."
    )

    @property
    def is_of_trade(self) -> bool:
        """Return whether a trade itself asks: no comparison sees what it asks about."""
        return self.kind not in set(Kind)


class Decision(Value):
    """Signal and update `decide`: a named person takes the responsibility."""

    choice: Choice
    by: str = Field(min_length=1)
    reason: str = ""


class Sighting(Value):
    """Signal `compared`: a later comparison, and whether it still saw the difference."""

    at: AwareDatetime = Field(description="Wall clock, when its reads began.")
    opening: CaseOpening | None = None


class CaseState(StrEnum):
    OPEN = "open"
    """Waits for a person."""
    DECIDED = "decided"
    """Acted upon; a later comparison has to show that it was of use."""
    IGNORED = "ignored"
    """Known and accepted, for as long as it does not change."""
    CLOSED = "closed"


class Case(Value):
    """Query `case`: what differs, since when, and what was decided."""

    opening: CaseOpening
    state: CaseState = CaseState.OPEN
    since: AwareDatetime = Field(description="Wall clock.")
    asked_at: AwareDatetime = Field(description="Since when somebody has been asked.")
    decision: Decision | None = None
    decided_at: AwareDatetime | None = None
    acted_at: AwareDatetime | None = None
    remedy: str = Field(default="", description="What was done about it.")
    remark: str = Field(default="", description="Why somebody is asked again.")
    escalations: int = 0
    still_there: int = 0
    not_there: int = 0
    outcome: str = ""

    @property
    def is_over(self) -> bool:
        return self.state is CaseState.CLOSED

    @property
    def waits_for_person(self) -> bool:
        return self.state is CaseState.OPEN

    @property
    def blocks(self) -> bool:
        """Return whether nothing may be entered on its symbol."""
        return self.state in {CaseState.OPEN, CaseState.DECIDED}

    @property
    def escalates_after(self) -> timedelta:
        return ESCALATE_AFTER[min(self.escalations, len(ESCALATE_AFTER) - 1)]

    def accepts(self, fingerprint: str) -> bool:
        """Return whether a person has said that exactly this may be."""
        return self.state is CaseState.IGNORED and self.opening.fingerprint == fingerprint

    def fault_of(self, decision: Decision) -> str:
        """Return why *decision* cannot be taken; empty if it can."""
        if self.is_over:
            return f"the case is closed: {self.outcome}"
        if decision.choice not in self.opening.choices:
            known = ", ".join(self.opening.choices)
            return f"{decision.choice} is no choice here; choose one of {known}"
        return ""

    def decided(self, decision: Decision, now: AwareDatetime) -> "Case":
        ignored = decision.choice is Choice.IGNORE
        case = self.model_copy(
            update={
                "state": CaseState.IGNORED if ignored else CaseState.DECIDED,
                "decision": decision,
                "decided_at": now,
                "acted_at": now if ignored else None,
                "remedy": "",
                "remark": "",
                "still_there": 0,
                "not_there": 0,
            }
        )
        if ignored and self.opening.is_of_trade:
            return case._closed(f"{decision.choice} by {decision.by}")
        return case

    def acted(self, remedy: str, now: AwareDatetime) -> "Case":
        return self.model_copy(update={"remedy": remedy, "acted_at": now})

    def escalated(self) -> "Case":
        return self.model_copy(update={"escalations": self.escalations + 1})

    def seen(self, opening: CaseOpening, now: AwareDatetime) -> "Case":
        """Return the case after the difference was seen again, perhaps otherwise than before."""
        changed = opening.fingerprint != self.opening.fingerprint
        case = self.model_copy(update={"opening": opening, "not_there": 0})
        match self.state:
            case CaseState.IGNORED if changed:
                return case._asked_again("it is no longer what was ignored", now)
            case CaseState.DECIDED if self._is_later(opening.at or now):
                if self.still_there + 1 < FAILED_AFTER:
                    return case.model_copy(update={"still_there": self.still_there + 1})
                told = f"{self.decision.choice} by {self.decision.by}" if self.decision else ""
                return case._asked_again(f"{told} did not mend it ({self.remedy})", now)
            case CaseState.CLOSED:
                return self
            case _:
                return case

    def not_seen(self, at: AwareDatetime) -> "Case":
        """Return the case after a comparison whose reads began at *at* did not see it."""
        if self.is_over or not self._is_later(at):
            return self
        if self.state is CaseState.DECIDED and self.decision:
            return self._closed(f"{self.decision.choice} by {self.decision.by}, verified")
        if self.not_there + 1 >= GONE_AFTER:
            return self._closed("gone")
        return self.model_copy(update={"not_there": self.not_there + 1})

    def _is_later(self, at: AwareDatetime) -> bool:
        """Return whether reads that began at *at* know of all that was done."""
        if self.state is CaseState.DECIDED:
            return self.acted_at is not None and at > self.acted_at
        return at > (self.opening.at or self.since)

    def _asked_again(self, remark: str, now: AwareDatetime) -> "Case":
        return self.model_copy(
            update={
                "state": CaseState.OPEN,
                "decision": None,
                "decided_at": None,
                "acted_at": None,
                "remark": remark,
                "asked_at": now,
                "escalations": 0,
                "still_there": 0,
            }
        )

    def _closed(self, outcome: str) -> "Case":
        return self.model_copy(update={"state": CaseState.CLOSED, "outcome": outcome})
