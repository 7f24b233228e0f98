"""`safe-mode` and `kill`: the gate of the account, and the way to flat."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

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
from tradewright.cli.kill_view import trip_without_temporal
from tradewright.cli.table import linked, words, words_of_step
from tradewright.domain.errors import TradewrightError

if TYPE_CHECKING:
    from temporalio.client import Client

    from tradewright.domain.gate import GateState
    from tradewright.ports import KillSwitchState
    from tradewright.settings import Settings

commands = typer.Typer(help="Halt the account and flatten it; or open its gate again.")


class Switch(StrEnum):
    ON = "on"
    OFF = "off"


def register(app: typer.Typer) -> None:
    app.command("safe-mode")(safe_mode)
    app.add_typer(commands, name="kill", no_args_is_help=True)


def safe_mode(
    ctx: typer.Context,
    switch: Annotated[
        Switch, typer.Argument(metavar="on|off", help="No entries; or entries again.")
    ],
    by: ByOption,
    reason: Annotated[str, typer.Option("--reason", help="Shown to everybody.")] = "",
    output: OutputOption = Format.TABLE,
) -> None:
    """Let nothing enter the market; exits, stops and open trades are still managed."""
    from tradewright.app import kill_switch
    from tradewright.domain.gate import GateState

    settings = invocation_of(ctx).settings()
    on = switch is Switch.ON

    async def send(client: "Client") -> "KillSwitchState":
        return await kill_switch.safe_mode(client, settings.account, on=on, reason=reason, by=by)

    if on:
        state = run(_tightened(settings, send, GateState.EXITS_ONLY, reason=reason, by=by))
    else:
        state = run(_told(settings, send))
    _show(settings, state, output)


@commands.command()
def trip(
    ctx: typer.Context,
    by: ByOption,
    reason: Annotated[
        str, typer.Option("--reason", help="Shown to everybody.")
    ] = "no reason given",
    wait: Annotated[
        bool, typer.Option("--wait", help="Return when flat was read twice and no order is left.")
    ] = False,
    direct: Annotated[
        bool,
        typer.Option(
            "--direct",
            help="Without Temporal: from this process; it ends when flat was read twice.",
        ),
    ] = False,
    yes: YesOption = False,
    output: OutputOption = Format.TABLE,
) -> None:
    """Halt the account: cancel every order that could enter, close every position.

    With --direct this process does it, for when Temporal or its workers are away. The exchange's
    key comes from Vault, else from BYBIT_API_KEY and BYBIT_API_SECRET, else you are asked. It may
    be interrupted and run again. It exits 0 when the account is flat and its gate closed, 5 when
    it is flat but the gate's row could not be closed.
    """
    from tradewright.app import kill_switch
    from tradewright.domain.gate import GateState

    settings = invocation_of(ctx).settings()
    confirm(
        f"halt account {settings.account} on {settings.venue} and close every position?", yes=yes
    )
    if direct:
        trip_without_temporal(settings, reason=reason, by=by, output=output)
        return

    async def send(client: "Client") -> "KillSwitchState":
        state = await kill_switch.trip(client, settings.account, reason=reason, by=by)
        if wait:
            say("kill switch tripped; waiting until flat was read twice (Ctrl-C does not stop it)")
            async for state in kill_switch.follow(client, settings.account):
                needs = f"; needs a person: {state.needs_operator}" if state.needs_operator else ""
                say(f"gate {words(state.gate.state)}, {words_of_step(state.step)}{needs}")
        return state

    _show(settings, run(_tightened(settings, send, GateState.HALTED, reason=reason, by=by)), output)


@commands.command()
def rearm(
    ctx: typer.Context,
    by: Annotated[str, typer.Option("--by", help="Your name: you take the responsibility.")],
    reason: Annotated[str, typer.Option("--reason", help="Why entries are safe again.")],
    output: OutputOption = Format.TABLE,
) -> None:
    """Open the gate again after a trip; while it still flattens, as soon as that is done."""
    from tradewright.app import kill_switch

    if not by.strip() or not reason.strip():
        raise typer.BadParameter("--by and --reason must say something")
    settings = invocation_of(ctx).settings()

    async def send(client: "Client") -> "KillSwitchState":
        return await kill_switch.rearm(client, settings.account, reason=reason, by=by)

    _show(settings, run(_told(settings, send)), output)


Send = Callable[["Client"], Awaitable["KillSwitchState"]]


async def _told(settings: "Settings", send: Send) -> "KillSwitchState":
    from tradewright.app.connect import connect

    return await send(await connect(settings))


async def _tightened(
    settings: "Settings", send: Send, state: "GateState", *, reason: str, by: str
) -> "KillSwitchState":
    """Send the wish; if it is not carried out now, close the gate's row, which entries obey."""
    from tradewright.app import kill_switch
    from tradewright.domain.gate import GateState

    try:
        return await _told(settings, send)
    except TradewrightError:
        now = datetime.now(UTC)
        try:
            gate = await kill_switch.close_gate(settings, state, reason=reason, by=by, now=now)
        except TradewrightError as e:
            say(f"the gate in the journal could not be closed either: {e}")
        else:
            say(
                f"gate of {gate.account} is {gate.state} in the journal: nothing enters from now "
                f"on; open positions keep their stops at the exchange"
            )
        if state is GateState.HALTED:
            say("`tradewright kill trip --direct` closes every position without Temporal")
        raise


def _show(settings: "Settings", state: "KillSwitchState", output: Format) -> None:
    from tradewright import ids
    from tradewright.domain.gate import GateState

    workflow_id = ids.kill_switch_workflow(settings.account)
    if output is Format.JSON:
        row = {"workflow_id": workflow_id, **state.model_dump(mode="json")}
        print_document("kill_switch", kill_switch=linked(row, settings))
        return
    gate = state.gate
    why = f": {gate.reason}" if gate.reason else ""
    by = f" by {gate.by}" if gate.by else ""
    typer.echo(f"{settings.account}: gate {words(gate.state)}{by}{why}")
    if state.meaning:
        typer.echo(f"that is: {state.meaning}")
    for line in state.also:
        typer.echo(f"also asked for by {line}")
    typer.echo(f"kill switch: {words_of_step(state.step)}  {settings.workflow_url(workflow_id)}")
    if state.needs_operator:
        typer.echo(f"needs a person: {state.needs_operator}")
    # The kill switch means something else where a rearm already waits for the flatten's end
    if gate.state is GateState.HALTED and state.meaning == gate.state.meaning:
        typer.echo("`tradewright kill rearm --by NAME --reason WHY` opens the gate again")
