"""`trade exit|stop|migrate|resolve`: what a person wishes of a trade."""

from contextlib import AsyncExitStack
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tradewright.cli.invocation import (
    ByOption,
    Format,
    OutputOption,
    YesOption,
    confirm,
    invocation_of,
    print_document,
    run,
    say,
)
from tradewright.cli.table import linked
from tradewright.cli.trade import TradeArgument, commands, sources

if TYPE_CHECKING:
    from temporalio.client import Client

    from tradewright.ports import TradeView
    from tradewright.settings import Settings


class Choice(StrEnum):
    """As `tradewright.ports.Choice`, which this module is too light to import."""

    RETRY = "retry"
    ADOPT = "adopt"
    ABANDON = "abandon"


class Keep(StrEnum):
    """As `tradewright.domain.trade.Kept`, for the same reason."""

    TARGETS = "targets"
    TRAILING = "trailing"


def register(app: typer.Typer) -> None:
    """Add to the commands of `trade`."""
    del app
    commands.command("exit")(exit_trade)
    commands.command("stop")(move_stop)
    commands.command("migrate")(migrate)
    commands.command("resolve")(resolve)


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
    settings = invocation_of(ctx).settings()
    confirm(f"leave the market with trade {trade} on {settings.venue}?", yes=yes)
    workflow_id, view = run(_exit(settings, trade, note=note, by=by, wait=wait))
    ended, trade_id = view.trade.is_final, view.trade.plan.trade_id
    if output is Format.JSON:
        _print_json("trade_exit", settings, workflow_id, view, ended=ended)
        return
    url = settings.workflow_url(workflow_id)
    if ended:
        pnl = f", PnL {view.trade.pnl:+.4f} USDT" if view.trade.was_open else ""
        typer.echo(f"{trade_id}: {view.trade.state}{pnl}  {url}")
    else:
        typer.echo(f"{trade_id}: exit accepted, the trade was {view.trade.state}  {url}")


def move_stop(
    ctx: typer.Context,
    trade: TradeArgument,
    price: Annotated[str, typer.Argument(metavar="PRICE", help="Where the stop is to stand.")],
    by: ByOption,
    output: OutputOption = Format.TABLE,
) -> None:
    """Tighten a trade's stop; one that loosens it, or that the price has passed, is refused."""
    settings = invocation_of(ctx).settings()
    wanted = _price(price)
    workflow_id, view = run(_move_stop(settings, trade, price=wanted, by=by))
    confirmed = view.trade.stop == wanted
    if output is Format.JSON:
        _print_json("trade_stop", settings, workflow_id, view, confirmed=confirmed)
        return
    told = "stands at" if confirmed else "was asked for, and is not confirmed yet, at"
    typer.echo(f"{view.trade.plan.trade_id}: the stop {told} {wanted:f}")


def migrate(
    ctx: typer.Context,
    trade: TradeArgument,
    by: Annotated[str, typer.Option("--by", help="Your name; written to the journal.")],
    reason: Annotated[str, typer.Option("--reason", help="Why; written to the journal.")],
    keep: Annotated[
        list[Keep] | None,
        typer.Option("--keep", help="What stays as it was opened with; may be given twice."),
    ] = None,
    expect: Annotated[
        str, typer.Option("--expect", help="Refuse unless this version runs (its beginning).")
    ] = "",
    output: OutputOption = Format.TABLE,
) -> None:
    """Move an open trade to the exits of the version of its preset that runs now."""
    settings = invocation_of(ctx).settings()
    workflow_id, view = run(
        _migrate(settings, trade, keep=keep or [], reason=reason, by=by, expect=expect)
    )
    done = view.trade.migrations[-1]
    if output is Format.JSON:
        told = done.model_dump(mode="json")
        _print_json("trade_migration", settings, workflow_id, view, migration=told)
        return
    url = settings.workflow_url(workflow_id)
    typer.echo(
        f"{view.trade.plan.trade_id}: exits of version {done.preset_hash} instead of "
        f"{done.from_hash}  {url}"
    )


