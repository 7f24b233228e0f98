"""What strategies may ask of the market, and what both say of it."""

from abc import ABC, abstractmethod
from decimal import Decimal

from pydantic import AwareDatetime, Field
from temporalio import activity

from tradewright.domain.account import LeaveWish
from tradewright.domain.market import Price, Symbol, Timeframe, Value
from tradewright.domain.plan import ExitRules, Proposal, Target, TradePlan
from tradewright.domain.shadow import FundingRate
from tradewright.ports.strategy import BookTrigger, Refusal, Universe, UniverseWish


class Evaluation(Value):
    """The candles of one preset that closed at one time, to be decided on."""

    account: str
    preset: str
    preset_hash: str
    symbols: tuple[Symbol, ...]
    close_time: AwareDatetime = Field(description="Market clock.")
    exits_only: bool = Field(
        default=False, description="The preset is paused: nothing is entered, what is held is left."
    )
    resting: tuple[Symbol, ...] = Field(
        default=(), description="Not looked at for what it fails on; what is held there is left."
    )
    earlier: tuple[str, ...] = Field(
        default=(), description="Versions before this one, whose trades they still manage."
    )
    book: BookTrigger | None = Field(
        default=None, description="The order book called for it; `close_time` is its time."
    )
    shadows: tuple[str, ...] = Field(
        default=(), description="Workflow ids of the preset's virtual trades; query `trade`."
    )


class Watch(Value):
    """What one preset wants to be told of."""

    preset: str
    symbols: tuple[Symbol, ...]
    timeframe: Timeframe
    preset_hash: str = ""
    book_depth: int | None = Field(default=None, description="Unset, no order book triggers it.")


class Watchlist(Value):
    account: str
    watches: tuple[Watch, ...] = ()
    shadows: tuple[TradePlan, ...] = Field(default=(), description="Virtual trades that run.")


class CandlesDone(Value):
    """A preset has dealt with the candles that closed at this time."""

    preset: str
    close_time: AwareDatetime


class Proposals(Value):
    """What a preset wishes after a candle; `note` says why it wishes nothing when that matters."""

    proposals: tuple[Proposal, ...] = ()
    exits: tuple[LeaveWish, ...] = ()
    note: str = ""
    fault: str = Field(default="", description="What only a person can mend.")
    refusals: tuple[Refusal, ...] = ()


class MarketView(Value):
    """The market and the preset's indicators around one moment of a trade."""

    price: Decimal
    factors: dict[str, float] = Field(default_factory=dict)
    market: dict[str, str] = Field(default_factory=dict)
    at: AwareDatetime | None = Field(default=None, description="Market clock.")


class ExitsWish(Value):
    """What exits would a trade have, had the version of its preset opened it that runs now?"""

    plan: TradePlan
    expected_hash: str = Field(default="", description="Refuse if another version runs.")


class ExitTerms(Value):
    """Exits by a version of a preset, reckoned from a trade's own entry; or why there are none."""

    preset_hash: str = ""
    exits: ExitRules | None = None
    targets: tuple[Target, ...] = ()
    take_profit: Price | None = None
    fault: str = Field(default="", description="Why the trade cannot be moved; unset, it can.")


class FundingWish(Value):
    """What was paid for holding a symbol; both ends are of the market clock, and included."""

    symbol: Symbol
    since: AwareDatetime
    until: AwareDatetime


class Fundings(Value):
    rates: tuple[FundingRate, ...] = Field(default=(), description="Oldest first.")


class MarketPort(ABC):
    @activity.defn
    @abstractmethod
    async def evaluate(self, evaluation: Evaluation) -> Proposals:
        """Fetch the candles, ask the plugin, and price its signal by the preset's rules."""

    @activity.defn
    @abstractmethod
    async def observe(self, plan: TradePlan) -> MarketView:
        """Return price and indicators as they stand now, for the trade's record."""

    @activity.defn
    @abstractmethod
    async def reckon_exits(self, wish: ExitsWish) -> ExitTerms:
        """Return a trade's exits by the version of its preset that runs now."""

    @activity.defn
    @abstractmethod
    async def read_fundings(self, wish: FundingWish) -> Fundings:
        """Return the rates of funding that were due, by the public history."""

    @activity.defn
    @abstractmethod
    async def universe(self, wish: UniverseWish) -> Universe:
        """Choose the symbols of a preset anew, and keep those with open trades of it."""

    @activity.defn
    @abstractmethod
    async def done(self, candles: CandlesDone) -> None:
        """Tell a market in lockstep that the candle was dealt with; a no-op elsewhere."""

    @activity.defn
    @abstractmethod
    async def consume_market(self, watchlist: Watchlist) -> None:
        """Follow the public streams until cancelled, signalling strategies and trades."""
