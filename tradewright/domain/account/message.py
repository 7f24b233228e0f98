"""What trades, streams and strategies tell the desk."""

from datetime import timedelta
from decimal import Decimal
from typing import Literal

from pydantic import AwareDatetime, Field

from tradewright.domain.breaker import BrokenSymbol
from tradewright.domain.market import Side, Symbol, Value


class Released(Value):
    """A trade has ended and gives its risk back."""

    trade_id: str
    at: AwareDatetime = Field(description="Market clock.")
    pnl: Decimal = Decimal(0)
    cooldown: timedelta = timedelta(0)


class Unresolved(Value):
    """The outcome of a trade's order is unknown beyond its budget; or, when over, known again."""

    trade_id: str
    symbol: Symbol
    order_link_id: str
    since: AwareDatetime = Field(description="Wall clock.")
    over: bool = False


class Channel(Value):
    """What a stream of the exchange is worth from now on."""

    name: Literal["private", "public", "books"]
    fault: str = Field(default="", description="Why it cannot be relied on; empty when it can.")
    since: AwareDatetime = Field(description="Wall clock.")


class Resting(Value):
    """A preset that trades rests on these symbols, for it fails on them."""

    preset: str
    symbols: tuple[BrokenSymbol, ...] = Field(description="All of them; none: it works again.")
    at: AwareDatetime = Field(description="Market clock.")


class Renaming(Value):
    """A preset is called otherwise from now on; what it has come to stays its own."""

    preset: str
    formerly: str


class LeaveWish(Value):
    """A strategy wants the trade left that it holds on a symbol."""

    preset: str
    symbol: Symbol
    side: Side | None = Field(default=None, description="Only a trade on this side; unset: any.")
    preset_hash: str = Field(
        default="", description="Only a trade that this version opened; unset: any."
    )
    reason: str = ""


class Filled(Value):
    """A trade's order was filled: the account looks different now."""

    symbol: str = ""
