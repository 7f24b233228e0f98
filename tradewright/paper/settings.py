"""Settings of the paper exchange; also from the environment, as ``TRADEWRIGHT_PAPER_*``."""

from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from tradewright.domain.market import Symbol


class PaperSettings(BaseSettings):
    """What the paper exchange trades, with whom, and how fast its market goes."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", env_prefix="TRADEWRIGHT_PAPER_", env_ignore_empty=True
    )

    host: str = "127.0.0.1"
    port: int = Field(default=8900, ge=0, le=65535, description="0 takes a free one.")
    api_key: str = ""
    api_secret: SecretStr = SecretStr("")
    state: Path | None = Field(default=None, description="SQLite file; None forgets at exit.")
    cash: Decimal = Field(
        default=Decimal(100_000),
        gt=0,
        le=10**15,
        decimal_places=8,
        description="USDT at the start.",
    )
    leverage: Decimal = Field(default=Decimal(10), ge=1, description="Of every symbol, at first.")
    speed: Annotated[float, Field(gt=0, allow_inf_nan=False)] | Literal["lockstep"] = Field(
        default=1.0, description="Market seconds per second, or steps between barriers."
    )
    spread_ticks: int = Field(default=1, ge=0)
    depth: Decimal | None = Field(
        default=None,
        gt=0,
        description="USDT per price level where the market has no book of its own; None: without "
        "limit, in a generated market as the symbol is traded.",
    )
    lean: Decimal = Field(
        default=Decimal(0),
        ge=0,
        le=Decimal("0.9"),
        description="By how much of its size one side of a book may outweigh the other, as the "
        "price goes, where the market has no book of its own.",
    )
    funding_rate: Decimal = Field(
        default=Decimal(0), description="Per interval, where the market has none of its own."
    )
    ack_delay_ms: int = Field(
        default=30, ge=0, description="pybit loses subscriptions that are answered at once."
    )
    rate_limits: (
        Literal["bybit", "vip1", "vip2", "vip3", "off"]
        | Annotated[float, Field(gt=0, allow_inf_nan=False)]
        | None
    ) = Field(
        default=None,
        description="A number scales Bybit's; None: Bybit's where the market goes at its own "
        "pace, else off, for limits count wall seconds.",
    )
    ip_ban_s: float = Field(default=600, ge=0, description="After 600 requests in 5 s.")
    read_lag_ms: int = Field(default=0, ge=0, description="How late reads of orders are.")
    check_ledger: bool = Field(default=False, description="After every change; for tests.")
    stream_backlog: int = Field(
        default=8 * 2**20, ge=2**16, description="Unread bytes after which a stream is cut."
    )

    market: Literal["generator", "live"] | Path = Field(
        default="generator",
        description="Made up, relayed from Bybit, or a file: recorded candles (CSV), recorded "
        "order book and trades (JSONL), or a script (YAML).",
    )
    faults: Path | None = Field(default=None, description="What goes wrong: a scenario in YAML.")

    seed: int = Field(default=1, description="Of the generated market and of all ids.")
    symbols: tuple[str, ...] = Field(
        default=(), description="Of a generated or relayed market; none means all."
    )
    start: AwareDatetime | None = Field(
        default=None, description="First generated candle; now, or 2025-01-01 in lockstep."
    )
    steps: int | None = Field(default=None, ge=1, description="Generated candles until the end.")
    history: int | None = Field(
        default=None,
        ge=1,
        description="Minutes of candles before the start: 60 days of a generated market, which "
        "makes them when they are asked for, 1500 of others.",
    )

    symbol: Symbol = Field(default="BTCUSDT", description="Whose candles the file holds.")
    volume_unit: Literal["base", "quote"] = "base"
    data_from: AwareDatetime | None = Field(default=None, description="Earlier ones are history.")
    data_to: AwareDatetime | None = Field(default=None, description="Exclusive.")

    live_stream: str = Field(
        default="wss://stream.bybit.com/v5/public/linear", description="What `live` relays."
    )
    live_rest: str = Field(default="https://api.bybit.com", description="Where `live` begins.")

    @field_validator("market")
    @classmethod
    def _goes_at_its_own_pace(cls, market: Path | str, info: ValidationInfo) -> Path | str:
        speed = info.data.get("speed", 1)
        if market == "live" and speed != 1:
            shown = speed if speed == "lockstep" else f"{speed:g}"
            raise ValueError(f"a relayed market goes at speed 1, not at {shown}")
        return market

    @property
    def is_lockstep(self) -> bool:
        return self.speed == "lockstep"

    @property
    def rate_scale(self) -> Literal["bybit", "vip1", "vip2", "vip3", "off"] | float:
        if self.rate_limits is not None:
            return self.rate_limits
        return "bybit" if self.speed == 1 else "off"
