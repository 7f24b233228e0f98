"""All that is known of one trade: from its workflow while it answers, and from the journal."""

from typing import TYPE_CHECKING, Any, Final

from pydantic import Field
from temporalio.client import Client

from tradewright.app.line import TradeLine, line_of_row, line_of_trade
from tradewright.app.survey import running_trades
from tradewright.app.wish import NotRunning, NoWorkerAnswers, TemporalFailed, ask
from tradewright.domain.errors import TradewrightError
from tradewright.domain.event import EventKind, JournalEvent
from tradewright.domain.market import Value
from tradewright.domain.record import read_back
from tradewright.domain.trade import Trade, TradeEvent
from tradewright.ports import Choice, MarketView, TradeView

if TYPE_CHECKING:
    from tradewright.journal import ExecutionRow, Journal, OrderRow, TradeRow

SHORTEST_REFERENCE: Final = 4
SEARCHED: Final = 2000
"""Trades of the journal, newest first, among which the beginning of an id is looked for."""


class TradeUnknown(TradewrightError):
    def __init__(self, reference: str, detail: str) -> None:
        super().__init__(f"trade {reference} is not known: {detail}; see `tradewright trade list`")
        self.reference = reference


class TradeAmbiguous(TradewrightError):
    def __init__(self, reference: str, found: list[str]) -> None:
        super().__init__(
            f"trade {reference} may be any of {len(found)}: {', '.join(found[:5])}; "
            f"write more of it"
        )


class Moment(Value):
    """One event of a trade's history."""

    at: str
    chain: str
    kind: str
    detail: str


class TradePage(Value):
    """One trade; what the journal does not hold, or nobody answers, is missing."""

    workflow_id: str
    line: TradeLine
    live: bool
    choices: tuple[Choice, ...] = ()
    """What `trade resolve` may say, if it needs a person."""
    trade: dict[str, Any] | None
    """As its workflow, or else its last journaled event, tells it."""
    orders: tuple[dict[str, Any], ...] = ()
    executions: tuple[dict[str, Any], ...] = ()
    factors: dict[str, float | None] = Field(default_factory=dict)
    open_view: MarketView | None = None
    close_view: MarketView | None = None
    history: tuple[Moment, ...] = ()
    remarks: tuple[str, ...] = ()


async def find_trade(
    client: Client | None, journal: "Journal | None", account: str, reference: str
) -> str:
    """Return the id of the workflow that *reference* means.

    Args:
        client: Of the venue's namespace; None looks into the journal alone.
        journal: None asks Temporal alone, which knows the running trades.
        account: Name of the account.
        reference: A workflow id, a trade id, or the beginning of one.

    Raises:
        TradeUnknown: Neither knows it.
        TradeAmbiguous: The beginning of several.
    """
    kind, _, rest = reference.partition("/")
    if kind in {"trade", "shadow"} and "/" in rest:
        return reference
    if len(reference) < SHORTEST_REFERENCE:
        raise TradeUnknown(reference, f"at least {SHORTEST_REFERENCE} characters are needed")
    found: dict[str, str] = {}
    if client is not None:
        for workflow_id in await running_trades(client, account):
            # Of two with one id, where a preset was promoted in between, the real one is meant
            found.setdefault(workflow_id.rpartition("/")[2], workflow_id)
    if reference not in found and journal is not None:
        row = await journal.trade(reference)
        if row is not None:
            return row.workflow_id
        for shadow in (False, True):
            for row in await journal.trades(account, shadow=shadow, limit=SEARCHED):
                found.setdefault(row.trade_id, row.workflow_id)
    if reference in found:
        return found[reference]
    matching = sorted(trade for trade in found if trade.startswith(reference))
    if len(matching) > 1:
        raise TradeAmbiguous(reference, matching)
    if not matching:
        raise TradeUnknown(reference, "no running trade and none of the journal has this id")
    return found[matching[0]]


