"""`limits`: what the account may do, how near it is, and letting it trade again."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Final

import typer

from tradewright.cli.invocation import (
    ByOption,
    Format,
    OutputOption,
    invocation_of,
    print_document,
    run,
)
from tradewright.cli.table import linked, paused, print_table, share

if TYPE_CHECKING:
    from tradewright.app.limits import LimitsLifted, LimitsReloaded, LimitsShown
    from tradewright.domain.account import RefusalCode

COLUMNS: Final = ("LIMIT", "VALUE", "DEFAULT", "CONSEQUENCE", "NOW", "USED")

commands = typer.Typer(help="Show the account's limits, read them again, lift what they hold.")


def register(app: typer.Typer) -> None:
    app.add_typer(commands, name="limits", no_args_is_help=True)


@commands.command("show")
def show_limits(ctx: typer.Context, output: OutputOption = Format.TABLE) -> None:
    """Show each limit in force, its default, what a breach brings about, and how near it is."""
    from tradewright.app import limits
    from tradewright.app.connect import connect

    settings = invocation_of(ctx).settings()

    async def work() -> "LimitsShown":
        client = await connect(settings)
        return await limits.show_limits(client, settings.account, now=datetime.now(UTC))

    found = run(work())
    if output is Format.JSON:
        print_document("limits", limits=linked(found.model_dump(mode="json"), settings))
        return
    rows = [
        (
            line.limit,
            line.value,
            line.default,
            line.consequence,
            line.now,
            "" if line.share is None else share(line.share),
        )
        for line in found.limits
    ]
    print_table(COLUMNS, rows)
    for breach in found.breaches:
        typer.echo(f"no entries: {breach}")
    for pause in found.pauses:
        typer.echo(f"paused {paused(pause)}")


@commands.command("reload")
def reload_limits(ctx: typer.Context, by: ByOption, output: OutputOption = Format.TABLE) -> None:
    """Read the settings file again and put its limits in force, without a restart.

    A worker does so by itself when the file changes; this also undoes what an operator has set
    since.
    """
    from tradewright.app import limits
    from tradewright.app.connect import connect

    settings = invocation_of(ctx).settings()

    async def work() -> "LimitsReloaded":
        # A file with mistakes is told before anybody is asked
        settings.reread_limits()
        return await limits.reload_limits(await connect(settings), settings, by=by)

    done = run(work())
    if output is Format.JSON:
        print_document("limits_reloaded", reloaded=done.model_dump(mode="json"))
        return
    typer.echo(f"read from {done.file or 'the settings of this command: they name no file'}")
    for change in done.changes:
        typer.echo(change)
    if not done.changes:
        typer.echo("nothing changed: these limits were in force already")


@commands.command("lift")
def lift(
    ctx: typer.Context,
    code: Annotated[
        str, typer.Argument(help="Of the breach, such as loss_streak; without it every pause.")
    ] = "",
    preset: Annotated[
        str, typer.Option("--preset", help="Whose guard; without it of every preset.")
    ] = "",
    reason: Annotated[str, typer.Option("--reason", help="Shown to everybody.")] = "",
    *,
    by: ByOption,
    output: OutputOption = Format.TABLE,
) -> None:
    """End a pause; after max_drawdown the peak, after loss_streak the count begins anew.

    So does what a guard of a preset counts: stop_guard, preset_drawdown, losing_symbol.

    Exits 6 when there is nothing to lift.
    """
    from tradewright.app import limits
    from tradewright.app.connect import connect
    from tradewright.domain.account import GUARDS

    settings, wanted = invocation_of(ctx).settings(), _code(code)
    if not reason:
        raise typer.BadParameter("say why, with --reason", param_hint="--reason")
    if preset and wanted not in GUARDS:
        guards = ", ".join(sorted(GUARDS))
        raise typer.BadParameter(f"only {guards} are lifted of one preset", param_hint="--preset")

    async def work() -> "LimitsLifted":
        client, now = await connect(settings), datetime.now(UTC)
        return await limits.lift(
            client, settings.account, wanted, preset=preset, reason=reason, by=by, now=now
        )

    done = run(work())
    if output is Format.JSON:
        print_document("limits_lifted", code=code, **done.model_dump(mode="json"))
        return
    for line in done.lifted:
        typer.echo(f"lifted: {line}")
    typer.echo(f"pauses left: {len(done.pauses)}")


def _code(code: str) -> "RefusalCode | None":
    from tradewright.app.limits import LIFTABLE

    if not code:
        return None
    found = next((known for known in LIFTABLE if known == code), None)
    if found is None:
        known = ", ".join(LIFTABLE)
        raise typer.BadParameter(f"{code!r} cannot be lifted; these can: {known}")
    return found
