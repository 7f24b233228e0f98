"""Cases as an operator sees them: which wait, what each is about, and the answer to one."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final

from pydantic import AwareDatetime
from temporalio.client import Client, RPCError

from tradewright import ids
from tradewright.app.wish import NotRunning, TemporalFailed, ask, tell
from tradewright.domain.case import Case, CaseState, Choice, Decision
from tradewright.domain.errors import TradewrightError
from tradewright.domain.market import Value

AT_ONCE: Final = 20


class CaseLine(Value):
    """One case, in one line."""

    workflow_id: str
    symbol: str
    kind: str
    state: CaseState
    detail: str
    since: AwareDatetime
    choices: tuple[Choice, ...]
    escalations: int
    decision: Decision | None = None
    remedy: str = ""


class CaseUnknown(TradewrightError):
    """No case that runs is called so."""

    def __init__(self, reference: str) -> None:
        super().__init__(f"case {reference!r} is not known; see `tradewright case list`")
        self.reference = reference


class CaseAmbiguous(TradewrightError):
    def __init__(self, reference: str, found: tuple[str, ...]) -> None:
        super().__init__(
            f"case {reference!r} may be any of {', '.join(found)}; write more of its name"
        )
        self.reference = reference


async def open_cases(client: Client, account: str) -> list[CaseLine]:
    """Return the cases that run, those that wait for a person first, then oldest first."""
    turn = asyncio.Semaphore(AT_ONCE)

    async def line(workflow_id: str) -> CaseLine | None:
        async with turn:
            try:
                case = await ask(client, workflow_id, "case", Case)
            except NotRunning:
                # It has ended since it was listed
                return None
        return None if case.is_over else line_of_case(case, workflow_id)

    names = [name async for name in _running(client, account)]
    found = await asyncio.gather(*map(line, names))
    lines = [line for line in found if line is not None]
    return sorted(lines, key=lambda line: (line.state is not CaseState.OPEN, line.since))


def line_of_case(case: Case, workflow_id: str) -> CaseLine:
    opening = case.opening
    return CaseLine(
        workflow_id=workflow_id,
        symbol=opening.symbol,
        kind=opening.kind,
        state=case.state,
        detail=opening.detail,
        since=case.since,
        choices=opening.choices,
        escalations=case.escalations,
        decision=case.decision,
        remedy=case.remedy,
    )


async def find_case(client: Client, account: str, reference: str) -> str:
    """Return the workflow id of the case that *reference* names: its id, or a part of it.

    Raises:
        CaseUnknown: None that runs is called so.
        CaseAmbiguous: Several are.
    """
    if reference.startswith("case/"):
        return reference
    own = ids.case_workflow(account, "", "").rstrip("/") + "/"
    found = [name async for name in _running(client, account)]
    exact = [name for name in found if name.removeprefix(own) == reference]
    near = exact or [name for name in found if reference in name.removeprefix(own)]
    if not near:
        raise CaseUnknown(reference)
    if len(near) > 1:
        raise CaseAmbiguous(reference, tuple(sorted(near)))
    return near[0]


async def read_case(client: Client, workflow_id: str) -> Case:
    """Return the case as it stands, or stood when it ended.

    Raises:
        CaseUnknown: There is none.
        NoWorkerAnswers: It did not answer in time.
    """
    try:
        return await ask(client, workflow_id, "case", Case)
    except NotRunning:
        raise CaseUnknown(workflow_id) from None


async def decide(client: Client, workflow_id: str, decision: Decision) -> Case:
    """Tell the case what was decided; what comes of it, it shows itself.

    Raises:
        CaseUnknown: It has ended, or never was.
        WishRefused: It is no choice of this case.
        NoWorkerAnswers: Nothing was sent, or it is not known what became of it.
    """
    try:
        return await tell(client, workflow_id, "decide", decision, Case, probe="case")
    except NotRunning:
        raise CaseUnknown(workflow_id) from None


async def _running(client: Client, account: str) -> AsyncIterator[str]:
    query = f"WorkflowType='CaseWorkflow' AND ExecutionStatus='Running' AND Account='{account}'"
    listed: Any = client.list_workflows(query)
    try:
        async for found in listed:
            yield found.id
    except RPCError as e:
        raise TemporalFailed("list of cases", e.message) from None
