"""Compare the exchange with the trades, twice, and do what the settings say about differences."""

from collections.abc import Mapping, Sequence
from datetime import timedelta

from pydantic import Field
from temporalio import workflow
from temporalio.common import Priority as TaskPriority
from temporalio.common import RawValue, RetryPolicy
from temporalio.exceptions import ApplicationError

from tradewright import ids
from tradewright.domain.account import Block
from tradewright.domain.case import Case, CaseOpening, Choice
from tradewright.domain.event import EventKind
from tradewright.domain.market import Value
from tradewright.domain.notice import Notice, Priority
from tradewright.domain.plan import TradePlan
from tradewright.domain.reconciliation import Policy, agreed
from tradewright.domain.ruling import (
    Key,
    Memory,
    Ruling,
    barring,
    cases_by_key,
    openings,
    remembered,
    ruling,
    standing,
    told,
)
from tradewright.ports import Comparison, Reconciled, ReconciliationPort
from workflows.attributes import ACCOUNT, show
from workflows.case import case_id, open_case
from workflows.kill_switch import TripWish
from workflows.message import refused
from workflows.notice import tell
from workflows.outbox import Outbox, dump
from workflows.reconciliation_page import reconciliation_page
from workflows.remedy import Remedy, remedy

SECOND_LOOK = timedelta(seconds=10)
"""Between two passes, so that what is merely on its way has arrived."""
COMPARED_WITHIN = timedelta(seconds=60)
NOTHING_FOR = timedelta(seconds=10)
"""A comparison that does not heartbeat so long has died with its worker."""
RECORD_WITHIN = timedelta(seconds=30)
"""A journal that is away must not keep the next run from looking."""
READS_LATER = TaskPriority(priority_key=4)
WHO = "reconciliation"


class ReconciliationStart(Value):
    account: str
    second_look: timedelta = SECOND_LOOK


class ReconciliationReport(Value):
    """What a run found and did; the next run of the schedule is handed its memory."""

    found: int
    mended: tuple[str, ...] = ()
    asked: tuple[str, ...] = ()
    """What a person has to decide."""
    left: tuple[str, ...] = ()
    """Seen by the second look alone, or not to be mended now."""
    ignored: tuple[str, ...] = ()
    """What the settings or a person let be."""
    memory: Memory = Field(default_factory=Memory)


