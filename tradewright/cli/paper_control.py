"""`paper-key`, `paper-fault`, `paper-market`: what a running paper exchange is told."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any
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
from tradewright.cli.option import SYMBOL
from tradewright.cli.table import print_table

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


def register(app: typer.Typer) -> None:
    app.add_typer(keys, name="paper-key", no_args_is_help=True)
    app.add_typer(faults, name="paper-fault", no_args_is_help=True)
    app.command("paper-market")(market_acts)


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
        named = {"api_key": made.pop("key"), "api_secret": made.pop("secret")}
        print_document("paper_key", **named, **made)
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