def resolve(
    ctx: typer.Context,
    trade: TradeArgument,
    choice: Annotated[Choice, typer.Argument(help="As `trade show` offers.")],
    by: Annotated[str, typer.Option("--by", help="Your name; written to the journal.")],
    reason: Annotated[str, typer.Option("--reason", help="Why; written to the journal.")] = "",
    output: OutputOption = Format.TABLE,
) -> None:
    """Say how a trade goes on that needs a person: retry, adopt, or abandon when flat."""
    settings = invocation_of(ctx).settings()
    workflow_id, view = run(_resolve(settings, trade, choice=choice, reason=reason, by=by))
    if output is Format.JSON:
        _print_json("trade_resolve", settings, workflow_id, view)
        return
    url = settings.workflow_url(workflow_id)
    typer.echo(f"{view.trade.plan.trade_id}: {choice} accepted  {url}")


def _price(text: str) -> Decimal:
    try:
        price = Decimal(text)
    except InvalidOperation:
        price = Decimal(0)
    if not (price.is_finite() and price > 0):
        raise typer.BadParameter(f"{text!r} is no price; write a number above 0")
    return price


def _print_json(
    kind: str, settings: "Settings", workflow_id: str, view: "TradeView", **more: Any
) -> None:
    from tradewright.app.line import line_of_trade

    line = line_of_trade(view.trade, workflow_id, view.needs_operator)
    print_document(kind, trade=linked(line.model_dump(mode="json"), settings), **more)


async def _exit(
    settings: "Settings", reference: str, *, note: str, by: str, wait: bool
) -> tuple[str, "TradeView"]:
    from tradewright.app import operate

    client, workflow_id = await _found(settings, reference)
    view = await operate.exit_trade(client, workflow_id, note=note, by=by)
    if wait:
        say(f"{workflow_id}: exit accepted")
        async for view in operate.follow_trade(client, workflow_id):
            needs = f", needs a person: {view.needs_operator}" if view.needs_operator else ""
            say(f"{workflow_id}: {view.trade.state}{needs}")
    return workflow_id, view


async def _move_stop(
    settings: "Settings", reference: str, *, price: Decimal, by: str
) -> tuple[str, "TradeView"]:
    from tradewright.app import operate

    client, workflow_id = await _found(settings, reference)
    return workflow_id, await operate.move_stop(client, workflow_id, price=price, by=by)


async def _migrate(
    settings: "Settings", reference: str, *, keep: list[Keep], reason: str, by: str, expect: str
) -> tuple[str, "TradeView"]:
    from tradewright.app import operate
    from tradewright.domain.trade import Kept

    client, workflow_id = await _found(settings, reference)
    kept = [Kept(each.value) for each in keep]
    view = await operate.migrate_trade(
        client, workflow_id, by=by, reason=reason, expect=expect, keep=kept
    )
    return workflow_id, view


async def _resolve(
    settings: "Settings", reference: str, *, choice: Choice, reason: str, by: str
) -> tuple[str, "TradeView"]:
    from tradewright.app import operate
    from tradewright.ports import Choice as Resolution

    client, workflow_id = await _found(settings, reference)
    wish = Resolution(choice.value)
    view = await operate.resolve_trade(client, workflow_id, choice=wish, reason=reason, by=by)
    return workflow_id, view


async def _found(settings: "Settings", reference: str) -> tuple["Client", str]:
    """Return Temporal's client, and the workflow of the trade that is meant."""
    from tradewright.app.connect import connect
    from tradewright.app.trade_page import TradeUnknown, find_trade

    client = await connect(settings)
    try:
        # The journal is asked only for what Temporal's list does not show yet
        return client, await find_trade(client, None, settings.account, reference)
    except TradeUnknown:
        async with AsyncExitStack() as stack:
            journal = (await sources(settings, stack))[1]
            return client, await find_trade(client, journal, settings.account, reference)
