"""What speaks for and against an entry, beside what the strategy says."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from activities import parse
from activities.lookout import Sight
from activities.ticker import quoted
from tradewright.book import Book
from tradewright.domain.account import RefusalCode
from tradewright.domain.plan import MarketEntry, Proposal
from tradewright.domain.protection import OnBad, session_fault, slippage_fault, spread_fault
from tradewright.ports import Refusal
from tradewright.preset import LoadedPreset
from tradewright.quality import Flaw, outlier_flaws

CANDLE_GRACE: Final = timedelta(seconds=5)
"""Wall time that any candle is given: it may be listed, and told of, seconds after its close."""
SHOWN: Final = 5
"""Symbols whose remarks are in a note; of all others the refusals tell."""


def patience(loaded: LoadedPreset, speed: float) -> timedelta:
    """Return how old a candle may be, in market time, and still be entered at market.

    What the preset lets an entry take from its decision on is also what may pass between
    the candle and the decision: the price that was decided on is the candle's close. Beyond
    it the market has moved on, however long the timeframe. A market that runs faster than
    the wall clock is given as much of wall time.
    """
    allowed = max(loaded.preset.entry.expires_after, CANDLE_GRACE)
    return min(allowed, loaded.preset.data.max_age) * speed


def doubts(
    loaded: LoadedPreset, sight: Sight, price: Decimal | None, row: parse.Row | None
) -> Sequence[Flaw]:
    """Return whether what is to be paid is far from mark and index."""
    if sight.is_short or price is None:
        return ()
    mark, index = quoted(row, "markPrice"), quoted(row, "indexPrice")
    return outlier_flaws(
        float(price),
        None if mark is None else float(mark),
        None if index is None else float(index),
        float(loaded.preset.data.outlier_fraction),
    )


def barred(
    loaded: LoadedPreset,
    proposal: Proposal,
    row: parse.Row | None,
    at: datetime,
    book: Book | None,
) -> tuple[Refusal, ...]:
    """Return why the preset's own protections bar an entry now."""
    terms = loaded.preset.protections
    bid, ask = (
        (book.bid, book.ask) if book else (quoted(row, "bid1Price"), quoted(row, "ask1Price"))
    )
    is_market = isinstance(proposal.entry, MarketEntry)
    found = (
        (
            RefusalCode.OUTSIDE_SESSION,
            session_fault([session.domain() for session in terms.sessions], at),
        ),
        (RefusalCode.SPREAD_TOO_WIDE, spread_fault(terms.max_spread_bp, bid, ask)),
        (
            RefusalCode.SLIPPAGE_TOO_LARGE,
            slippage_fault(terms.max_slippage_bp, proposal.signal.side, proposal.price, bid, ask)
            if is_market
            else "",
        ),
    )
    return tuple(
        Refusal(symbol=proposal.symbol, code=code, reason=reason, proposal=proposal)
        for code, reason in found
        if reason
    )[:1]


def refusals(
    symbol: str, flaws: Iterable[Flaw], on_bad: OnBad, pause: timedelta
) -> tuple[Refusal, ...]:
    """Return one refusal for each code; a market that is only young is no failure."""
    by_code: dict[RefusalCode, Flaw] = {}
    for flaw in flaws:
        by_code.setdefault(flaw.code, flaw)
    if RefusalCode.WARMING_UP in by_code:
        return (refusal(symbol, *by_code[RefusalCode.WARMING_UP]),)
    rest = pause if on_bad is OnBad.PAUSE else None
    return tuple(
        refusal(symbol, flaw.code, flaw.detail, fault=True, rest=rest) for flaw in by_code.values()
    )


def refusal(
    symbol: str,
    code: RefusalCode,
    reason: str,
    *,
    fault: bool = False,
    rest: timedelta | None = None,
) -> Refusal:
    return Refusal(symbol=symbol, code=code, reason=reason[:300], fault=fault, rest=rest)


def note(notes: Sequence[str]) -> str:
    more = len(notes) - SHOWN
    return "; ".join(notes[:SHOWN]) + (f"; and {more} more" if more > 0 else "")
