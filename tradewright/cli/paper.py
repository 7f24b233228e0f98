"""`paper`: the exchange that is ours."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from tradewright.cli import garbage
from tradewright.cli.option import (
    SPEED,
    SYMBOL,
    VOLUME_UNIT,
    FromOption,
    ToOption,
    VolumeUnit,
)

if TYPE_CHECKING:
    from pydantic import ValidationError

    from tradewright.paper import PaperExchange

_OPTIONS = {"start": "--from", "data_from": "--from", "data_to": "--to"}


def register(app: typer.Typer) -> None:
    app.command()(paper)


def paper(
    port: Annotated[
        int | None,
        typer.Option("--port", min=0, max=65535, help="8900; 0 takes a free one."),
    ] = None,
    market: Annotated[
        str | None,
        typer.Option(
            "--market",
            metavar="generator|live|FILE",
            help="Made up (the default); relayed from Bybit; or a file: candles (CSV), a recorded "
            "order book (JSONL), or a script (YAML).",
        ),
    ] = None,
    speed: Annotated[str | None, SPEED] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Of the generated market; 1.")] = None,
    steps: Annotated[
        int | None,
        typer.Option("--steps", min=1, help="Generated candles until the market ends."),
    ] = None,
    state: Annotated[
        Path | None, typer.Option("--state", help="SQLite file; without one, all is forgotten.")
    ] = None,
    fault_file: Annotated[
        Path | None,
        typer.Option("--faults", metavar="FILE", help="What goes wrong: a scenario in YAML."),
    ] = None,
    rate_limits: Annotated[
        Literal["bybit", "off"] | None,
        typer.Option(
            "--rate-limits",
            help="Bybit's limits per key and address, or none; else Bybit's at speed 1 only.",
        ),
    ] = None,
    symbol: Annotated[str | None, SYMBOL] = None,
    volume_unit: Annotated[VolumeUnit | None, VOLUME_UNIT] = None,
    begin: FromOption = None,
    end: ToOption = None,
) -> None:
    """Run the paper exchange: Bybit v5 over REST and WebSocket on one port.

    The key is taken from TRADEWRIGHT_PAPER_API_KEY and TRADEWRIGHT_PAPER_API_SECRET, else it is
    made up and printed once. What no option says, a variable TRADEWRIGHT_PAPER_… may.
    """
    from pydantic import ValidationError
    from pydantic_settings import SettingsError

    from tradewright import telemetry
    from tradewright.paper import PaperSettings, serve

    _must_be_file(fault_file, "--faults")
    is_file = market not in (None, "generator", "live")
    if is_file and not Path(market or "").is_file():
        detail = f"{market!r} is neither generator nor live, nor a file"
        raise typer.BadParameter(detail, param_hint="--market")
    options: dict[str, Any] = {
        "port": port,
        "market": Path(market or "") if is_file else market,
        "speed": speed,
        "seed": seed,
        "steps": steps,
        "state": state,
        "faults": fault_file,
        "rate_limits": rate_limits,
        "symbol": symbol,
        "volume_unit": volume_unit and volume_unit.value,
        # Each market reads its own
        "start": begin,
        "data_from": begin,
        "data_to": end,
    }
    try:
        settings = PaperSettings(**{k: v for k, v in options.items() if v is not None})
    except ValidationError as e:
        raise _wrong(e, options) from None
    except SettingsError as e:
        # Of those that hold several values
        raise typer.BadParameter(f'{e}; write JSON, such as ["BTCUSDT"]') from None

    telemetry.configure("paper")

    def tell(exchange: "PaperExchange") -> None:
        if exchange.made_up_key is not None:
            typer.echo(f"api key     {exchange.made_up_key.key}")
            typer.echo(f"api secret  {exchange.made_up_key.secret}")
        typer.echo(f"window      {exchange.http_url}/")
        typer.echo(f"listening on {exchange.http_url}")

    garbage.as_usual()
    raise typer.Exit(serve(settings, tell))


def _wrong(error: "ValidationError", options: Mapping[str, Any]) -> typer.BadParameter:
    """Return what is wrong with the first wrong setting, by the name that it was given by."""
    faults = error.errors(include_url=False)
    name = str(faults[0]["loc"][0])
    # Each way to write it that was tried
    tried = [fault["msg"] for fault in faults if fault["loc"][0] == name]
    told = (text.removeprefix("Value error, ") for text in tried)
    hint = _OPTIONS.get(name, f"--{name.replace('_', '-')}")
    if options.get(name) is None:
        hint = f"TRADEWRIGHT_PAPER_{name.upper()}"
    detail = ", or ".join(text[:1].lower() + text[1:] for text in told)
    return typer.BadParameter(detail, param_hint=hint)


def _must_be_file(path: Path | None, option: str) -> None:
    if path is not None and not path.is_file():
        raise typer.BadParameter(f"there is no file {path}", param_hint=option)
