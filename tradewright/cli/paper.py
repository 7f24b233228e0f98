"""`paper`, `paper-key`, `paper-fault`, `paper-market`: the exchange that is ours."""

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import urlsplit

import typer

from tradewright.cli.exit import ExitCode
from tradewright.cli.invocation import (
    Format,
    OutputOption,
    invocation_of,
    print_document,
    say,
)
from tradewright.cli.option import (
    SPEED,
    SYMBOL,
    VOLUME_UNIT,
    FromOption,
    ToOption,
    VolumeUnit,
)
from tradewright.cli.table import print_table

if TYPE_CHECKING:
    from pydantic import ValidationError

    from tradewright.paper import PaperExchange

keys = typer.Typer(help="Accounts and API keys of a running paper exchange.")
faults = typer.Typer(help="Faults of a running paper exchange.")


def _root_url(url: str | None) -> str | None:
    """Let nothing through but http(s)://host[:port]: whatever else cannot be an exchange's."""
    if url is None:
        return None
    with suppress(ValueError):
        parts = urlsplit(url)
        is_root = (
            url.lower().rstrip("/") == f"{parts.scheme}://{parts.netloc.lower()}"
            and "@" not in parts.netloc
        )
        # To ask for the port is to check it
        if is_root and parts.scheme in ("http", "https") and parts.hostname and parts.port != 0:
            return url
    raise typer.BadParameter(f"{url!r} is no address; write http://host:port")


UrlOption = Annotated[
    str | None,
    typer.Option(
        "--url",
        metavar="URL",
        callback=_root_url,
        help="Of the exchange, http://host:port; else that of the settings.",
    ),
]


_OPTIONS = {"start": "--from", "data_from": "--from", "data_to": "--to"}


def register(app: typer.Typer) -> None:
    app.command()(paper)
    app.add_typer(keys, name="paper-key", no_args_is_help=True)
    app.add_typer(faults, name="paper-fault", no_args_is_help=True)
    app.command("paper-market")(market_acts)


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


@keys.command("new")
def new_key(
    ctx: typer.Context,
    account: Annotated[
        str, typer.Option("--account", help="Whose; a new one is opened with --cash.")
    ] = "main",
    cash: Annotated[
        str | None, typer.Option("--cash", metavar="USDT", help="Of a new account; 100000.")
    ] = None,
    read_only: Annotated[bool, typer.Option("--read-only", help="It may look, not act.")] = False,
    permission: Annotated[
        list[str] | None,
        typer.Option("--permission", help="Order, Position, AccountTransfer …; else all."),
    ] = None,
    ip: Annotated[list[str] | None, typer.Option("--ip", help="From where; else from all.")] = None,
    days: Annotated[
        int | None, typer.Option("--days", min=1, help="Until it expires; else never.")
    ] = None,
    url: UrlOption = None,
    output: OutputOption = Format.TABLE,
) -> None:
    """Make an API key, and an account for it if there is none of that name; shown once."""
    from tradewright.app.paper_control import control

    wish: dict[str, Any] = {"account": account, "read_only": read_only}
    wish |= {"cash": cash} if cash else {}
    wish |= {"permissions": permission} if permission else {}
    wish |= {"ips": ip} if ip else {}
    wish |= {"expires_days": days} if days else {}
    made = control(_url(ctx, url), "POST", "keys", body=wish)
    if output is Format.JSON:
        print_document("paper_key", key=made)
        return
    typer.echo(f"account     {made['account']}")
    typer.echo(f"api key     {made['key']}")
    typer.echo(f"api secret  {made['secret']}")
    say("the secret is shown this once")


@keys.command("list")
def list_keys(
    ctx: typer.Context, url: UrlOption = None, output: OutputOption = Format.TABLE
) -> None:
    """List accounts and keys, without secrets."""
    from tradewright.app.paper_control import control

    found = control(_url(ctx, url), "GET", "keys")["list"]
    if output is Format.JSON:
        print_document("paper_keys", keys=found)
        return
    print_table(
        ("key", "account", "rights", "from", "expires"),
        [
            (
                row["key"],
                row["account"],
                "read only" if row["read_only"] else ", ".join(row["permissions"]) or "all",
                ", ".join(row["ips"]) or "anywhere",
                row["expires"] or "never",
            )
            for row in found
        ],
    )


