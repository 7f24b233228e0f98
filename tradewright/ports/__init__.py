"""What a workflow may ask of the world; `activities/` answers.

Each port is an abstract class of activities. A workflow names the abstract method, the worker
registers an implementation, Temporal joins the two by the method's name.
"""

from abc import ABC
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from tradewright.ports.account import AccountPort, Reconciled, Rehearsal, SnapshotWish
from tradewright.ports.exchange_control import (
    BreakerLine,
    BucketLine,
    ExchangeControlPort,
    ExchangeStatus,
    ResetWish,
)
from tradewright.ports.journal import JournalBatch, JournalPort
from tradewright.ports.kill import Exposure, GateWish, KillPort, KillSwitchState, TripOrder
from tradewright.ports.market import (
    CandlesDone,
    Evaluation,
    ExitsWish,
    ExitTerms,
    Fundings,
    FundingWish,
    MarketPort,
    MarketView,
    Proposals,
    Watch,
    Watchlist,
)
from tradewright.ports.notify import Notices, NotifyPort, OpenNotice, SentNotice
from tradewright.ports.presets import (
    FileFault,
    FolderMemory,
    FolderNews,
    Folders,
    PresetsPort,
)
from tradewright.ports.reconciliation import Adoption, Comparison, ReconciliationPort
from tradewright.ports.strategy import (
    Applied,
    ApplyWish,
    BookTrigger,
    CandleClosed,
    ClosedCandle,
    ModeWish,
    PauseWish,
    Refusal,
    ShadowCandles,
    ShadowExit,
    StrategyStatus,
    Universe,
    UniverseWish,
)
from tradewright.ports.stream import StreamPort
from tradewright.ports.trade import Choice, ExchangePort, TradeEvents, TradeOrder, TradeView

__all__ = [
    "ACTIVITY_TIMEOUT",
    "AccountPort",
    "Adoption",
    "Applied",
    "ApplyWish",
    "BookTrigger",
    "BreakerLine",
    "BucketLine",
    "CandleClosed",
    "CandlesDone",
    "Choice",
    "ClosedCandle",
    "Comparison",
    "Evaluation",
    "ExchangeControlPort",
    "ExchangePort",
    "ExchangeStatus",
    "ExitTerms",
    "ExitsWish",
    "Exposure",
    "FileFault",
    "FolderMemory",
    "FolderNews",
    "Folders",
    "FundingWish",
    "Fundings",
    "GateWish",
    "JournalBatch",
    "JournalPort",
    "KillPort",
    "KillSwitchState",
    "MarketPort",
    "MarketView",
    "ModeWish",
    "Notices",
    "NotifyPort",
    "OpenNotice",
    "PauseWish",
    "PresetsPort",
    "Proposals",
    "Reconciled",
    "ReconciliationPort",
    "Refusal",
    "Rehearsal",
    "ResetWish",
    "SentNotice",
    "ShadowCandles",
    "ShadowExit",
    "SnapshotWish",
    "StrategyStatus",
    "StreamPort",
    "TradeEvents",
    "TradeOrder",
    "TradeView",
    "TripOrder",
    "Universe",
    "UniverseWish",
    "Watch",
    "Watchlist",
    "activities_of",
]

ACTIVITY_TIMEOUT = timedelta(seconds=30)
"""Start-to-close of an ordinary activity: above every HTTP time-out within it."""


def activities_of(*adapters: ABC) -> list[Callable[..., Any]]:
    """Return what *adapters* implement of the ports, ready for ``Worker(activities=)``."""
    return [
        getattr(adapter, name)
        for adapter in adapters
        for port in type(adapter).__mro__
        for name in sorted(getattr(port, "__abstractmethods__", ()))
    ]
