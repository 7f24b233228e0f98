"""What a strategy's workflow is started with, and what one run of it hands to the next."""

from tradewright.domain.account import Account
from tradewright.domain.event import JournalEvent
from tradewright.domain.market import Value
from tradewright.ports import Applied, BookTrigger, CandleClosed, StrategyStatus


class StrategyCarried(Value):
    status: StrategyStatus
    inbox: tuple[CandleClosed, ...]
    noted: int
    unwritten: tuple[JournalEvent, ...] = ()
    books: tuple[BookTrigger, ...] = ()
    shadow_desk: Account | None = None


class StrategyStart(Value):
    """Input of `StrategyWorkflow`; `carried` is what an earlier run of it hands over."""

    applied: Applied
    carried: StrategyCarried | None = None