@workflow.defn
class ReconciliationWorkflow:
    """Short: one pass when the books agree, two and the remedies when they do not."""

    @workflow.run
    async def run(self, start: ReconciliationStart) -> ReconciliationReport:
        show([(ACCOUNT, start.account)])
        self._account = start.account
        self._memory = _last_memory()
        self._journal = Outbox(start.account, tell=workflow.logger.warning)
        self._adopted: list[TradePlan] = []
        first = last = await self._compare()
        found = openings(start.account, (), first.at)
        if self._standing(first):
            # What may turn out to be merely on its way is not entered either
            await self._tell_desk(first, first, first.cases)
            await workflow.sleep(start.second_look, summary="until the second look")
            last = await self._compare()
            both = agreed(first.discrepancies, last.discrepancies)
            found = openings(start.account, both, last.at)
        done = await self._rule(last, found)
        cases = await self._tell_cases(last, found)
        await self._tell_desk(first, last, cases)
        await self._journal.flush_within(RECORD_WITHIN)
        rulings = [made for made, _ in done]
        acted = {made.name for made in rulings}
        seen, barred = self._seen(last), self._standing(last)
        asks = [made.policy is Policy.ASK for made in rulings]
        report = ReconciliationReport(
            found=len(last.discrepancies),
            # Whoever is asked is named first; what is mended meanwhile follows
            asked=tuple(lines[0] for ask, (_, lines) in zip(asks, done, strict=True) if ask),
            mended=tuple(
                line for ask, (_, lines) in zip(asks, done, strict=True) for line in lines[ask:]
            ),
            left=tuple(o.detail for k, o in barred.items() if f"{k.symbol}/{k.kind}" not in acted),
            ignored=tuple(o.detail for k, o in seen.items() if k not in barred),
            memory=remembered(self._memory, rulings, seen, last.uncompared),
        )
        left = (*report.asked, *report.left)
        page = reconciliation_page(last, report.mended, left, workflow.info().namespace)
        workflow.set_current_details(page)
        return report

    @workflow.signal(dynamic=True)
    def unknown(self, name: str, args: Sequence[RawValue]) -> None:
        del args
        workflow.set_current_details(refused(name, "this workflow takes no signals"))

    async def _compare(self) -> Comparison:
        return await workflow.execute_activity_method(
            ReconciliationPort.compare,
            self._account,
            start_to_close_timeout=COMPARED_WITHIN,
            heartbeat_timeout=NOTHING_FOR,
            retry_policy=RetryPolicy(maximum_interval=timedelta(seconds=10)),
            priority=READS_LATER,
        )

    def _standing(self, seen: Comparison) -> dict[Key, CaseOpening]:
        """Return what neither the settings nor a person lets be."""
        return standing(self._seen(seen), seen.policies, cases_by_key(seen.cases))

    def _seen(self, seen: Comparison) -> dict[Key, CaseOpening]:
        return openings(self._account, seen.discrepancies, seen.at)

    async def _rule(
        self, last: Comparison, found: Mapping[Key, CaseOpening]
    ) -> list[tuple[Ruling, list[str]]]:
        """Do what is to be done about what both passes saw; return it, and what came of it."""
        cases, done = cases_by_key(last.cases), []
        for key in standing(found, last.policies, cases):
            made = ruling(
                found[key], last.policies, cases.get(key), self._memory, halted=last.halted
            )
            lines = await self._follow(made, cases.get(key))
            done.append((made, lines))
        return done

    async def _follow(self, made: Ruling, case: Case | None) -> list[str]:
        match made.policy:
            case Policy.ASK:
                asked = f"{made.opening.detail}: a person decides in {case_id(made.opening)}"
                if case is None:
                    await open_case(made.opening)
                    self._note(made.opening, f"a person is asked: {case_id(made.opening)}")
                return [asked, *(await self._mend(made, Choice.FIX) if made.keeps_fixing else ())]
            case Policy.TRIP:
                return [await self._trip(made)]
            case _:
                return await self._mend(made, Choice(made.policy.value))

    async def _mend(self, made: Ruling, choice: Choice) -> list[str]:
        lines = []
        for subject in made.opening.subjects:
            done = await remedy(choice, subject, by=WHO)
            if done.adopted is not None:
                self._adopted.append(done.adopted)
            self._journal.note(
                EventKind.DISCREPANCY,
                {"discrepancy": dump(subject), "remedy": done.told},
                trade_id=subject.trade_id,
                symbol=subject.symbol,
            )
            lines.append(f"{subject.detail}: {done.told}")
        await tell(self._notice(made, "\n".join(lines)))
        return lines

    def _notice(self, made: Ruling, text: str) -> Notice:
        opening = made.opening
        return Notice(
            key=f"reconciliation/{opening.account}/{made.name}",
            account=opening.account,
            priority=Priority.WARNING,
            title=f"{opening.kind.replace('_', ' ')} on {opening.symbol}: {made.policy}",
            text=text[:2000],
            workflow_id=opening.workflow_id or workflow.info().workflow_id,
            at=workflow.now(),
        )

    async def _trip(self, made: Ruling) -> str:
        switch = workflow.get_external_workflow_handle(ids.kill_switch_workflow(self._account))
        reason = f"{made.opening.kind}: {made.opening.detail}"[:500]
        try:
            await switch.signal("trip", TripWish(reason=reason, by=WHO))
        except ApplicationError as e:
            done = Remedy(told=f"the kill switch could not be tripped: {e}")
            await open_case(made.opening)
        else:
            done = Remedy(told="the kill switch was tripped")
        self._note(made.opening, done.told)
        return f"{made.opening.detail}: {done.told}"

    def _note(self, opening: CaseOpening, told: str) -> None:
        for subject in opening.subjects:
            self._journal.note(
                EventKind.DISCREPANCY,
                {"discrepancy": dump(subject), "remedy": told},
                trade_id=subject.trade_id,
                symbol=subject.symbol,
            )

    async def _tell_cases(
        self, last: Comparison, found: Mapping[Key, CaseOpening]
    ) -> tuple[Case, ...]:
        """Tell each case what it has to hear; return those that do not end by it."""
        seen = self._seen(last)
        cases = cases_by_key(last.cases)
        for heard in told(last.at, cases, found, seen, last.uncompared, last.unlooked, last.ended):
            opening = heard.case.opening
            handle = workflow.get_external_workflow_handle(case_id(opening))
            try:
                await handle.signal("compared", heard.sighting)
            except ApplicationError as e:
                # It has ended since it was asked
                workflow.logger.info("case_not_told", extra={"error": str(e)})
            if heard.sighting.opening is None and heard.case.not_seen(last.at).is_over:
                del cases[Key(opening.symbol, opening.kind)]
        return tuple(cases.values())

    async def _tell_desk(self, first: Comparison, last: Comparison, cases: Sequence[Case]) -> None:
        desk = workflow.get_external_workflow_handle(ids.account_workflow(self._account))
        reconciled = Reconciled(
            at=first.at,
            blocks=self._blocks(last, cases),
            unreserved=(*last.unreserved, *self._adopted),
            released=last.released,
        )
        try:
            await desk.signal("reconciled", reconciled)
        except ApplicationError as e:
            workflow.logger.warning("desk_not_told", extra={"error": str(e)})

    def _blocks(self, last: Comparison, cases: Sequence[Case]) -> tuple[Block, ...]:
        """Return which symbols may not be entered: by a difference, or by a case about one."""
        mended = {plan.symbol for plan in self._adopted}
        bars = barring(self._seen(last), last.policies, cases_by_key(last.cases))
        blocks = [
            Block(symbol=d.symbol, reason=f"{d.kind}: {d.detail}")
            for opening in bars.values()
            for d in opening.subjects
            if d.symbol and d.symbol not in mended
        ]
        differing = {block.symbol for block in blocks}
        blocks += [
            Block(symbol=case.opening.symbol, reason=f"{case_id(case.opening)} is {case.state}")
            for case in cases
            if case.blocks and case.opening.symbol and case.opening.symbol not in differing
        ]
        return tuple(blocks)


def _last_memory() -> Memory:
    """Return what the schedule's last run has left; a run that failed leaves what it was given."""
    if not workflow.has_last_completion_result():
        return Memory()
    last = workflow.get_last_completion_result(ReconciliationReport)
    return last.memory if last else Memory()
