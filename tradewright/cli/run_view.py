"""What runs show: addresses, a live table, a progress bar, the summary at the end."""

import os
import shutil
import sys
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import typer

from tradewright.cli.table import (
    cell,
    console,
    gain,
    price,
    print_facts,
    print_links,
    print_table,
    print_title,
    when,
)

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    from tradewright.app.audit import Audit
    from tradewright.app.conductor import Progress
    from tradewright.app.demo import Frame
    from tradewright.app.line import StrategyLine
    from tradewright.app.replay import Outcome
    from tradewright.journal import TradeRow
    from tradewright.settings import Settings

SHOWN_TRADES = 12
FRAME_LINES = 8
"""Of the live table, beside its rows: heads, spaces, and one line less than the terminal has."""
WHY_WIDTH = 24
COLUMNS = ("TRADE", "PRESET", "SYMBOL", "SIDE", "QTY", "ENTRY", "EXIT", "PNL", "STATE", "WHY")
NUMBERS = frozenset({"CANDLES", "TRADED", "REFUSED", "QTY", "ENTRY", "EXIT", "PNL"})
SPARED = ("PRESET", "QTY", "EXIT", "WHY", "ENTRY", "SIDE", "SYMBOL")
"""Columns that a narrow terminal goes without, the first first."""


def print_addresses(settings: "Settings") -> None:
    """Print where everything is, ready to be copied."""
    from rich.text import Text

    from tradewright.settings import RUNNING_FILE

    temporal = settings.temporal
    # The environment outranks a settings file
    home = f"TRADEWRIGHT_HOME={settings.home} " if "TRADEWRIGHT_HOME" in os.environ else ""
    tool, ours = command("temporal"), command("tradewright")
    for name, value in (
        ("Web UI", f"{temporal.ui_url}/namespaces/{settings.namespace}/workflows"),
        ("temporal", f"{tool} workflow list --address {temporal.address}"),
        ("tradewright", f"{home}{ours} --settings {settings.home / RUNNING_FILE} status"),
        ("exchange", settings.paper_url),
        ("logs", settings.logs),
    ):
        # Left to the terminal to wrap: what is copied is one line then
        console().print(Text.assemble((name.ljust(13), "bold"), str(value)), soft_wrap=True)


def command(name: str) -> str:
    """Return how *name* is called from here: by its path unless a shell finds it."""
    if shutil.which(name):
        return name
    return reachable(Path(sys.executable).parent / name)


def reachable(path: Path) -> str:
    """Return *path* as it is named from here: by a short way only where it lies below."""
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)


class LiveTable:
    """Strategies and trades as they stand: a live table on a terminal, news elsewhere."""

    def __init__(self, settings: "Settings", *, hint: str = "") -> None:
        from rich.live import Live

        self._settings = settings
        self._hint = hint
        self._told: dict[str, str] = {}
        self._live = Live(console=console(), auto_refresh=False) if sys.stdout.isatty() else None

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

    def show(self, frame: "Frame") -> None:
        if self._live is not None:
            size = self._live.console.size
            picture = live_picture(
                frame, self._settings, width=size.width, height=size.height, hint=self._hint
            )
            self._live.update(picture, refresh=True)
            return
        for trade in reversed(frame.trades):
            if self._told.get(trade.trade_id) != trade.state:
                self._told[trade.trade_id] = trade.state
                typer.echo(f"{when(frame.market_at)} UTC  {trade_line(trade)}")


def trade_line(trade: "TradeRow") -> str:
    """Return the news of *trade* as one line of a log."""
    words = [trade.state.value.ljust(9), trade.side.value.ljust(4), price(trade.qty), trade.symbol]
    if trade.entry_price is not None:
        words += ["at", price(trade.entry_price)]
    if trade.closed_at is not None and trade.exit_price is not None:
        words += ["->", price(trade.exit_price), gain(trade.pnl), "USDT,", _why(trade)]
    elif why := _why(trade):
        words.append(why)
    return " ".join(words)