async def trade_page(
    client: Client | None, journal: "Journal | None", workflow_id: str
) -> TradePage:
    """Return all that is known of the trade of *workflow_id*.

    Raises:
        TradeUnknown: Nobody knows it.
    """
    kind, _, rest = workflow_id.partition("/")
    trade_id, is_shadow = rest.rpartition("/")[2], kind == "shadow"
    remarks: list[str] = []
    view: TradeView | None = None
    if client is not None:
        try:
            view = await ask(client, workflow_id, "trade", TradeView)
        except (NoWorkerAnswers, TemporalFailed) as e:
            remarks.append(str(e))
        except NotRunning:
            pass
    row: TradeRow | None = None
    orders: tuple[OrderRow, ...] = ()
    executions: tuple[ExecutionRow, ...] = ()
    history: tuple[Moment, ...] = ()
    told: Trade | None = view.trade if view else None
    if journal is not None:
        row = await journal.trade(trade_id, shadow=is_shadow)
        orders = await journal.orders(trade_id)
        executions = await journal.executions(trade_id)
        written = [each.event for each in await journal.trade_history(trade_id)]
        # What is of both, such as the decision, is of one of them alone
        other = EventKind.TRADE_CHANGED if is_shadow else EventKind.SHADOW_CHANGED
        events = [event for event in written if event.kind is not other]
        history = tuple(
            Moment(
                at=event.at.isoformat(),
                chain=event.chain,
                kind=event.kind,
                detail=_detail(event.kind, event.data),
            )
            for event in events
        )
        told = told or _as_journaled(events)
    if told is None and row is None:
        raise TradeUnknown(workflow_id, remarks[0] if remarks else "nobody has heard of it")
    needs = view.needs_operator if view else ""
    if told is not None:
        line = line_of_trade(told, workflow_id, needs or (row.needs if row else ""))
    else:
        assert row is not None  # noqa: S101 - one of both is there
        line = line_of_row(row)
    return TradePage(
        workflow_id=workflow_id,
        line=line,
        live=line.closed_at is None if told is None else not told.is_final,
        choices=view.choices if view else (),
        trade=told.model_dump(mode="json") if told else None,
        orders=tuple(order.model_dump(mode="json") for order in orders),
        executions=_executions(told, executions),
        factors=dict(told.plan.factors) if told else row.factors if row else {},
        open_view=row.open_view if row else None,
        close_view=row.close_view if row else None,
        history=history,
        remarks=tuple(remarks),
    )


def _as_journaled(events: list[JournalEvent]) -> Trade | None:
    """Return the trade as the last event that brings it, and the fills since then, left it."""
    later: list[TradeEvent] = []
    for event in reversed(events):
        if event.kind not in {EventKind.TRADE_CHANGED, EventKind.SHADOW_CHANGED}:
            continue
        if "trade" in event.data:
            trade = read_back(Trade, event.data["trade"])
            for change in reversed(later):
                trade = trade.after(change)
            return trade
        later.append(read_back(TradeEvent, event.data["event"]))
    return None


def _executions(told: Trade | None, rows: "tuple[ExecutionRow, ...]") -> tuple[dict[str, Any], ...]:
    """Return what the workflow counted, which the journal may not have yet."""
    if told is not None and len(told.executions) > len(rows):
        return tuple(execution.model_dump(mode="json") for execution in told.executions)
    return tuple(row.model_dump(mode="json") for row in rows)


def _detail(kind: EventKind, data: dict[str, Any]) -> str:
    """Return in a line what an event says."""
    match kind:
        case EventKind.TRADE_CHANGED | EventKind.SHADOW_CHANGED:
            event = data.get("event", {})
            state = data.get("trade", {}).get("state", "")
            told = [
                f"{key} {event[key]}"
                for key in ("reason", "note", "by", "price", "qty", "order_link_id")
                if event.get(key)
            ]
            if execution := event.get("execution"):
                told = [f"{execution[key]}" for key in ("side", "qty", "price") if key in execution]
            # Among fills that come at once the state stays, and is told by the last
            led_to = f" → {state}" if state else ""
            return f"{event.get('kind', '')}{led_to}" + (f": {', '.join(told)}" if told else "")
        case EventKind.SIGNAL_APPROVED:
            plan = data.get("plan", {})
            return (
                f"{plan.get('side')} {plan.get('qty')} {plan.get('symbol')}: {plan.get('reason')}"
            )
        case EventKind.SIGNAL_REFUSED:
            return f"{data.get('code')}: {data.get('reason')}"
        case EventKind.ENTRY_INTENDED:
            return str(data.get("order_link_id", ""))
        case EventKind.DISCREPANCY:
            found = data.get("discrepancy", {})
            return f"{found.get('kind')}: {found.get('detail')}; {data.get('remedy')}"
        case EventKind.MESSAGE_REFUSED:
            return str(data.get("fault", ""))
        case _:
            return ""
