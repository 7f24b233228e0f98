"""What a strategy wishes: a side, and the numbers that it saw."""

from decimal import Decimal

from pydantic import Field

from tradewright.domain.market import Side, Value


class ExitSignal(Value):
    """A plugin's wish to leave what it holds on one side."""

    side: Side = Field(description="Of the trade that is to be left.")
    reason: str = Field(default="", max_length=200)


class Signal(Value):
    """A plugin's wish to trade; the account decides whether and how much.

    The stop, the targets and the size are not the plugin's: the preset declares them, from
    the factors that the signal carries.
    """

    side: Side
    reason: str = Field(max_length=200)
    confidence: Decimal = Field(default=Decimal(1), gt=0, le=1)
    factors: dict[str, float] = Field(
        default_factory=dict, description="Named numbers at the closed candle, indicators first."
    )
