"""All commands, and the options before them."""

from pathlib import Path
from typing import Annotated

import typer

from tradewright.cli import (
    authoring,
    case,
    exchange,
    explain,
    kill,
    limits,
    notice,
    paper,
    paper_control,
    plan,
    plugin,
    preset,
    run,
    status,
    strategy,
    strategy_mode,
    trade,
    trade_wish,
    trial,
)
from tradewright.cli.exit import MEANING
from tradewright.cli.invocation import Commands, Invocation

EPILOG = "Exit codes: " + "; ".join(f"{code.value} {text}" for code, text in MEANING.items()) + "."

app = typer.Typer(
    name="tradewright",
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Durable, declarative trading on Bybit.",
    epilog=EPILOG,
)
for commands in (
    run,
    paper,
    paper_control,
    status,
    authoring,
    preset,
    plan,
    explain,
    trial,
    plugin,
    strategy,
    strategy_mode,
    trade,
    trade_wish,
    case,
    kill,
    limits,
    exchange,
    notice,
):
    commands.register(app)


def _print_version(value: bool) -> None:
    if value:
        from importlib.metadata import version

        typer.echo(f"tradewright {version('tradewright')}")
        raise typer.Exit


@app.callback()
def options(
    ctx: typer.Context,
    settings: Annotated[
        Path | None, typer.Option("--settings", help="Settings file (YAML).", dir_okay=False)
    ] = None,
    address: Annotated[
        str | None, typer.Option("--address", help="Of Temporal: host:port.")
    ] = None,
    ui_url: Annotated[
        str | None, typer.Option("--ui-url", help="Of Temporal's Web UI, for links.")
    ] = None,
    account: Annotated[str | None, typer.Option("--account", help="Name of the account.")] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    ctx.obj = Invocation(
        settings_file=settings, address=address, ui_url=ui_url, account=account, debug=debug
    )
