"""`trade list|show`: look at trades."""

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Annotated, Final

import typer

from tradewright.cli import completion
from tradewright.cli.invocation import (
    Format,
    LinksOption,
    OutputOption,
    invocation_of,
    print_document,
    run,
    say,
)
from tradewright.cli.strategy import known
from tradewright.cli.table import gain, linked, price, print_links, print_table, when, words
from tradewright.cli.trade_view import print_page
from tradewright.domain.errors import TradewrightError

if TYPE_CHECKING:
    from temporalio.client import Client

    from tradewright.app.line import TradeLine
    from tradewright.app.trade_page import TradePage
    from tradewright.journal import Journal
    from tradewright.settings import Settings

TRADE_COLUMNS: Final = (
    *("TRADE", "SYMBOL", "SIDE", "STATE", "QTY", "ENTRY", "STOP", "TARGET", "OPEN PNL"),
    *("PNL", "R", "WHY", "OPENED", "CLOSED", "PRESET"),
)


TradeArgument = Annotated[
    str,
    typer.Argument(
        metavar="ID",
        help="Trade id, its beginning, or the workflow id.",
        autocompletion=completion.trades,
    ),
]

commands = typer.Typer(help="List, show, exit and resolve trades; move a stop.")


def register(app: typer.Typer) -> None:
    app.add_typer(commands, name="trade", no_args_is_help=True)


@commands.command("list")
def list_trades(
    ctx: typer.Context,
    live: Annotated[
        bool,
        typer.Option("--live/--all", help="Those that run, or all that the journal has."),
    ] = True,
    preset: Annotated[
        str,
        typer.Option("--preset", help="Only of this preset.", autocompletion=completion.presets),
    ] = "",
    symbol: Annotated[str, typer.Option("--symbol", help="Only on this symbol.")] = "",
    needs_operator: Annotated[
        bool, typer.Option("--needs-operator", help="Only those that wait for a person.")
    ] = False,
    shadow: Annotated[
        bool, typer.Option("--shadow", help="The virtual ones, of which nothing is sent.")
    ] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, help="No more than so many.")] = 50,
    links: LinksOption = False,
    output: OutputOption = Format.TABLE,
) -> None:
    """List trades, newest first: the running ones, or with --all every one."""
    settings = invocation_of(ctx).settings()
    found = run(
        _trades(
            settings,
            live=live,
            preset=preset,
            symbol=symbol,
            needs=needs_operator,
            shadow=shadow,
        )
    )
    if preset and not found:
        run(_note_unknown(settings, preset))
    lines = found[:limit]
    completion.remember("trades", (line.trade_id for line in lines))
    if output is Format.JSON:
        rows = [linked(line.model_dump(mode="json"), settings) for line in lines]
        print_document("trades", trades=rows)
        return
    print_trades(lines)
    for line in lines:
        if line.needs_operator:
            typer.echo(f"{line.trade_id} needs a person: {line.needs_operator}")
    if links:
        print_links(settings, [line.workflow_id for line in lines])


@commands.command()
def show(ctx: typer.Context, trade: TradeArgument, output: OutputOption = Format.TABLE) -> None:
    """Show all that is known of one trade."""
    settings = invocation_of(ctx).settings()
    page = run(_page(settings, trade))
    if output is Format.JSON:
        print_document("trade", trade=linked(page.model_dump(mode="json"), settings))
        return
    print_page(page, settings)


async def _trades(
    settings: "Settings", *, live: bool, preset: str, symbol: str, needs: bool, shadow: bool
) -> list["TradeLine"]:
    from tradewright.app.connect import connect, opened_journal

    if live:
        from tradewright.app.survey import live_trades

        kind = "ShadowWorkflow" if shadow else "TradeWorkflow"
        lines = await live_trades(await connect(settings), settings.account, kind)
        return [
            line
            for line in lines
            if preset in ("", line.preset)
            and symbol in ("", line.symbol)
            and (line.needs_operator or not needs)
        ]
    from tradewright.app.line import line_of_row

    async with opened_journal(settings) as journal:
        rows = await journal.trades(
            settings.account,
            preset=preset or None,
            symbol=symbol or None,
            needs=needs or None,
            shadow=shadow,
            limit=None,
        )
    return [line_of_row(row) for row in rows]


async def _note_unknown(settings: "Settings", preset: str) -> None:
    """Say so if nothing is listed because no preset has that name."""
    from tradewright.app.strategy_run import PresetUnknown

    try:
        await known(settings, preset)
    except PresetUnknown as e:
        say(str(e))


async def _page(settings: "Settings", reference: str) -> "TradePage":
    from tradewright.app.trade_page import find_trade, trade_page

    async with AsyncExitStack() as stack:
        client, journal, remarks = await sources(settings, stack)
        workflow_id = await find_trade(client, journal, settings.account, reference)
        page = await trade_page(client, journal, workflow_id)
    return page.model_copy(update={"remarks": (*remarks, *page.remarks)})


async def sources(
    settings: "Settings", stack: AsyncExitStack
) -> tuple["Client | None", "Journal | None", tuple[str, ...]]:
    """Return Temporal and the journal, as far as they answer, and why one does not.

    Raises:
        TradewrightError: Neither answers.
    """
    from tradewright.app.connect import connect, opened_journal

    client = journal = None
    faults: list[TradewrightError] = []
    try:
        client = await connect(settings)
    except TradewrightError as e:
        faults.append(e)
    try:
        journal = await stack.enter_async_context(opened_journal(settings))
    except TradewrightError as e:
        faults.append(e)
    if client is None and journal is None:
        raise faults[0]
    return client, journal, tuple(map(str, faults))


def _qty(line: "TradeLine") -> str:
    """Return how much it is, and how much of it is held where a part has left or not entered."""
    is_part = line.qty is not None and line.open_qty is not None and 0 < line.open_qty < line.qty
    return f"{price(line.open_qty)} of {price(line.qty)}" if is_part else price(line.qty)


def print_trades(lines: "list[TradeLine] | tuple[TradeLine, ...]", title: str = "") -> None:
    print_table(
        TRADE_COLUMNS,
        [
            (
                line.trade_id,
                line.symbol,
                line.side,
                line.state,
                _qty(line),
                price(line.entry_price),
                price(line.stop),
                price(line.take_profit),
                gain(line.open_pnl),
                gain(line.pnl),
                gain(line.r_multiple),
                f"NEEDS A PERSON: {line.needs_operator}"
                if line.needs_operator
                else line.exit_reason
                if line.state == "rejected"
                else words(line.exit_reason),
                when(line.opened_at),
                when(line.closed_at),
                line.preset,
            )
            for line in lines
        ],
        title=title,
        empty="no trades",
    )
