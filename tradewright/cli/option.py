"""Options that commands share: time, speed, and what a file of candles holds."""

import math
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from tradewright.cli import completion


class VolumeUnit(StrEnum):
    BASE = "base"
    QUOTE = "quote"


def _moment(value: str) -> datetime:
    try:
        found = datetime.fromisoformat(value)
    except ValueError:
        detail = f"{value!r} is no time; write 2022-01-05T00:00:00Z"
        raise typer.BadParameter(detail) from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _speed(value: str) -> str:
    if value == "lockstep":
        return value
    try:
        speed = float(value)
    except ValueError:
        speed = math.nan
    if not 0 < speed < math.inf:
        raise typer.BadParameter(f"{value!r} is neither lockstep nor a number above 0, such as 60")
    return value


def a_symbol(value: str) -> str:
    from pydantic import TypeAdapter, ValidationError

    from tradewright.domain.market import Symbol

    try:
        return TypeAdapter[str](Symbol).validate_python(value)
    except ValidationError:
        detail = f"{value!r} is no symbol; write it as Bybit does, such as BTCUSDT"
        raise typer.BadParameter(detail) from None


def _a_preset_file(value: Path) -> Path:
    meant = Path("strategies", f"{value}.yaml")
    if not value.exists() and meant.exists():
        raise typer.BadParameter(f"there is no file {value}; did you mean {meant}?")
    return value


PresetArgument = Annotated[
    Path,
    typer.Argument(
        metavar="PRESET",
        help="Its file.",
        autocompletion=completion.preset_files,
        callback=_a_preset_file,
    ),
]
FromOption = Annotated[
    datetime | None,
    typer.Option(
        "--from",
        parser=_moment,
        metavar="TIME",
        help="First candle played, UTC, such as 2022-01-05T00:00; earlier ones are history.",
    ),
]
ToOption = Annotated[
    datetime | None,
    typer.Option(
        "--to", parser=_moment, metavar="TIME", help="End, exclusive; UTC, such as 2022-01-06."
    ),
]
SPEED = typer.Option(
    "--speed",
    parser=_speed,
    metavar="NUMBER|lockstep",
    help="Market seconds per second, such as 60; or lockstep: as fast as all can follow.",
)
SYMBOL = typer.Option(
    "--symbol", parser=a_symbol, metavar="SYMBOL", help="Whose candles the file holds."
)
VOLUME_UNIT = typer.Option(
    "--volume-unit", help="Of the file's volume: coins (base) or USDT (quote)."
)
SpeedOption = Annotated[str, SPEED]
SymbolOption = Annotated[str, SYMBOL]
VolumeOption = Annotated[VolumeUnit, VOLUME_UNIT]
