"""`exchange`: how every worker process stands with the exchange, and to begin anew."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from tradewright.cli.exit import ExitCode
from tradewright.cli.invocation import (
    ByOption,
    Format,
    NothingFound,
    OutputOption,
    invocation_of,
    print_document,
    run,
    say,
)
from tradewright.cli.table import ago, print_table

if TYPE_CHECKING:
    from tradewright.app.exchange_control import ProcessLine
    from tradewright.ports import BreakerLine, ExchangeStatus

commands = typer.Typer(help="Breakers and request budgets of every worker process.")


def register(app: typer.Typer) -> None:
    app.add_typer(commands, name="exchange", no_args_is_help=True)


@commands.command()
def status(ctx: typer.Context, output: OutputOption = Format.TABLE) -> None:
    """Show the breakers and the request budget of every worker process.

    Exits 5 when a process does not answer; those that do are shown all the same.
    """
    from tradewright.app import exchange_control
    from tradewright.app.connect import connect

    settings = invocation_of(ctx).settings()
    now = datetime.now(UTC)

    async def work() -> "list[ProcessLine]":
        client = await connect(settings)
        return await exchange_control.exchange_status(client, settings.account, now=now)

    _show(run(work()), now, output)


@commands.command()
def reset(
    ctx: typer.Context,
    by: ByOption,
    name: Annotated[
        str,
        typer.Argument(
            metavar="[NAME]", help="A group (order), one bucket (order/create), or everything."
        ),
    ] = "",
    output: OutputOption = Format.TABLE,
) -> None:
    """Close the breakers, end pauses, and forget what others used of the budget.

    Exits 5 when a process does not answer, and 4 when none has anything of that name.
    """
    from tradewright.app import exchange_control
    from tradewright.app.connect import connect

    settings = invocation_of(ctx).settings()
    now = datetime.now(UTC)

    async def work() -> "list[ProcessLine]":
        client = await connect(settings)
        return await exchange_control.reset_exchange(
            client, settings.account, name=name, by=by, now=now
        )

    lines = run(work())
    answered = [line.status for line in lines if line.status]
    if name and answered and not any(status.was_reset for status in answered):
        known = sorted({name for status in answered for name in _names(status)})
        detail = f"it is one of {', '.join(known)}" if known else "nothing was asked yet"
        raise NothingFound(f"breaker or bucket {name!r} is in no process: {detail}")
    if output is Format.TABLE:
        for line in lines:
            if line.status:
                what = ", ".join(line.status.was_reset) or "nothing of that name"
                typer.echo(f"{line.process}: reset {what}")
    _show(lines, now, output)


def _names(status: "ExchangeStatus") -> set[str]:
    return {b.group for b in status.breakers} | {b.name for b in status.buckets}


def _show(lines: "Sequence[ProcessLine]", now: datetime, output: Format) -> None:
    if output is Format.JSON:
        print_document("exchange", processes=[line.model_dump(mode="json") for line in lines])
    else:
        _print_processes(lines, now)
    silent = [line for line in lines if line.status is None]
    for line in silent:
        say(
            f"error: process {line.process} gave {line.fault}; it was seen {ago(line.seen_at, now)}"
        )
    if silent:
        raise typer.Exit(ExitCode.UNREACHABLE)


def _print_processes(lines: "Sequence[ProcessLine]", now: datetime) -> None:
    print_table(
        ("PROCESS", "QUEUES", "SEEN", "CLOCK OF THE EXCHANGE", "FAULT"),
        [
            (
                line.process,
                ", ".join(line.queues),
                ago(line.seen_at, now),
                _skew(line.status.clock_skew_ms if line.status else None),
                line.fault,
            )
            for line in lines
        ],
    )
    answered = [(line.process, line.status) for line in lines if line.status]
    print_table(
        ("PROCESS", "BREAKER", "STATE", "SINCE", "FAILURES", "NEXT TRY", "LAST FAILURE"),
        [
            (
                process,
                breaker.group,
                breaker.state,
                ago(breaker.since, now),
                breaker.failures or "",
                _probe(breaker),
                breaker.detail,
            )
            for process, status in answered
            for breaker in status.breakers
        ],
        title="Breakers",
        empty="nothing was asked of the exchange yet",
    )
    print_table(
        ("PROCESS", "BUCKET", "USED", "BY OTHERS", "OF", "WAITING", "PAUSED"),
        [
            (
                process,
                bucket.name,
                bucket.used,
                bucket.foreign or "",
                f"{bucket.limit} in {bucket.period:g} s" if bucket.limit else "",
                bucket.waiting or "",
                f"{bucket.paused_for:.1f} s" if bucket.paused_for else "",
            )
            for process, status in answered
            for bucket in status.buckets
        ],
        title="Request budget",
        empty="nothing was asked of the exchange yet",
    )


def _skew(skew_ms: float | None) -> str:
    if skew_ms is None:
        return "unknown"
    return f"{abs(skew_ms):.0f} ms {'ahead' if skew_ms > 0 else 'behind'}"


def _probe(breaker: "BreakerLine") -> str:
    if breaker.state == "closed":
        return ""
    return f"in {breaker.probe_in:.1f} s" if breaker.probe_in else "with the next request"
