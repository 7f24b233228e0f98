"""What a reconciliation came to, sorted by what is left for a person."""

from collections.abc import Iterable
from typing import Final

from temporalio.client import Client

from tradewright.app.case import CaseLine, open_cases
from tradewright.domain.case import CaseState
from tradewright.domain.market import Value
from workflows.reconciliation import ReconciliationReport

ASKED: Final = ": a person decides in case/"
"""How a run tells that it has mended nothing but asks."""


class Books(Value):
    """The differences that a run found, each once."""

    found: int
    mended: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    """With those that a person has still to decide."""
    ignored: tuple[str, ...] = ()
    """A person has said that exactly this may be."""


def books(report: ReconciliationReport, cases: Iterable[CaseLine]) -> Books:
    accepted = {case.detail for case in cases if case.state is CaseState.IGNORED}
    asked = tuple(line for line in report.mended if ASKED in line)
    return Books(
        found=report.found,
        mended=tuple(line for line in report.mended if line not in asked),
        left=(*asked, *(line for line in report.left if line not in accepted)),
        ignored=tuple(line for line in report.left if line in accepted),
    )


async def read_books(client: Client, account: str, report: ReconciliationReport) -> Books:
    """Return *report* read beside the cases; those only matter where something was left."""
    return books(report, await open_cases(client, account) if report.left else ())