def live_picture(
    frame: "Frame", settings: "Settings", *, width: int, height: int, hint: str = ""
) -> "Group":
    """Return what the live table shows on a terminal of that size, never wrapped or cut."""
    from rich.console import Group
    from rich.text import Text

    closed = frame.closed
    won = sum((trade.pnl for trade in closed), Decimal(0))
    many = "1 trade" if len(closed) == 1 else f"{len(closed)} trades"
    head = f"market clock {when(frame.market_at)} UTC · {many} closed"
    if closed:
        head += f" · {gain(won)} USDT"
    parts: list[Any] = [Text(f"\n{head}\n"), _strategies(frame.strategies, settings)]
    urls = [settings.workflow_url(line.workflow_id) for line in frame.strategies]
    parts += [Text(url, style=f"dim link {url}", overflow="fold") for url in urls]
    folded = sum(-(-len(url) // width) for url in urls)
    room = height - FRAME_LINES - len(frame.strategies) - folded - bool(hint)
    parts += [Text(), _trades(frame.trades[: max(1, min(SHOWN_TRADES, room))], settings, width)]
    if hint:
        parts.append(Text(hint, style="dim"))
    return Group(*parts)


def _strategies(lines: Sequence["StrategyLine"], settings: "Settings") -> "Table":
    table = _table(("STRATEGY", "STATE", "CANDLES", "TRADED", "REFUSED"))
    for line in lines:
        status = line.status
        counts = (status.candles, status.approved, status.refused) if status else ("", "", "")
        name = cell(line.name)
        name.stylize(f"link {settings.workflow_url(line.workflow_id)}")
        table.add_row(name, cell(line.state), *(cell(count) for count in counts))
    return table


def _trades(trades: Sequence["TradeRow"], settings: "Settings", width: int) -> "Table | Text":
    """Return *trades* without the columns that *width* has no room for."""
    from rich.text import Text

    if not trades:
        return Text("no trades yet", style="dim")
    rows = []
    for trade in trades:
        row = [cell(value) for value in _row(trade)]
        row[0].stylize(f"link {settings.workflow_url(trade.workflow_id)}")
        row[-1].truncate(WHY_WIDTH, overflow="ellipsis")
        rows.append(row)
    shown = list(range(len(COLUMNS)))
    for spared in SPARED:
        if sum(_width(rows, number) + 2 for number in shown) - 2 <= width:
            break
        shown.remove(COLUMNS.index(spared))
    table = _table([COLUMNS[number] for number in shown])
    for row in rows:
        table.add_row(*(row[number] for number in shown))
    return table


def _width(rows: Sequence[Sequence["Text"]], number: int) -> int:
    return max(len(COLUMNS[number]), *(row[number].cell_len for row in rows))


def _table(columns: Sequence[str]) -> "Table":
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold", show_edge=False)
    for column in columns:
        table.add_column(column, no_wrap=True, justify="right" if column in NUMBERS else "left")
    return table


def _row(trade: "TradeRow") -> tuple[Any, ...]:
    ended = trade.closed_at is not None and trade.exit_price is not None
    return (
        trade.trade_id,
        trade.preset,
        trade.symbol,
        trade.side.value,
        price(trade.qty),
        price(trade.entry_price),
        price(trade.exit_price),
        gain(trade.pnl) if ended else "",
        trade.state.value,
        _why(trade),
    )


def _why(trade: "TradeRow") -> str:
    """Return why *trade* left, or why it never entered."""
    reason = trade.exit_reason.value.replace("_", " ") if trade.exit_reason else ""
    return reason or trade.rejection


class ReplayBar:
    """A progress bar on a terminal; a line for every tenth elsewhere; both on stderr."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self._tenth = -1
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed}/{task.total} candles"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=not sys.stderr.isatty(),
        )
        self._task = self._bar.add_task("replay", total=None)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def show(self, progress: "Progress") -> None:
        at = when(progress.at)[:16]
        self._bar.update(
            self._task, completed=progress.step, total=progress.steps_total, description=at
        )
        if self._bar.disable and progress.steps_total:
            tenth = 10 * progress.step // progress.steps_total
            if tenth > self._tenth:
                self._tenth = tenth
                typer.echo(f"{at}  {progress.step}/{progress.steps_total} candles", err=True)


def print_summary(done: "Outcome", settings: "Settings", *, links: bool = True) -> None:
    """Print what a run has come to: trades, reasons, sums, and whether all books agree."""
    closed = [t for t in done.trades if t.opened_at is not None and not t.live]
    reasons = Counter(_why(t) for t in closed)
    pnl = sum((t.pnl for t in closed), Decimal(0))
    wins = sum(t.pnl > 0 for t in closed)
    if sys.stdout.isatty():
        print_title("Trades")
        screen = console()
        screen.print(_trades(done.trades, settings, screen.width))
    else:
        print_table(COLUMNS, [_row(t) for t in done.trades], title="Trades", empty="none")
    typer.echo()
    print_facts(
        (
            ("candles", done.candles),
            ("trades", f"{len(closed)} closed, {wins} won; {len(done.refusals)} signals refused"),
            ("exit reasons", ", ".join(f"{n} {why}" for why, n in reasons.most_common())),
            ("PnL", f"{gain(pnl)} USDT after fees"),
            ("fees", f"{sum((t.fees for t in closed), Decimal(0)):.2f} USDT"),
            ("equity", f"{done.equity:.2f} USDT"),
        )
    )
    print_audit(done.audit)
    if links:
        print_title("Web UI (while it runs: make demo ARGS=--keep)")
        print_links(settings, [t.workflow_id for t in done.trades])


def print_audit(found: "Audit") -> None:
    """Print what each book adds up to, and every difference between them."""
    report = found.report
    print_table(
        ("BOOK", "ORDERS", "EXECUTIONS", "TRADES", "FEES", "PNL"),
        [
            (name, book.orders, book.executions, book.trades, f"{book.fees:.8f}", f"{book.pnl:.8f}")
            for name, book in (
                ("exchange", report.exchange),
                ("journal", report.journal),
                ("Temporal", report.temporal),
            )
        ],
        title="Audit",
    )
    if report.differences:
        print_table(
            ("DIFFERENCE", "BOOK", "ID", "DETAIL"),
            [(d.kind, d.where, d.id, d.detail) for d in report.differences],
            title="Differences",
        )
    cash = found.cash
    print_table(
        ("OPENING", "TRADED", "FEES", "FUNDING", "MOVED", "WALLET", "UNREALISED", "EQUITY"),
        [
            [
                f"{sum_:f}"
                for sum_ in (
                    cash.opening,
                    cash.traded,
                    -cash.fees,
                    -cash.funding,
                    cash.moved,
                    cash.wallet,
                    cash.unrealised,
                    cash.equity,
                )
            ]
        ],
        title="Cash",
    )
    for fault in cash.faults:
        typer.echo(f"cash: {fault}")
    for torn in found.chain_faults:
        typer.echo(f"journal chain: {torn}")
    if report.ok and report.exchange.orders > report.journal.orders:
        typer.echo(
            "the exchange's ORDERS count the stops and targets that it made itself from ours"
        )
    if report.ok and report.exchange.pnl != report.journal.pnl:
        typer.echo("positions are open: the exchange's PNL is the cash that has moved for them")
    if found.ok:
        typer.echo("all three books agree; the cash adds up; the journal's chains are whole")