@keys.command("revoke")
def revoke_key(
    ctx: typer.Context,
    key: Annotated[str, typer.Argument(metavar="KEY")],
    url: UrlOption = None,
) -> None:
    """Take a key away; what it ordered stays."""
    from tradewright.app.paper_control import control

    control(_url(ctx, url), "DELETE", "keys", query={"key": key})
    say(f"key {key} is revoked")


@faults.command("add")
def add_fault(
    ctx: typer.Context,
    fault: Annotated[
        str,
        typer.Argument(
            metavar="FAULT", help="YAML, or a file of it; such as '{kind: http_error}'."
        ),
    ],
    url: UrlOption = None,
    output: OutputOption = Format.TABLE,
) -> None:
    """Put one fault or a whole scenario in force, until it is cleared."""
    from tradewright.app.paper_control import control

    is_file = len(fault) < os.pathconf("/", "PC_PATH_MAX") and Path(fault).is_file()
    if not is_file and _looks_like_file(fault):
        raise typer.BadParameter(f"there is no file {fault}", param_hint="FAULT")
    text = Path(fault).read_text() if is_file else fault
    query = {"source": fault} if is_file else {}
    put = control(_url(ctx, url), "POST", "faults", query=query, body=text)
    _show_faults(put, output)


@faults.command("list")
def list_faults(
    ctx: typer.Context, url: UrlOption = None, output: OutputOption = Format.TABLE
) -> None:
    """Show the faults in force, and how often they struck."""
    from tradewright.app.paper_control import control

    _show_faults(control(_url(ctx, url), "GET", "faults"), output)


@faults.command("clear")
def clear_faults(
    ctx: typer.Context,
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Else all.")] = None,
    url: UrlOption = None,
) -> None:
    """Let the exchange behave again."""
    from tradewright.app.paper_control import control

    control(_url(ctx, url), "DELETE", "faults", query={"name": name} if name else {})
    say(f"fault {name} is cleared" if name else "all faults are cleared")


def _looks_like_file(fault: str) -> bool:
    if "{" in fault or "\n" in fault:
        return False
    return fault.endswith((".yaml", ".yml", ".json")) or os.sep in fault


def market_acts(
    ctx: typer.Context,
    acts: Annotated[
        list[str],
        typer.Argument(metavar="ACT…", help='Such as "fall 3 % in 2 s" "gap through the stop".'),
    ],
    symbol: Annotated[
        str,
        typer.Option(
            "--symbol",
            parser=SYMBOL.parser,
            metavar="SYMBOL",
            help="Whose price moves.",
        ),
    ] = "BTCUSDT",
    url: UrlOption = None,
) -> None:
    """Move the market of a running paper exchange."""
    from tradewright.app.paper_control import control

    control(_url(ctx, url), "POST", "script", body={"symbol": symbol, "acts": acts})
    say(f"{symbol} will {', then '.join(acts)}")


def _url(ctx: typer.Context, url: str | None) -> str:
    if url is not None:
        return url
    settings = invocation_of(ctx).settings()
    if settings.venue != "paper":
        say(f"error: venue {settings.venue} is no paper exchange; name one with --url")
        raise typer.Exit(ExitCode.USAGE)
    return settings.urls.rest_url


def _show_faults(found: dict[str, Any], output: Format) -> None:
    if output is Format.JSON:
        print_document("paper_faults", **found)
        return
    if not found["faults"]:
        say("no fault is in force")
        return
    print_table(
        ("name", "kind", "when", "matched", "struck"),
        [(f["name"], f["kind"], f["when"], f["matches"], f["strikes"]) for f in found["faults"]],
    )
