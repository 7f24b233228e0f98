"""What a trade's workflow is started with and told by people."""

from pydantic import Field

from tradewright.domain.event import JournalEvent
from tradewright.domain.market import Price, Value
from tradewright.domain.plan import TradePlan
from tradewright.domain.trade import Adopted, Command, Kept, Trade, TradeEvent
from tradewright.ports import Choice


class TradeCarried(Value):
    trade: Trade
    inbox: tuple[TradeEvent, ...]
    noted: int
    faults: dict[str, str] = Field(default_factory=dict)
    choices: tuple[Choice, ...] = ()
    in_doubt: bool = False
    unwritten: tuple[JournalEvent, ...] = ()
    commands: tuple[Command, ...] = ()


class TradeStart(Value):
    """Input of `TradeWorkflow`; `carried` is what an earlier run of it hands over."""

    plan: TradePlan
    adopted: Adopted | None = None
    carried: TradeCarried | None = None


class ExitWish(Value):
    """Signal and update `exit`: leave the market."""

    note: str = ""
    by: str = Field(default="operator")


class StopWish(Value):
    """Update `move_stop`: the stop is to stand here."""

    price: Price
    by: str = "operator"


class MigrateWish(Value):
    """Update `migrate`: have the exits of the version of its preset that runs now."""

    by: str = Field(min_length=1)
    reason: str = Field(min_length=1)
    expected_hash: str = Field(default="", description="Refuse if another version runs.")
    keep: tuple[Kept, ...] = Field(default=(), description="What stays as it was opened with.")


class ResolveWish(Value):
    """Signal and update `resolve`: how a trade that cannot go on by itself goes on."""

    choice: Choice
    by: str = Field(min_length=1)
    reason: str = ""
