"""`notice list|acknowledge|test`: what people were told, and who answers for it."""

from typing import TYPE_CHECKING, Annotated, Final

import typer

from tradewright.cli.exit import ExitCode
from tradewright.cli.invocation import (
    ByOption,
    Format,
    OutputOption,
    invocation_of,
    print_document,
    run,
    say,
)
from tradewright.cli.table import linked, print_table, when

if TYPE_CHECKING:
    from tradewright.domain.notification import Delivery
    from tradewright.ports import Notices, OpenNotice, SentNotice
    from tradewright.settings import Settings

SHOWN: Final = 10

commands = typer.Typer(help="See what people were told, answer for it, try the receivers.")


def register(app: typer.Typer) -> None:
    app.add_typer(commands, name="notice", no_args_is_help=True)


@commands.command("list")
def list_notices(
    ctx: typer.Context,
    sent: Annotated[
        int, typer.Option("--sent", min=0, help="So many of the messages sent last.")
    ] = SHOWN,
    output: OutputOption = Format.TABLE,
) -> None:
    """List the notices that are open, and the messages that were sent, the newest first.

    Exits 1 when a message was given up.
    """
    settings = invocation_of(ctx).settings()

    async def work() -> "Notices":
        from tradewright.app import notice
        from tradewright.app.connect import connect

        return await notice.notices(await connect(settings), settings.account)

    _show(run(work()), settings, output, sent)


@commands.command()
def acknowledge(
    ctx: typer.Context,
    key: Annotated[str, typer.Argument(metavar="KEY", help="As `notice list` shows it.")],
    by: ByOption,
    output: OutputOption = Format.TABLE,
) -> None:
    """Answer for a notice: you look after it, and it is not repeated any more."""
    settings = invocation_of(ctx).settings()

    async def work() -> "Notices":
        from tradewright.app import notice
        from tradewright.app.connect import connect

        client = await connect(settings)
        return await notice.acknowledge(client, settings.account, key, by=by)

    _show(run(work()), settings, output, 0)


@commands.command("test")
def try_receivers(ctx: typer.Context, by: ByOption, output: OutputOption = Format.TABLE) -> None:
    """Send one message to every receiver, from where notices are sent, and say who got it.

    Exits 1 when one of them did not take it.
    """
    settings = invocation_of(ctx).settings()

    async def work() -> "Delivery":
        from tradewright.app import notice
        from tradewright.app.connect import connect

        return await notice.try_receivers(await connect(settings), settings.account, by=by)

    delivery = run(work())
    if output is Format.JSON:
        print_document("notice_test", notice_test=delivery.model_dump(mode="json"))
    else:
        rows = [(name, "took it", "") for name in delivery.delivered]
        rows += [(f.receiver, "did not take it", f.reason) for f in delivery.failed]
        print_table(
            ("RECEIVER", "RESULT", "REASON"), rows, empty="no receiver is set: only the log is told"
        )
    if delivery.failed:
        raise typer.Exit(ExitCode.FAILED)


def _show(found: "Notices", settings: "Settings", output: Format, sent: int) -> None:
    shown = found.model_copy(update={"sent": found.sent[:sent]})
    if output is Format.JSON:
        print_document("notices", notices=linked(shown.model_dump(mode="json"), settings))
    else:
        print_table(
            ("KEY", "PRIORITY", "WHAT", "SINCE", "TOLD", "ANSWERED BY", "AGAIN"),
            map(_open_row, shown.open),
            empty="nothing is open",
        )
        if shown.sent:
            print_table(
                ("SENT", "PRIORITY", "MESSAGE", "TOOK IT", "DID NOT", "AGAIN"),
                map(_sent_row, shown.sent),
                title="Messages",
            )
        for fault in found.faults:
            typer.echo(f"{fault.receiver or 'sending'} fails: {fault.reason}")
    if found.needs_operator:
        say(f"error: {found.needs_operator}")
        raise typer.Exit(ExitCode.FAILED)


def _open_row(notice: "OpenNotice") -> tuple[object, ...]:
    return (
        notice.key,
        notice.priority,
        notice.title,
        when(notice.since),
        notice.told,
        notice.acknowledged_by,
        when(notice.next_at),
    )


def _sent_row(message: "SentNotice") -> tuple[object, ...]:
    return (
        when(message.at),
        message.priority,
        message.title,
        ", ".join(message.delivered),
        ", ".join(f.receiver or "all" for f in message.failed),
        when(message.again_at),
    )
