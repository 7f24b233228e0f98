"""`strategy`: the presets at work."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Annotated, Final

import typer

from tradewright.cli import completion
from tradewright.cli.invocation import (
    ByOption,
    Format,
    LinksOption,
    OutputOption,
    invocation_of,
    print_document,
    run,
)
from tradewright.cli.table import linked, print_links, print_table, when

if TYPE_CHECKING:
    from temporalio.client import Client

    from tradewright.app.line import StrategyLine
    from tradewright.ports import StrategyStatus
    from tradewright.settings import Settings

STRATEGY_COLUMNS: Final = (
    *("STRATEGY", "STATE", "SYMBOLS", "CANDLES", "VERSION", "LAST CANDLE", "TRADED", "REFUSED"),
    "NOTE",
)
SHOWN: Final = 4
"""Symbols that are named; of a large universe the others are counted."""
HISTORY_COLUMNS: Final = ("WHEN", "WHAT", "VERSION", "BY", "WHY", "CHANGES")

NameArgument = Annotated[
    str, typer.Argument(help="Name of the preset.", autocompletion=completion.presets)
]
ReasonOption = Annotated[str, typer.Option("--reason", help="Shown to everybody.")]

commands = typer.Typer(help="List, pause, resume and stop the presets at work.")


def register(app: typer.Typer) -> None:
    app.add_typer(commands, name="strategy", no_args_is_help=True)


@commands.command("list")
def list_strategies(
    ctx: typer.Context, links: LinksOption = False, output: OutputOption = Format.TABLE
) -> None:
    """List the strategies that run, and those that were stopped."""
    settings = invocation_of(ctx).settings()
    lines, watch = run(_strategies(settings))
    completion.remember("strategies", (line.name for line in lines))
    if output is Format.JSON:
        rows = [linked(line.model_dump(mode="json"), settings) for line in lines]
        print_document("strategies", strategies=rows, watch=list(watch))
        return
    print_strategies(lines)
    if watch:
        typer.echo("\n".join(["", "the watcher of presets says:", *watch]))
    if links:
        print_links(settings, [line.workflow_id for line in lines])


@commands.command()
def pause(
    ctx: typer.Context,
    name: NameArgument,
    by: ByOption,
    reason: ReasonOption = "",
    output: OutputOption = Format.TABLE,
) -> None:
    """Take no new entries; the open trades go on."""
    from tradewright.app.operate import pause_strategy

    _wish(ctx, name, partial(pause_strategy, name=name, reason=reason, by=by), output)


@commands.command()
def resume(
    ctx: typer.Context,
    name: NameArgument,
    by: ByOption,
    reason: ReasonOption = "",
    output: OutputOption = Format.TABLE,
) -> None:
    """Take entries again."""
    from tradewright.app.operate import resume_strategy

    _wish(ctx, name, partial(resume_strategy, name=name, reason=reason, by=by), output)


@commands.command()
def stop(
    ctx: typer.Context,
    name: NameArgument,
    by: ByOption,
    reason: ReasonOption = "",
    output: OutputOption = Format.TABLE,
) -> None:
    """Cancel the strategy; its open trades go on under their own stops until they close."""
    from tradewright import ids
    from tradewright.app import operate, survey
    from tradewright.app.connect import connect

    settings = invocation_of(ctx).settings()

    async def work() -> list[str]:
        client = await connect(settings)
        told = f"{reason or 'no reason given'} (by {by})"
        async with named(settings, name):
            await operate.stop_strategy(client, name, reason=told)
        trades = await survey.live_trades(client, settings.account)
        return [line.workflow_id for line in trades if line.preset == name]

    going_on = run(work())
    workflow_id = ids.strategy_workflow(name)
    if output is Format.JSON:
        row = linked({"name": name, "workflow_id": workflow_id, "open_trades": going_on}, settings)
        print_document("strategy_stopped", strategy=row)
        return
    typer.echo(f"{name}: cancellation requested  {settings.workflow_url(workflow_id)}")
    if going_on:
        typer.echo(f"open trades that go on: {', '.join(going_on)}")
        typer.echo("`tradewright trade exit ID` closes one; `tradewright kill trip` closes all")
    else:
        typer.echo("it has no open trades")


@commands.command("history")
def show_history(
    ctx: typer.Context,
    name: NameArgument,
    limit: Annotated[int, typer.Option("--limit", min=1, help="So many, the latest first.")] = 20,
    output: OutputOption = Format.TABLE,
) -> None:
    """Show which versions were applied, by whom, when, why, and in what they differ."""
    from tradewright.app.connect import opened_journal
    from tradewright.app.plan import VersionLine, history

    settings = invocation_of(ctx).settings()

    async def work() -> tuple[VersionLine, ...]:
        async with opened_journal(settings) as journal:
            return await history(journal, name, limit=limit)

    lines = run(work())
    if output is Format.JSON:
        print_document(
            "history", preset=name, history=[line.model_dump(mode="json") for line in lines]
        )
        return
    print_table(
        HISTORY_COLUMNS,
        [
            (
                when(line.at),
                line.change,
                line.version,
                line.by,
                line.reason,
                "; ".join(map(str, line.changes)) or line.note,
            )
            for line in lines
        ],
    )
    typer.echo(f"`tradewright diff {name} --from VERSION --to VERSION` compares any two")


@asynccontextmanager
async def named(settings: "Settings", name: str) -> AsyncIterator[None]:
    """Tell of what does not run whether a preset of that name was ever applied."""
    from tradewright.app.wish import NotRunning

    try:
        yield
    except NotRunning:
        await known(settings, name)
        raise


async def known(settings: "Settings", name: str) -> None:
    """Return if *name* was ever applied, or if no journal can say so.

    Raises:
        PresetUnknown: It was not.
    """
    from tradewright.app.connect import JournalMissing, opened_journal
    from tradewright.app.strategy_run import insist_on_applied
    from tradewright.journal import JournalUnavailable

    with suppress(JournalMissing, JournalUnavailable):
        async with opened_journal(settings) as journal:
            await insist_on_applied(journal, name)


def _wish(
    ctx: typer.Context,
    name: str,
    send: "Callable[[Client], Awaitable[StrategyStatus]]",
    output: Format,
) -> None:
    """Send a wish to the strategy and show how it stands afterwards."""
    from tradewright.app.connect import connect

    settings = invocation_of(ctx).settings()

    async def work() -> "StrategyStatus":
        async with named(settings, name):
            return await send(await connect(settings))

    _show(settings, run(work()), output)


def _show(settings: "Settings", status: "StrategyStatus", output: Format) -> None:
    from tradewright import ids
    from tradewright.app.line import strategy_state

    workflow_id = ids.strategy_workflow(status.preset)
    if output is Format.JSON:
        row = {"name": status.preset, "workflow_id": workflow_id, "paused": status.paused}
        print_document("strategy", strategy=linked(row, settings))
        return
    why = f": {status.pause_reason or 'no reason given'}" if status.paused else ""
    state = f"{strategy_state(status)}{why}"
    typer.echo(f"{status.preset}: {state}  {settings.workflow_url(workflow_id)}")
    if status.paused:
        typer.echo("its open trades go on; `tradewright strategy resume` takes entries again")


async def _strategies(settings: "Settings") -> tuple[tuple["StrategyLine", ...], tuple[str, ...]]:
    """Return the strategies, and what the watcher of presets could not apply."""
    from tradewright.app import survey
    from tradewright.app.connect import JournalMissing, connect, opened_journal
    from tradewright.app.plan import unwatched
    from tradewright.journal import JournalUnavailable

    client = await connect(settings)
    known: list[str] = []
    try:
        async with opened_journal(settings) as journal:
            known = [stored.name for stored in await journal.latest_presets()]
    except (JournalMissing, JournalUnavailable):
        # What runs is Temporal's to say; only the names of those that were stopped are missing
        known = []
    return (
        await survey.strategies(client, settings.account, known),
        await unwatched(client, settings.account),
    )


def _symbols(status: "StrategyStatus") -> str:
    more = len(status.symbols) - SHOWN
    named = ", ".join(status.symbols[:SHOWN])
    return f"{named} and {more} more" if more > 0 else named


def _remark(status: "StrategyStatus") -> str:
    at = f"{status.note_at:%H:%M:%S} " if status.note and status.note_at else ""
    resting = [one.symbol for one in status.broken if one.until is not None]
    rests = f"rests on {', '.join(resting)}" if resting else ""
    codes = ", ".join(sorted({one.code for one in status.refusals}))
    refused = f"refused: {codes}" if codes else ""
    said = "; ".join(word for word in (rests, refused, status.note) if word)
    return status.needs_operator or status.pause_reason or (f"{at}{said}" if said else "")


def print_strategies(lines: tuple["StrategyLine", ...], title: str = "") -> None:
    print_table(
        STRATEGY_COLUMNS,
        [
            (
                line.name,
                line.state,
                _symbols(status) if (status := line.status) else "",
                status.timeframe if status else "",
                status.preset_hash if status else "",
                when(status.last_candle) if status else "",
                status.approved if status else "",
                status.refused if status else "",
                _remark(status) if status else "",
            )
            for line in lines
        ],
        title=title,
        empty="no strategy runs; `tradewright apply FILE` starts that of a preset",
    )
