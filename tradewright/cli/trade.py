"""`trade`: look at trades, and leave the market with one."""

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from tradewright.cli.invocation import (
    ByOption,
    Format,
    LinksOption,
    OutputOption,
    YesOption,
    confirm,
    invocation_of,
    print_document,
    run,
    say,
)
from tradewright.cli.table import gain, linked, price, print_links, print_table, when
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
    str, typer.Argument(metavar="ID", help="Trade id, its beginning, or the workflow id.")
]

commands = typer.Typer(help="List, show and exit trades.")


def register(app: typer.Typer) -> None:
    app.add_typer(commands, name="trade", no_args_is_help=True)


@commands.command("list")
def list_trades(
    ctx: typer.Context,
    live: Annotated[
        bool,
        typer.Option("--live/--all", help="Those that run, or all that the journal has."),
    ] = True,
    preset: Annotated[str, typer.Option("--preset", help="Only of this preset.")] = "",
    symbol: Annotated[str, typer.Option("--symbol", help="Only on this symbol.")] = "",
    needs_operator: Annotated[
        bool, typer.Option("--needs-operator", help="Only those that wait for a person.")
    ] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, help="No more than so many.")] = 50,
    links: LinksOption = False,
    output: OutputOption = Format.TABLE,
) -> None:
    """List trades, newest first: the running ones, or with --all every one."""
    settings = invocation_of(ctx).settings()
    found = run(_trades(settings, live=live, preset=preset, symbol=symbol, needs=needs_operator))
    lines = found[:limit]
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


@commands.command("exit")
def exit_trade(
    ctx: typer.Context,
    trade: TradeArgument,
    by: ByOption,
    note: Annotated[str, typer.Option("--note", help="Why; written to the journal.")] = "",
    wait: Annotated[bool, typer.Option("--wait", help="Return when it has closed.")] = False,
    yes: YesOption = False,
    output: OutputOption = Format.TABLE,
) -> None:
    """Leave the market: cancel what is left of the entry and close what is held."""
    from tradewright.app.line import line_of_trade

    settings = invocation_of(ctx).settings()
    confirm(f"leave the market with trade {trade} on {settings.venue}?", yes=yes)
    workflow_id, view = run(_exit(settings, trade, note=note, by=by, wait=wait))
    line = line_of_trade(view.trade, workflow_id, view.needs_operator)
    if output is Format.JSON:
        row = linked(line.model_dump(mode="json"), settings)
        print_document("trade_exit", trade=row, ended=view.trade.is_final)
        return
    url = settings.workflow_url(workflow_id)
    if view.trade.is_final:
        pnl = f", PnL {view.trade.pnl:+.4f} USDT" if view.trade.was_open else ""
        typer.echo(f"{line.trade_id}: {line.state}{pnl}  {url}")
    else:
        typer.echo(f"{line.trade_id}: exit accepted, the trade was {line.state}  {url}")


async def _trades(
    settings: "Settings", *, live: bool, preset: str, symbol: str, needs: bool
) -> list["TradeLine"]:
    from tradewright.app.connect import connect, opened_journal

    if live:
        from tradewright.app.survey import live_trades

        lines = await live_trades(await connect(settings), settings.account)
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
            limit=None,
        )
    return [line_of_row(row) for row in rows]


async def _page(settings: "Settings", reference: str) -> "TradePage":
    from tradewright.app.trade_page import find_trade, trade_page

    async with AsyncExitStack() as stack:
        client, journal, remarks = await _sources(settings, stack)
        workflow_id = await find_trade(client, journal, settings.account, reference)
        page = await trade_page(client, journal, workflow_id)
    return page.model_copy(update={"remarks": (*remarks, *page.remarks)})


async def _exit(
    settings: "Settings", reference: str, *, note: str, by: str, wait: bool
) -> tuple[str, Any]:
    from tradewright.app import operate
    from tradewright.app.connect import connect
    from tradewright.app.trade_page import TradeUnknown, find_trade

    client = await connect(settings)
    try:
        # The journal is asked only for what Temporal's list does not show yet
        workflow_id = await find_trade(client, None, settings.account, reference)
    except TradeUnknown:
        async with AsyncExitStack() as stack:
            journal = (await _sources(settings, stack))[1]
            workflow_id = await find_trade(client, journal, settings.account, reference)
    view = await operate.exit_trade(client, workflow_id, note=note, by=by)
    if wait:
        say(f"{workflow_id}: exit accepted")
        async for view in operate.follow_trade(client, workflow_id):
            needs = f", needs a person: {view.needs_operator}" if view.needs_operator else ""
            say(f"{workflow_id}: {view.trade.state}{needs}")
    return workflow_id, view


async def _sources(
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


def print_trades(lines: "list[TradeLine] | tuple[TradeLine, ...]", title: str = "") -> None:
    print_table(
        TRADE_COLUMNS,
        [
            (
                line.trade_id,
                line.symbol,
                line.side,
                line.state,
                price(line.qty),
                price(line.entry_price),
                price(line.stop),
                price(line.take_profit),
                gain(line.open_pnl),
                gain(line.pnl),
                gain(line.r_multiple),
                f"NEEDS A PERSON: {line.needs_operator}"
                if line.needs_operator
                else line.exit_reason,
                when(line.opened_at),
                when(line.closed_at),
                line.preset,
            )
            for line in lines
        ],
        title=title,
        empty="no trades",
    )
