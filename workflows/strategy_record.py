"""What one strategy shows, journals and tells of itself."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from temporalio import workflow

from tradewright.domain.event import EventKind, JournalEvent
from tradewright.domain.notice import refusal_of_note, strategy_needs_operator
from tradewright.domain.plan import Proposal
from tradewright.domain.strategy_notice import signal_alerted, symbol_rests
from tradewright.ports import Applied, Refusal, StrategyStatus
from workflows.attributes import ACCOUNT, NEEDS_OPERATOR, PRESET, PRESET_HASH, show
from workflows.notice import tell
from workflows.outbox import Outbox, dump
from workflows.strategy_page import strategy_page

REFUSAL_EVERY = timedelta(hours=1)
"""A person is told so often of the same kind of refusal."""
MOST_TRADED = 20
"""Versions that are remembered to have begun a trade, of which some may still run."""
CANNOT_DECIDE = "it cannot decide: "


class StrategyRecord:
    """The status as it stands, and everybody who hears of it."""

    def __init__(
        self, status: StrategyStatus, *, noted: int, unwritten: tuple[JournalEvent, ...]
    ) -> None:
        """Begin with *status*; *noted* and *unwritten* are an earlier run's."""
        self.status = status
        self.stopped = False
        self.journal = Outbox(
            status.account, noted=noted, unwritten=unwritten, tell=self._hear_of_journal
        )
        self._told_operator = status.needs_operator
        """What a person was told last."""
        self._told_refusals: dict[str, datetime] = {}

    def change(self, **changes: Any) -> None:
        self.status = self.status.model_copy(update=changes)

    def approved(self, preset_hash: str) -> None:
        """Count a trade that version *preset_hash* has begun."""
        traded = [h for h in self.status.traded if h != preset_hash]
        self.change(approved=self.status.approved + 1, traded=(*traded, preset_hash)[-MOST_TRADED:])

    def show(self) -> None:
        status = self.status
        show(
            [
                (ACCOUNT, status.account),
                (PRESET, status.preset),
                (PRESET_HASH, status.preset_hash),
                (NEEDS_OPERATOR, bool(status.needs_operator)),
            ]
        )
        workflow.set_current_details(strategy_page(status, cancelled=self.stopped))

    # --- the journal ------------------------------------------------------------------------------

    def note(self, change: str, by: str, reason: str, symbol: str = "", **more: Any) -> None:
        self.journal.note(
            EventKind.STRATEGY_CHANGED,
            {"change": change, "by": by, "reason": reason, **more},
            preset=self.status.preset,
            symbol=symbol,
        )

    def note_version(self, applied: Applied) -> None:
        """Keep which version is followed from now on, who wants it and why."""
        self.journal.note(
            EventKind.STRATEGY_CHANGED,
            {
                "change": "applied",
                "by": applied.by,
                "reason": applied.reason,
                "version": applied.preset_hash,
                "enabled": applied.enabled,
                "mode": applied.mode.value,
            },
            preset=applied.preset,
        )

    def refusals(
        self, refusals: Iterable[Refusal], asked: Iterable[str], market_at: datetime
    ) -> None:
        """Keep why nothing came of some of the symbols that were *asked* about.

        A refused signal is journaled each time; what keeps a symbol from being looked at, when
        it begins.
        """
        found, looked_at = tuple(refusals), set(asked)
        before = self.status.refusals
        known = {(one.symbol, one.code) for one in before}
        for refusal in found:
            if refusal.proposal is None and (refusal.symbol, refusal.code) in known:
                continue
            data: dict[str, Any] = {"code": refusal.code, "reason": refusal.reason}
            if refusal.proposal is not None:
                data["proposal"] = dump(refusal.proposal)
            self.journal.note(
                EventKind.SIGNAL_REFUSED,
                data,
                trade_id=refusal.proposal.trade_id if refusal.proposal else "",
                symbol=refusal.symbol,
                preset=self.status.preset,
                market_at=market_at,
            )
        signals = sum(one.proposal is not None for one in found)
        standing = (one for one in before if one.symbol not in looked_at)
        self.change(
            refusals=(*standing, *(one.model_copy(update={"proposal": None}) for one in found)),
            refused=self.status.refused + signals,
        )

    async def alert(self, proposal: Proposal) -> None:
        """Tell a person of the signal, and that is all that comes of it."""
        self.journal.note(
            EventKind.SIGNAL_ALERTED,
            {"proposal": dump(proposal)},
            trade_id=proposal.trade_id,
            symbol=proposal.symbol,
            preset=proposal.preset,
            market_at=proposal.trigger,
        )
        self.change(alerted=self.status.alerted + 1)
        await tell(signal_alerted(proposal))

    # --- remarks and people -----------------------------------------------------------------------

    def remark(self, note: str) -> None:
        self.change(note=note, note_at=workflow.now() if note else None)

    def call_operator(self, why: str) -> None:
        self.change(needs_operator=why)
        self.show()

    def hear_of_evaluation(self, fault: str) -> None:
        if fault:
            self.call_operator(CANNOT_DECIDE + fault)
        elif self.status.needs_operator.startswith(CANNOT_DECIDE):
            self.call_operator("")

    def _hear_of_journal(self, fault: str) -> None:
        if fault or self.status.needs_operator.startswith("the journal "):
            self.call_operator(fault)

    @property
    def is_operator_untold(self) -> bool:
        return self._told_operator != self.status.needs_operator

    async def tell_operator(self) -> None:
        status = self.status
        if self.is_operator_untold:
            self._told_operator = status.needs_operator
            await tell(
                strategy_needs_operator(status.account, status.preset, status.needs_operator)
            )

    async def tell_refusal(self, symbol: str, code: str, reason: str) -> None:
        status, now = self.status, workflow.now()
        told_at = self._told_refusals.get(code)
        if told_at is not None and now - told_at < REFUSAL_EVERY:
            return
        notice = refusal_of_note(status.account, status.preset, symbol, code, reason)
        if notice is not None:
            self._told_refusals[code] = now
            await tell(notice)

    async def tell_rest(self, symbol: str, reason: str, *, resolved: bool = False) -> None:
        status = self.status
        await tell(symbol_rests(status.account, status.preset, symbol, reason, resolved=resolved))
