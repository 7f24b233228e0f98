"""`strategy show|promote|demote`: what a strategy may do, and all that it says of itself."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from tradewright.cli.invocation import (
    ByOption,
    Format,
    OutputOption,
    invocation_of,
    print_document,
    run,
)
from tradewright.cli.strategy import NameArgument, commands, named
from tradewright.cli.table import linked, print_facts, print_table, when

if TYPE_CHECKING:
    from tradewright.app.line import StrategyLine
    from tradewright.ports import StrategyStatus
    from tradewright.settings import Settings


class Lower(StrEnum):
    """Modes in which nothing is sent; the domain's own would cost each command its import."""

    SHADOW = "shadow"
    ALERT = "alert"


WhyOption = Annotated[str, typer.Option("--reason", help="Why; kept in the journal.")]
ExpectOption = Annotated[
    str, typer.Option("--expect", help="Refuse unless this version runs (its beginning).")
]


def register(app: typer.Typer) -> None:
    """Have nothing more to add: the commands belong to `strategy`."""


@commands.command()
def show(ctx: typer.Context, name: NameArgument, output: OutputOption = Format.TABLE) -> None:
    """Show one strategy: its mode, symbols, refusals, and what rests."""
    from tradewright.app import operate
    from tradewright.app.connect import connect

    settings = invocation_of(ctx).settings()

    async def work() -> "StrategyLine":
        async with named(settings, name):
            return await operate.strategy(await connect(settings), name)

    line = run(work())
    if output is Format.JSON:
        print_document("strategy", strategy=linked(line.model_dump(mode="json"), settings))
        return
    _print(line, settings)


@commands.command()
def promote(
    ctx: typer.Context,
    name: NameArgument,
    by: ByOption,
    reason: WhyOption,
    expect: ExpectOption = "",
    output: OutputOption = Format.TABLE,
) -> None:
    """Let a strategy trade that was in the shadow or alerted; the journal keeps who and why."""
    _set_mode(ctx, name, "trade", by, reason, expect, output)


@commands.command()
def demote(
    ctx: typer.Context,
    name: NameArgument,
    by: ByOption,
    reason: WhyOption,
    to: Annotated[Lower, typer.Option("--to", help="What it does instead.")] = Lower.SHADOW,
    output: OutputOption = Format.TABLE,
) -> None:
    """Let a strategy send nothing any more; its open trades go on to their end."""
    _set_mode(ctx, name, to.value, by, reason, "", output)


def _set_mode(
    ctx: typer.Context,
    name: str,
    mode: str,
    by: str,
    reason: str,
    expect: str,
    output: Format,
) -> None:
    from tradewright import ids
    from tradewright.app import operate
    from tradewright.app.connect import connect
    from tradewright.domain.plan import Mode

    settings = invocation_of(ctx).settings()

    async def work() -> "StrategyStatus":
        client = await connect(settings)
        async with named(settings, name):
            return await operate.set_mode(
                client, name, mode=Mode(mode), by=by, reason=reason, expect=expect
            )

    status = run(work())
    workflow_id = ids.strategy_workflow(name)
    if output is Format.JSON:
        row = {"name": name, "workflow_id": workflow_id, "mode": status.mode}
        print_document("strategy", strategy=linked(row, settings))
        return
    typer.echo(f"{name}: {status.mode} from now on  {settings.workflow_url(workflow_id)}")
    typer.echo(
        f"version {status.preset_hash} stays in it, however often it is applied; an edit of its "
        "document does what the document says"
    )


def _print(line: "StrategyLine", settings: "Settings") -> None:
    status = line.status
    print_facts([("strategy", line.name), ("state", line.state)])
    if status is None:
        return
    print_facts(
        [
            ("needs a person", status.needs_operator),
            ("mode", status.mode),
            ("version", status.preset_hash),
            ("account", status.account),
            ("symbols", ", ".join(status.symbols)),
            ("only left", ", ".join(status.kept)),
            ("candles", f"{status.timeframe}, {status.candles} so far"),
            ("last candle", when(status.last_candle)),
            ("signals", f"{status.approved} taken, {status.refused} refused"),
            ("alerts", status.alerted or ""),
            ("virtual trades", ", ".join(status.shadows)),
            ("last remark", status.note),
            ("page", settings.workflow_url(line.workflow_id)),
        ]
    )
    if status.refusals:
        rows = [(one.symbol, one.code, one.reason) for one in status.refusals]
        print_table(("SYMBOL", "REFUSED", "WHY"), rows, title="refused at the last look")
    if status.broken:
        rows = [
            (one.symbol, str(one.failures), f"{when(one.until) or 'no'}: {one.reason}")
            for one in status.broken
        ]
        print_table(("SYMBOL", "FAILURES", "RESTS UNTIL"), rows, title="where it fails")
