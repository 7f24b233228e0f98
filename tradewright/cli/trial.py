"""`try`: what a preset would have said on recorded candles."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tradewright.cli.invocation import Format, OutputOption, print_document, say
from tradewright.cli.option import PresetArgument, VolumeOption, VolumeUnit, a_symbol
from tradewright.cli.table import cell, console, price, print_title

if TYPE_CHECKING:
    from tradewright.app.authoring.candle_file import CandleFile
    from tradewright.app.authoring.trial import Said, Trial

NARROW = 100
"""Characters that factors take at most, whatever the terminal has room for."""


def register(app: typer.Typer) -> None:
    app.command("try")(try_)


def try_(
    preset: PresetArgument,
    candles: Annotated[
        list[str],
        typer.Option(
            "--candles",
            metavar="FILE",
            help="CSV, CSV.gz or Parquet: open_time, open, high, low, close, volume. "
            "SYMBOL=FILE for another symbol that the preset looks at.",
        ),
    ],
    symbol: Annotated[
        str | None,
        typer.Option(
            "--symbol",
            parser=a_symbol,
            metavar="SYMBOL",
            help="Whose candles the file holds; else the first of the preset.",
        ),
    ] = None,
    last: Annotated[
        int, typer.Option("--last", min=1, help="Ask it at no more than so many closes.")
    ] = 5_000,
    signals: Annotated[
        int, typer.Option("--signals", min=0, max=1_000, help="Show so many of the last.")
    ] = 5,
    volume_unit: VolumeOption = VolumeUnit.BASE,
    output: OutputOption = Format.TABLE,
) -> None:
    """Show the last signals of a preset on recorded candles, with every factor's value.

    It asks the strategy as the running system does, and nothing else: no orders, fees or fills.
    """
    from tradewright import preset as presets
    from tradewright.app.authoring.trial import trial

    loaded = presets.load(preset)
    own = symbol or next(iter(loaded.preset.market.symbols), "")
    if not own:
        detail = "the preset names no symbol; say whose candles the file holds"
        raise typer.BadParameter(detail, param_hint="--symbol")
    files = _files(candles, own, in_quote=volume_unit is VolumeUnit.QUOTE)
    traded = loaded.preset.market.symbols
    if traded and own not in traded:
        say(f"the preset trades {', '.join(traded)}, not {own}; it is asked as if it did")
    for file in files.values():
        if file.missing:
            candles_of = f"of {len(file.candles) + file.missing:,} candles of {file.minutes} min"
            say(f"{file.path}: {file.missing:,} {candles_of} are missing; the others are used")
    done = trial(loaded, own, files, candles=last, shown=signals)
    if output is Format.JSON:
        print_document("trial", trial=done.model_dump(mode="json"))
        return
    _show(done)


def _files(named: Iterable[str], own: str, *, in_quote: bool) -> dict[str, "CandleFile"]:
    from tradewright.app.authoring.candle_file import read

    found: dict[str, CandleFile] = {}
    for text in named:
        name, is_named, rest = text.partition("=")
        path = Path(rest) if is_named and not Path(text).exists() else Path(text)
        held = a_symbol(name) if path == Path(rest) and is_named else own
        if held in found:
            detail = f"two files for {held}; write SYMBOL=FILE for one that is another's"
            raise typer.BadParameter(detail, param_hint="--candles")
        found[held] = read(path, in_quote=in_quote)
    return found


def _show(done: "Trial") -> None:
    typer.echo(
        f"{done.preset} {done.preset_hash} on {done.symbol} {done.timeframe}: asked at "
        f"{done.asked:,} closes, {done.begin:%Y-%m-%d %H:%M} to {done.end:%Y-%m-%d %H:%M} UTC"
    )
    typer.echo(f"{done.longs:,} long and {done.shorts:,} short signals")
    if done.exit_longs or done.exit_shorts:
        left = f"a long at {done.exit_longs:,} closes, a short at {done.exit_shorts:,}"
        typer.echo(f"its exit rules would have left {left}, if one was open")
    if done.unknown:
        names = ", ".join(done.unknown)
        say(f"not in candles, and unknown to the strategy here: {names}")
    for said in done.signals:
        _show_said(said, done)
    if not done.signals or done.signals[-1].at != done.latest.at:
        _show_said(done.latest, done)


def _show_said(said: "Said", done: "Trial") -> None:
    side = "" if said.side is None else "long" if said.side.sign > 0 else "short"
    last = "the last close" if said.at == done.latest.at and not side else ""
    print_title(f"{said.at:%Y-%m-%d %H:%M}  {last or side}  {price(said.close)}")
    if side:
        parts = [
            f"stop {price(said.stop)}"
            if said.stop is not None
            else "no stop: its factor is unknown",
            *(f"target {price(target)}" for target in said.targets),
            f"confidence {said.confidence}",
        ]
        typer.echo(f"  {', '.join(parts)}")
        typer.echo(f"  {said.reason}")
    elif last:
        typer.echo("  no signal")
    for side_left in said.exits:
        typer.echo(f"  leaves {'longs' if side_left.sign > 0 else 'shorts'}")
    _show_factors(said.factors)


def _show_factors(factors: dict[str, float]) -> None:
    """Print *factors* in columns that a terminal has room for."""
    from rich.columns import Columns
    from rich.padding import Padding

    if factors:
        told = [cell(f"{name} {value:.8g}") for name, value in factors.items()]
        room = min(console().width, NARROW)
        each = max(len(text) for text in told) + 2
        columns = Columns(told, width=each, padding=(0, 0))
        console().print(Padding(columns, (0, 0, 0, 2)), width=max(room, each + 2))
