"""`kill trip --direct` as a person, or a program, sees it."""

import json
import sys
from types import TracebackType
from typing import TYPE_CHECKING, Self

import typer

from tradewright.cli.exit import ExitCode
from tradewright.cli.invocation import Format, print_document, run, say
from tradewright.cli.table import cell, console

if TYPE_CHECKING:
    from rich.console import Group

    from activities.secrets import ExchangeKey
    from tradewright.app.direct import DirectTrip, Progress
    from tradewright.settings import Settings

MOST_ROWS = 30
INTERRUPTED = (
    "interrupted before flat was read twice: orders that were sent stand, positions may be open; "
    "run the command again, it is safe"
)


def trip_without_temporal(settings: "Settings", *, reason: str, by: str, output: Format) -> None:
    """Get flat from this process, show how, and exit as it ended."""
    from tradewright import telemetry
    from tradewright.app.direct import trip_directly

    try:
        telemetry.configure("kill-direct", level="warning", logs=settings.logs)
    except OSError:
        telemetry.configure("kill-direct", level="error")
    view = DirectView(output)

    async def ask_key() -> "ExchangeKey | None":
        return view.ask_key()

    try:
        with view:
            done = run(
                trip_directly(settings, reason=reason, by=by, ask_key=ask_key, show=view.show)
            )
    except KeyboardInterrupt:
        say(INTERRUPTED)
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    _sum_up(done, output)
    if done.gate_fault:
        raise typer.Exit(ExitCode.UNREACHABLE)


def _sum_up(done: "DirectTrip", output: Format) -> None:
    if output is Format.JSON:
        print_document("direct_trip", direct_trip=done.model_dump(mode="json"))
    else:
        took = (done.flat_at - done.began_at).total_seconds()
        typer.echo(
            f"{done.account}: flat, read twice, no order left; {done.closed} positions closed, "
            f"{done.cancelled} entries cancelled, {took:.1f} s"
        )
    if done.gate_fault:
        say(
            f"the gate could not be closed: {done.gate_fault}\n"
            f"what runs may enter again: stop the workers, or run this command again when the "
            f"journal is back"
        )
    if done.journal_fault:
        say(f"the journal does not have it yet: {done.journal_fault}")
    if done.record_fault:
        say(f"there is no record of it: {done.record_fault}")
    elif done.gate_fault or done.journal_fault:
        say(f"the kill worker takes the record in when it is back: {done.record}")
    if not done.gate_fault:
        say("`tradewright kill rearm --by NAME --reason WHY` opens the gate again")


class DirectView:
    """A table on a terminal, lines elsewhere, JSON lines on stderr for a program."""

    def __init__(self, output: Format) -> None:
        from rich.live import Live

        self._output = output
        self._said: set[str] = set()
        self._last = ""
        is_live = output is Format.TABLE and sys.stdout.isatty()
        self._live = Live(console=console(), auto_refresh=False) if is_live else None

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, progress: "Progress") -> None:
        line = f"{progress.step}; {progress.remark}" if progress.remark else progress.step
        if self._output is Format.JSON:
            self._print_json(progress)
        elif line != self._last:
            if self._live is not None:
                self._live.console.print(f"{progress.at:%H:%M:%S}  {line}")
            else:
                say(line)
        self._last = line
        if self._live is not None:
            self._live.update(_picture(progress), refresh=True)

    def ask_key(self) -> "ExchangeKey | None":
        """Ask the person at the terminal; None where there is none."""
        from pydantic import SecretStr

        from activities.secrets import ExchangeKey
        from tradewright.app.trip_key import KEY_VARIABLE, SECRET_VARIABLE

        say(f"vault gives no key, and {KEY_VARIABLE} and {SECRET_VARIABLE} are not set")
        if not sys.stdin.isatty():
            return None
        if self._live is not None:
            self._live.stop()
        try:
            key = typer.prompt("API key", hide_input=True, err=True)
            secret = typer.prompt("API secret", hide_input=True, err=True)
        finally:
            if self._live is not None:
                self._live.start()
        return ExchangeKey(api_key=SecretStr(key), api_secret=SecretStr(secret))

    def _print_json(self, progress: "Progress") -> None:
        held = progress.exposure
        told = {
            "step": progress.step,
            "remark": progress.remark,
            "positions": len(held.positions) if held else None,
        }
        if (line := json.dumps(told, ensure_ascii=False)) not in self._said:
            self._said.add(line)
            say(json.dumps({"at": progress.at.isoformat(), **told}, ensure_ascii=False))


def _picture(progress: "Progress") -> "Group":
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold", show_edge=False)
    for name in ("symbol", "side", "held", "USDT", "pnl"):
        table.add_column(name)
    held = progress.exposure.positions if progress.exposure else ()
    for position in held[:MOST_ROWS]:
        worth, pnl = f"{position.notional:,.2f}", f"{position.unrealised_pnl:+,.2f}"
        cells = (position.symbol, position.side, f"{position.qty:f}", worth, pnl)
        table.add_row(*(cell(value) for value in cells))
    many = f"{len(held)} positions" if held else "nothing is held"
    return Group(Text(f"\n{many if progress.exposure else ''}", style="bold"), table)
