"""Tables and numbers for people."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import typer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from tradewright.domain.account import Pause
    from tradewright.settings import Settings

UNLIMITED: Final = 100_000
DASH: Final = "-"
STYLES: Final[Mapping[str, str]] = {
    **dict.fromkeys(("open", "trading", "follows", "valid", "started", "changed"), "green"),
    **dict.fromkeys(("exits only", "paused", "exiting", "settling", "stopped"), "yellow"),
    **dict.fromkeys(("halted", "silent", "rejected"), "bold red"),
}


def console() -> "Console":
    """Return the way to stdout; what is no terminal gets lines of any length, never wrapped."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else UNLIMITED
    return Console(file=sys.stdout, width=width, highlight=False, markup=False, emoji=False)


def cell(value: Any) -> "Text":
    """Return *value* as it stands in a table: words in their colour, never read as markup."""
    from rich.text import Text

    text = DASH if value is None or value == "" else str(value)
    style = STYLES.get(text, "")
    if text[0] in "+-" and text[1:2].isdigit():
        style = "green" if text[0] == "+" else "red"
    return Text(text, style=style)


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[Any]], *, title: str = "", empty: str = ""
) -> None:
    """Print *rows*, without the columns that say nothing; without any row, the line *empty*."""
    from rich.table import Table

    values = [list(row) for row in rows]
    said = [n for n in range(len(columns)) if any(row[n] not in (None, "") for row in values)]
    if title:
        print_title(title)
    if not values:
        typer.echo(empty)
        return
    table = Table(box=None, pad_edge=False, header_style="bold", show_edge=False)
    for number in said:
        table.add_column(columns[number], overflow="fold")
    for row in values:
        table.add_row(*(cell(row[number]) for number in said))
    console().print(table)


def print_title(title: str) -> None:
    from rich.text import Text

    console().print(Text(f"\n{title}", style="bold"))


def print_facts(facts: Iterable[tuple[str, Any]]) -> None:
    """Print pairs of a name and a value, one per line; those without a value are left out."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, show_header=False, show_edge=False)
    table.add_column()
    table.add_column(overflow="fold")
    for name, value in facts:
        if value is not None and value != "":
            table.add_row(Text(name, style="bold"), cell(value))
    console().print(table)


def print_links(settings: "Settings", workflow_ids: Iterable[str]) -> None:
    """Print the Web UI's page of each workflow."""
    for workflow_id in dict.fromkeys(workflow_ids):
        typer.echo(f"{workflow_id}  {settings.workflow_url(workflow_id)}")


def linked(data: Any, settings: "Settings") -> Any:
    """Return JSON *data* with the ``url`` of every workflow that it names."""
    if isinstance(data, Mapping):
        found = {key: linked(value, settings) for key, value in data.items()}
        if workflow_id := data.get("workflow_id"):
            found["url"] = settings.workflow_url(workflow_id)
        return found
    if isinstance(data, list | tuple):
        return [linked(item, settings) for item in data]
    return data


def price(value: Decimal | str | None) -> str:
    """Return a price or quantity, exact up to eight digits that count.

    Example:
        >>> price(Decimal("43000.10")), price(Decimal(1) / 3), price(Decimal("1E+3"))
        ('43000.1', '0.33333333', '1000')
    """
    if value is None:
        return ""
    number = Decimal(value)
    places = max(0, 7 - number.adjusted())
    rounded = f"{round(number, places):f}"
    return rounded.rstrip("0").rstrip(".") if "." in rounded else rounded


def gain(value: Decimal | None, unit: str = "") -> str:
    """Return what was won or lost, with its sign.

    Example:
        >>> gain(Decimal("1.2345")), gain(Decimal("-0.5"), "R"), gain(None)
        ('+1.23', '-0.50R', '')
    """
    return "" if value is None else f"{value:+.2f}{unit}"


def share(fraction: Decimal) -> str:
    return f"{fraction:.2%}"


def when(at: datetime | None) -> str:
    return "" if at is None else f"{at:%Y-%m-%d %H:%M:%S}"


def paused(pause: "Pause") -> str:
    """Return until when nothing is entered, by which code, and why."""
    why = pause.reason.removeprefix(f"{pause.code}: ")
    return f"until {when(pause.until)} (market time) by {pause.code}: {why}"


def shortly(moment: str) -> str:
    """Return an ISO moment of a JSON document as people read it.

    Example:
        >>> shortly("2026-01-01T12:00:00.123456Z")
        '2026-01-01 12:00:00'
    """
    return moment[:19].replace("T", " ")


def words(code: str) -> str:
    """Return a code as people read it.

    Example:
        >>> words("stop_loss")
        'stop loss'
    """
    return code.replace("_", " ")


def words_of_step(step: str) -> str:
    """Return what the kill switch does as people say it; "waiting" sounds as if it waited for one.

    Example:
        >>> words_of_step("waiting"), words_of_step("closing positions")
        ('ready', 'closing positions')
    """
    return "ready" if step == "waiting" else step


def ago(at: datetime | None, now: datetime) -> str:
    """Return how long ago *at* was.

    Example:
        >>> from datetime import UTC
        >>> now = datetime(2026, 1, 1, 12, tzinfo=UTC)
        >>> ago(datetime(2026, 1, 1, 11, 58, 30, tzinfo=UTC), now), ago(now, now)
        ('1 min 30 s ago', '0 s ago')
    """
    if at is None:
        return "never"
    seconds = max(0, int((now - at) / timedelta(seconds=1)))
    hours, minutes = seconds // 3600, seconds // 60 % 60
    if seconds >= 48 * 3600:
        return f"{seconds // 86400} days ago"
    parts = (
        (f"{hours} h", hours),
        (f"{minutes} min", minutes),
        (f"{seconds % 60} s", not hours and (seconds % 60 or seconds < 60)),
    )
    return " ".join(text for text, wanted in parts if wanted) + " ago"
