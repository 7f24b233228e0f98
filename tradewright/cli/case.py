"""`case`: look at what a person has to decide, and decide it."""

from typing import TYPE_CHECKING, Annotated, Final

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
)
from tradewright.cli.table import (
    linked,
    print_facts,
    print_links,
    print_table,
    print_title,
    when,
    words,
)
from tradewright.domain.choice import Choice

if TYPE_CHECKING:
    from tradewright.app.case import CaseLine
    from tradewright.domain.case import Case, Decision
    from tradewright.settings import Settings

COLUMNS: Final = ("CASE", "SYMBOL", "KIND", "STATE", "SINCE", "ASKED", "CHOICES", "WHAT DIFFERS")

CaseArgument = Annotated[
    str, typer.Argument(metavar="CASE", help="Its workflow id, or a part of it that is its own.")
]

commands = typer.Typer(help="List, show and decide cases.")


def register(app: typer.Typer) -> None:
    app.add_typer(commands, name="case", no_args_is_help=True)


@commands.command("list")
def list_cases(
    ctx: typer.Context, links: LinksOption = False, output: OutputOption = Format.TABLE
) -> None:
    """List the cases that run: those that wait for a person first."""
    settings = invocation_of(ctx).settings()
    lines = run(_lines(settings))
    if output is Format.JSON:
        rows = [linked(line.model_dump(mode="json"), settings) for line in lines]
        print_document("cases", cases=rows)
        return
    print_table(
        COLUMNS,
        [
            (
                line.workflow_id,
                line.symbol,
                words(line.kind),
                line.state,
                when(line.since),
                f"{line.escalations + 1}x",
                ", ".join(line.choices),
                line.detail,
            )
            for line in lines
        ],
        empty="no cases",
    )
    if links:
        print_links(settings, [line.workflow_id for line in lines])


@commands.command()
def show(ctx: typer.Context, case: CaseArgument, output: OutputOption = Format.TABLE) -> None:
    """Show one case: what differs, since when, and what may be done."""
    settings = invocation_of(ctx).settings()
    workflow_id, found = run(_case(settings, case))
    _print(settings, workflow_id, found, output)


@commands.command()
def decide(
    ctx: typer.Context,
    case: CaseArgument,
    choice: Annotated[Choice, typer.Argument(help="What is to be done.")],
    by: ByOption,
    reason: Annotated[str, typer.Option("--reason", help="Why; written to the journal.")] = "",
    yes: YesOption = False,
    output: OutputOption = Format.TABLE,
) -> None:
    """Decide a case; it ends when a later comparison has verified it."""
    from tradewright.domain.case import Decision

    settings = invocation_of(ctx).settings()
    if choice is Choice.CLOSE:
        confirm(f"leave the market for case {case} on {settings.venue}?", yes=yes)
    decision = Decision(choice=choice, by=by, reason=reason)
    workflow_id, found = run(_decide(settings, case, decision))
    if output is Format.JSON:
        _print(settings, workflow_id, found, output)
        return
    typer.echo(f"{workflow_id}: {choice} by {by} accepted  {settings.workflow_url(workflow_id)}")


def _print(settings: "Settings", workflow_id: str, case: "Case", output: Format) -> None:
    if output is Format.JSON:
        row = {"workflow_id": workflow_id} | case.model_dump(mode="json")
        print_document("case", case=linked(row, settings))
        return
    opening, decision = case.opening, case.decision
    print_title(workflow_id)
    print_facts(
        [
            ("state", case.state),
            ("what differs", opening.detail),
            ("since", when(case.since)),
            ("asked", f"{case.escalations + 1}x"),
            ("asked again", case.remark),
            ("trade", opening.trade_id),
            ("choices", ", ".join(opening.choices)),
            ("decided", f"{decision.choice} by {decision.by}" if decision else ""),
            ("because", decision.reason if decision else ""),
            ("done", case.remedy),
            ("outcome", case.outcome),
        ]
    )
    print_links(settings, [workflow_id])


async def _lines(settings: "Settings") -> "list[CaseLine]":
    from tradewright.app.case import open_cases
    from tradewright.app.connect import connect

    return await open_cases(await connect(settings), settings.account)


async def _case(settings: "Settings", reference: str) -> "tuple[str, Case]":
    from tradewright.app.case import find_case, read_case
    from tradewright.app.connect import connect

    client = await connect(settings)
    workflow_id = await find_case(client, settings.account, reference)
    return workflow_id, await read_case(client, workflow_id)


async def _decide(settings: "Settings", reference: str, decision: "Decision") -> "tuple[str, Case]":
    from tradewright.app.case import decide as decide_case
    from tradewright.app.case import find_case
    from tradewright.app.connect import connect

    client = await connect(settings)
    workflow_id = await find_case(client, settings.account, reference)
    return workflow_id, await decide_case(client, workflow_id, decision)
