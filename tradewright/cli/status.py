"""`status` and `reconcile`: how the account stands, and whether the books agree."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import typer

from tradewright.cli.exit import ExitCode
from tradewright.cli.invocation import (
    Format,
    OutputOption,
    invocation_of,
    print_document,
    run,
    say,
)
from tradewright.cli.strategy import print_strategies
from tradewright.cli.table import (
    ago,
    linked,
    paused,
    print_facts,
    print_links,
    print_table,
    print_title,
    share,
    when,
    words,
    words_of_step,
)
from tradewright.cli.trade import print_trades

if TYPE_CHECKING:
    from tradewright.app.line import DeskLine, Overview
    from tradewright.app.operate import Reconciliation
    from tradewright.domain.gate import Gate
    from tradewright.settings import Settings


def register(app: typer.Typer) -> None:
    app.command()(status)
    app.command()(reconcile)


def status(ctx: typer.Context, output: OutputOption = Format.TABLE) -> None:
    """Show gate, account, strategies, live trades, and what needs a person.

    Exits 5 when something could not be asked; what did answer is shown all the same.
    """
    settings = invocation_of(ctx).settings()
    found = run(_overview(settings))
    if output is Format.JSON:
        print_document("status", status=linked(found.model_dump(mode="json"), settings))
    else:
        _print_overview(found, settings)
    for fault in found.faults:
        say(f"error: {fault}")
    if found.faults:
        raise typer.Exit(ExitCode.UNREACHABLE)


def reconcile(ctx: typer.Context, output: OutputOption = Format.TABLE) -> None:
    """Compare the exchange with the trades now, mend what differs, and tell.

    Exits 1 when a difference is left, or waits for a person to decide its case; one that somebody
    has decided to ignore is shown, and is no fault.
    """
    from tradewright.app import operate
    from tradewright.app.connect import connect

    settings = invocation_of(ctx).settings()

    async def work() -> "Reconciliation":
        client = await connect(settings)
        now = datetime.now(UTC)
        return await operate.reconcile(client, settings.account, now=now, progress=say)

    done = run(work())
    report = done.report
    if output is Format.JSON:
        print_document(
            "reconciliation", reconciliation=linked(done.model_dump(mode="json"), settings)
        )
    else:
        found = f"differences found: {report.found}" if report.found else "the books agree"
        typer.echo(f"{found}  {settings.workflow_url(done.workflow_id)}")
        for line in report.mended:
            typer.echo(f"mended: {line}")
        for line in report.left:
            typer.echo(f"left: {line}")
        for line in report.ignored:
            typer.echo(f"ignored: {line}")
    if report.left:
        say(
            f"error: differences left: {len(report.left)}; decide the cases among them "
            f"(`tradewright case list`), look at the others, then reconcile again"
        )
        raise typer.Exit(ExitCode.FAILED)


async def _overview(settings: "Settings") -> "Overview":
    from tradewright.app.connect import connect, opened_journal
    from tradewright.app.survey import overview

    async def gate() -> "Gate | None":
        async with opened_journal(settings) as journal:
            return await journal.gate(settings.account)

    client = await connect(settings)
    return await overview(client, settings, gate, now=datetime.now(UTC))


def _print_overview(found: "Overview", settings: "Settings") -> None:
    from tradewright import ids

    switch, last = found.kill_switch, found.reconciliation
    if last is None:
        books = "never"
    elif last.report is None:
        books = f"{ago(last.at, found.at)}, the run failed"
    else:
        differ, left = last.report.found, len(last.report.left)
        told = f"{differ} found, {left} left" if differ else "the books agree"
        books = f"{ago(last.at, found.at)}, {told}"
    print_facts(
        (
            ("account", f"{found.account} on {found.venue}, {when(found.at)} UTC"),
            ("gate", _gate(found)),
            ("kill switch", words_of_step(switch.step) if switch else "does not answer"),
            *_desk(found.desk, found.at),
            *(
                (
                    feed.name,
                    ", heard ".join(
                        (feed.state, *([ago(feed.heard_at, found.at)] if feed.heard_at else []))
                    ),
                )
                for feed in found.feeds
            ),
            ("reconciled", books),
        )
    )
    print_strategies(found.strategies, title="Strategies")
    print_trades(found.trades, title="Live trades")
    if found.needs:
        print_table(
            ("WORKFLOW", "WHY"),
            [(need.workflow_id, need.why) for need in found.needs],
            title="Needs a person",
        )
    print_title("Web UI")
    print_links(
        settings,
        [
            *(line.workflow_id for line in found.strategies),
            *(line.workflow_id for line in found.trades),
            *(need.workflow_id for need in found.needs),
            ids.kill_switch_workflow(found.account),
            *((found.desk.workflow_id,) if found.desk else ()),
            ids.notifier_workflow(found.account),
            *(feed.workflow_id for feed in found.feeds),
            *((last.workflow_id,) if last else ()),
        ],
    )


def _gate(found: "Overview") -> str:
    gate = found.gate
    if gate is None:
        return "unknown" if found.desk is None else words(found.desk.gate)
    told = ", ".join(part for part in (gate.reason, f"by {gate.by}" if gate.by else "") if part)
    state = words(gate.state)
    return f"{state} since {when(gate.at)}: {told}" if told else state


def _desk(desk: "DeskLine | None", now: datetime) -> list[tuple[str, str]]:
    if desk is None:
        return [("desk", "does not answer")]
    equity = "no snapshot yet"
    if desk.equity is not None:
        equity = (
            f"{desk.equity:.2f} USDT, {ago(desk.snapshot_at, now)}; day loss "
            f"{share(desk.day_loss_fraction)} of at most {share(desk.max_daily_loss_fraction)}"
        )
    waits = "" if desk.reconciled_at else "no entries before the first reconciliation"
    return [
        ("equity", equity),
        ("open trades", f"{desk.open_trades} of at most {desk.max_open_trades}"),
        ("desk", waits),
        *(("paused", paused(p)) for p in desk.pauses),
        *(("blocked", f"{block.symbol}: {block.reason}") for block in desk.blocks),
    ]
