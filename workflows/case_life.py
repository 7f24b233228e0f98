"""A case at work: asks until somebody decides, acts, and ends when that was verified."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RawValue, RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception

from tradewright.domain.case import Case, CaseOpening, CaseState, Choice, Decision, Sighting
from tradewright.domain.event import EventKind
from tradewright.domain.notice import Notice, Priority
from tradewright.ports import ReconciliationPort
from workflows.attributes import ACCOUNT, NEEDS_OPERATOR, show
from workflows.case import CaseCarried, CaseStart
from workflows.case_page import case_page
from workflows.message import hear, refused
from workflows.notice import tell
from workflows.outbox import Outbox, dump
from workflows.remedy import Remedy, leave, recheck, remedy, summed

LOOK_WITHIN = timedelta(seconds=10)
LOOK = RetryPolicy(maximum_attempts=3)


@workflow.defn
class CaseWorkflow:
    """Handlers record what they hear and return; the loop acts and tells."""

    @workflow.init
    def __init__(self, start: CaseStart) -> None:
        carried, now = start.carried, workflow.now()
        self._case = (
            carried.case if carried else Case(opening=start.opening, since=now, asked_at=now)
        )
        self._journal = Outbox(
            start.opening.account,
            noted=carried.noted if carried else 0,
            unwritten=carried.unwritten if carried else (),
            tell=self._hear_of_journal,
        )
        self._needs_operator = carried.needs_operator if carried else ""
        self._news: list[Notice] = []
        self._is_to_look = False
        if carried is None:
            self._note("opened")
            self._ask_person()

    @workflow.run
    async def run(self, start: CaseStart) -> Case:
        del start
        # A cancel interrupts only this wait: a difference does not end by being cancelled
        work = asyncio.create_task(self._work())
        while not work.done():
            try:
                await asyncio.shield(work)
            except asyncio.CancelledError:
                if work.done():
                    break
                self._call_operator("a cancel was ignored: decide, and the case ends")
        work.result()
        return self._case

    async def _work(self) -> None:
        writing = asyncio.create_task(self._journal.keep_writing())
        while not self._case.is_over or self._news:
            self._show()
            await self._send_news()
            if self._is_to_act():
                await self._act()
            elif self._is_to_look:
                await self._look_again()
            elif self._may_continue_as_new():
                self._continue_as_new()
            elif not self._case.is_over:
                await self._wait()
        self._show()
        self._journal.close()
        await writing

    async def _wait(self) -> None:
        case = self._case
        left = None
        if case.waits_for_person:
            passed = workflow.now() - case.asked_at
            left = max(case.escalates_after - passed, timedelta(0))
        try:
            await workflow.wait_condition(
                lambda: self._case is not case or self._has_work() or self._may_continue_as_new(),
                timeout=left,
                timeout_summary="until somebody is asked again",
            )
        except TimeoutError:
            self._change(case.escalated().model_copy(update={"asked_at": workflow.now()}))
            self._note("escalated")
            self._ask_person()

    def _has_work(self) -> bool:
        return bool(self._news) or self._is_to_look

    def _is_to_act(self) -> bool:
        case = self._case
        return case.state is CaseState.DECIDED and case.acted_at is None

    async def _act(self) -> None:
        decision, opening = self._case.decision, self._case.opening
        assert decision is not None  # noqa: S101 - a case that is to act was decided
        done = summed(await _done(decision, opening))
        if self._case.decision is not decision:
            # Somebody has decided otherwise meanwhile
            return
        self._change(self._case.acted(done, workflow.now()))
        self._note("acted", remedy=done)
        self._is_to_look = True

    async def _look_again(self) -> None:
        """Have the next comparison come now; without it all is verified a minute later."""
        self._is_to_look = False
        try:
            await workflow.execute_activity_method(
                ReconciliationPort.look_again,
                self._case.opening.account,
                start_to_close_timeout=LOOK_WITHIN,
                retry_policy=LOOK,
            )
        except ActivityError as e:
            if is_cancelled_exception(e):
                raise
            workflow.logger.warning("not_looked_again", extra={"error": str(e.cause)})

    # --- messages -------------------------------------------------------------------------------

    @workflow.signal(
        name="decide", description='{"choice": "fix", "by": "ann", "reason": "…"}: see the page'
    )
    def decide_by_signal(self, *args: RawValue) -> None:
        hear("decide", Decision, args, self._decide, self._call_operator)

    @workflow.update(name="decide", description="Decide, and say that it was understood")
    def decide_by_update(self, decision: Decision) -> Case:
        self._decide(decision)
        return self._case

    @decide_by_update.validator
    def _decision_possible(self, decision: Decision) -> None:
        if fault := self._case.fault_of(decision):
            raise ApplicationError(fault, type="DecisionNotTaken")

    @workflow.signal(description="The difference was seen again")
    def seen(self, *args: RawValue) -> None:
        hear("seen", CaseOpening, args, self._see, self._call_operator)

    @workflow.signal(description="A comparison has finished, with or without the difference")
    def compared(self, *args: RawValue) -> None:
        hear("compared", Sighting, args, self._compare, self._call_operator)

    @workflow.signal(dynamic=True)
    def unknown(self, name: str, args: Sequence[RawValue]) -> None:
        del args
        self._call_operator(refused(name, "there is no such signal; this workflow takes decide"))

    @workflow.query(description="What differs, since when, and what was decided")
    def case(self) -> Case:
        return self._case

    def _decide(self, decision: Decision) -> None:
        if fault := self._case.fault_of(decision):
            self._call_operator(refused("decide", fault))
            return
        self._needs_operator = ""
        self._change(self._case.decided(decision, workflow.now()))
        self._note("decided", decision=dump(decision))
        if self._case.is_over:
            self._note("closed")
        self._is_to_look = decision.choice is Choice.IGNORE
        # Nobody is asked any more, whatever comes of it
        self._news.append(self._notice(resolved=True))

    def _see(self, opening: CaseOpening) -> None:
        before = self._case
        self._change(before.seen(opening, workflow.now()))
        if self._case.waits_for_person and (
            not before.waits_for_person or before.opening.fingerprint != opening.fingerprint
        ):
            self._note("changed" if before.waits_for_person else "asked_again")
            self._ask_person()

    def _compare(self, sighting: Sighting) -> None:
        if sighting.opening is not None:
            self._see(sighting.opening)
            return
        before = self._case
        self._change(before.not_seen(sighting.at))
        # Two comparisons may end at about the same time
        if self._case.is_over and not before.is_over:
            self._note("closed")
            self._news.append(self._notice(resolved=True))

    # --- telling --------------------------------------------------------------------------------

    def _ask_person(self) -> None:
        self._news.append(self._notice())

    def _notice(self, *, resolved: bool = False) -> Notice:
        case, opening = self._case, self._case.opening
        what = f"{opening.kind.replace('_', ' ')} on {opening.symbol or 'the account'}"
        if resolved:
            answer = f"{case.decision.choice} by {case.decision.by}" if case.decision else ""
            title, text = f"{what}: {case.outcome or answer}", opening.detail
        else:
            again = f", asked {case.escalations + 1} times" if case.escalations else ""
            title = f"{what}: somebody has to decide{again}"
            name = workflow.info().workflow_id
            text = f"{opening.detail}\n{case.remark}".strip() + (
                f"\nChoices: {', '.join(opening.choices)}. Answer with\n"
                f"tradewright case decide {name} {opening.choices[0]} --by NAME"
            )
        return Notice(
            key=workflow.info().workflow_id,
            account=opening.account,
            priority=Priority.URGENT,
            title=title[:200],
            text=text[:2000],
            workflow_id=workflow.info().workflow_id,
            at=workflow.now(),
            resolved=resolved,
        )

    async def _send_news(self) -> None:
        news, self._news = self._news, []
        for notice in news:
            await tell(notice)

    def _change(self, case: Case) -> None:
        self._case = case
        self._show()

    def _note(self, change: str, **more: Any) -> None:
        case, opening = self._case, self._case.opening
        data = {"change": change, "state": case.state.value, "opening": dump(opening)} | more
        if case.outcome:
            data["outcome"] = case.outcome
        self._journal.note(
            EventKind.CASE_CHANGED, data, trade_id=opening.trade_id, symbol=opening.symbol
        )

    def _hear_of_journal(self, fault: str) -> None:
        if fault or self._needs_operator.startswith("the journal "):
            self._call_operator(fault)

    def _call_operator(self, why: str) -> None:
        self._needs_operator = why
        self._show()

    def _show(self) -> None:
        case = self._case
        needs = bool(self._needs_operator) or case.waits_for_person
        show([(ACCOUNT, case.opening.account), (NEEDS_OPERATOR, needs and not case.is_over)])
        workflow.set_current_details(case_page(case, self._needs_operator))

    # --- going on -------------------------------------------------------------------------------

    def _may_continue_as_new(self) -> bool:
        # What is not told yet is not carried
        return (
            workflow.info().is_continue_as_new_suggested()
            and self._journal.fits
            and not self._has_work()
        )

    def _continue_as_new(self) -> None:
        workflow.continue_as_new(
            CaseStart(
                opening=self._case.opening,
                carried=CaseCarried(
                    case=self._case,
                    noted=self._journal.noted,
                    unwritten=self._journal.unwritten,
                    needs_operator=self._needs_operator,
                ),
            )
        )


async def _done(decision: Decision, opening: CaseOpening) -> list[Remedy]:
    by, reason = decision.by, decision.reason
    if opening.subjects:
        return [
            await remedy(decision.choice, subject, by=by, reason=reason)
            for subject in opening.subjects
        ]
    if decision.choice is Choice.CLOSE:
        return [await leave(opening.workflow_id, by=by, reason=reason or opening.detail)]
    return [await recheck(opening.workflow_id, opening.detail)]
