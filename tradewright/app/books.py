"""What a reconciliation came to, sorted by what is left for a person."""

from tradewright.domain.market import Value
from workflows.reconciliation import ReconciliationReport


class Books(Value):
    """The differences that a run found, each once."""

    found: int
    mended: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    """With those that a person has still to decide."""
    ignored: tuple[str, ...] = ()
    """The settings or a person have said that exactly this may be."""


def books(report: ReconciliationReport) -> Books:
    return Books(
        found=report.found,
        mended=report.mended,
        left=(*report.asked, *report.left),
        ignored=report.ignored,
    )
