"""The `tradewright` command."""

import os
import sys
import threading
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from tradewright.cli import (
    authoring,
    case,
    exchange,
    kill,
    limits,
    notice,
    paper,
    paper_control,
    preset,
    run,
    status,
    strategy,
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
    trial,
    strategy,
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


def _report_thread(failure: threading.ExceptHookArgs) -> None:
    # A database driver's thread that outlives an interrupted loop has nobody to answer to
    if not isinstance(failure.exc_value, RuntimeError):
        threading.__excepthook__(failure)


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command, of *arguments* or of the process's own, and leave at once.

    Threads of temporalio's native part crash or hang an interpreter that finalises
    (temporalio/sdk-python#300), so nothing is finalised: what is open is flushed here.
    """
    threading.excepthook = _report_thread
    code: object = 0
    try:
        app(arguments)
    except SystemExit as e:
        code = e.code
    if telemetry := sys.modules.get("tradewright.telemetry"):
        telemetry.flush()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            # Who read it has left
            code = code or 1
    os._exit(code if isinstance(code, int) else 1)
