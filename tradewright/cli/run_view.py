"""What runs show: addresses, a live table, a progress bar, the summary at the end."""

import shutil
import sys
from collections import Counter
from decimal import Decimal
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import typer

from tradewright import ids
from tradewright.cli.table import (
    cell,
    console,
    gain,
    price,
    print_facts,
    print_links,
    print_table,
    when,
)

if TYPE_CHECKING:
    from rich.console import Group

    from tradewright.app.audit import Audit
    from tradewright.app.conductor import Progress
    from tradewright.app.demo import Frame
    from tradewright.app.replay import Outcome
    from tradewright.journal import TradeRow
    from tradewright.settings import Settings

SHOWN_TRADES = 12
COLUMNS = ("TRADE", "PRESET", "SYMBOL", "SIDE", "QTY", "ENTRY", "EXIT", "PNL", "STATE", "WHY")


def print_addresses(settings: "Settings") -> None:
    """Print where everything is, ready to be copied."""
    from tradewright.settings import RUNNING_FILE

    temporal = settings.temporal
    print_facts(
        (
            ("Web UI", f"{temporal.ui_url}/namespaces/{settings.namespace}/workflows"),
            ("temporal", f"temporal workflow list --address {temporal.address}"),
            ("tradewright", f"tradewright --settings {settings.home / RUNNING_FILE} status"),
            ("exchange", settings.paper_url),
            ("logs", settings.logs),
        )
    )


class LiveTable:
    """Strategies and trades as they stand: a live table on a terminal, news elsewhere."""

    def __init__(self, settings: "Settings") -> None:
        from rich.live import Live

        self._settings = settings
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
            self._live.update(_picture(frame, self._settings), refresh=True)
            return
        for trade in reversed(frame.trades):
            if self._told.get(trade.trade_id) != trade.state:
                self._told[trade.trade_id] = trade.state
                typer.echo(f"{when(frame.market_at)}  {_line(trade)}")


def _line(trade: "TradeRow") -> str:
    words = [trade.state.value.ljust(9), trade.side.value.ljust(4), price(trade.qty), trade.symbol]
    if trade.entry_price is not None:
        words += ["at", price(trade.entry_price)]
    if trade.closed_at is not None and trade.exit_reason is not None:
        words += [f"-> {price(trade.exit_price)}", f"{gain(trade.pnl)} USDT", trade.exit_reason]
    return " ".join(words)


def _picture(frame: "Frame", settings: "Settings") -> "Group":
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    height = shutil.get_terminal_size().lines
    strategies = Table(box=None, pad_edge=False, header_style="bold", show_edge=False)
    for column in ("STRATEGY", "STATE", "CANDLES", "TRADED", "REFUSED", "WEB UI"):
        strategies.add_column(column, overflow="ellipsis", no_wrap=True)
    for line in frame.strategies:
        status = line.status
        url = settings.workflow_url(line.workflow_id)
        strategies.add_row(
            cell(line.name),
            cell(line.state),
            cell(status.candles if status else ""),
            cell(status.approved if status else ""),
            cell(status.refused if status else ""),
            Text(url, style=f"link {url}"),
        )
    trades = Table(box=None, pad_edge=False, header_style="bold", show_edge=False)
    for column in COLUMNS:
        trades.add_column(column, no_wrap=True)
    for trade in frame.trades[: max(3, min(SHOWN_TRADES, height - 14))]:
        url = settings.workflow_url(ids.trade_workflow(trade.symbol, trade.trade_id))
        row = [cell(value) for value in _row(trade)]
        row[0].stylize(f"link {url}")
        trades.add_row(*row)
    head = Text(f"\nmarket {when(frame.market_at)} UTC · {len(frame.closed)} trades closed\n")
    return Group(head, strategies, Text(), trades)


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
        trade.exit_reason.value if ended and trade.exit_reason else trade.rejection,
    )


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
    reasons = Counter(str(t.exit_reason) for t in closed)
    pnl = sum((t.pnl for t in closed), Decimal(0))
    wins = sum(t.pnl > 0 for t in closed)
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
    for fault in found.chain_faults:
        typer.echo(f"journal chain: {fault}")
    if found.ok:
        typer.echo("all three books agree; the journal's chains are whole")
