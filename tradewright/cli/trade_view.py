"""One trade, for a person who wants to know everything."""

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import typer

from tradewright.cli.table import gain, price, print_facts, print_table, print_title, shortly

if TYPE_CHECKING:
    from tradewright.app.trade_page import TradePage
    from tradewright.ports import MarketView
    from tradewright.settings import Settings


VIRTUAL = "nothing of it is at the exchange"


def print_page(page: "TradePage", settings: "Settings") -> None:
    line, trade = page.line, page.trade or {}
    print_facts(
        (
            ("trade", line.trade_id),
            ("state", line.state),
            ("virtual", VIRTUAL if page.workflow_id.startswith("shadow/") else ""),
            ("needs a person", line.needs_operator),
            ("choices", ", ".join(page.choices)),
            ("side", f"{line.side} {price(line.qty)} {line.symbol}"),
            ("preset", line.preset),
            ("entered at", price(line.entry_price)),
            ("opened", _time(line.opened_at)),
            ("stop", price(line.stop)),
            ("target", _targets(trade, line.take_profit)),
            ("moved", _moved(trade)),
            ("trailed by", trade.get("trailed_by") or ""),
            ("left at", _average(trade)),
            ("closed", _time(line.closed_at)),
            ("why it left", (_reason(trade) or line.exit_reason) if line.exit_reason else ""),
            ("PnL", f"{line.pnl:+.4f} USDT, after fees" if line.pnl is not None else ""),
            ("funding", f"{funding:+f} USDT" if (funding := _number(trade, "funding")) else ""),
            ("R", gain(line.r_multiple)),
            ("Web UI", settings.workflow_url(page.workflow_id)),
        )
    )
    if plan := trade.get("plan"):
        _print_plan(plan)
    _print_views(page)
    _print_orders(page)
    print_table(
        ("EXECUTION", "AT", "SIDE", "QTY", "PRICE", "FEE", "CAUSE"),
        [
            (
                row["exec_id"],
                shortly(row["at"]),
                row["side"],
                price(row["qty"]),
                price(row["price"]),
                price(row["fee"]),
                row.get("cause") or "",
            )
            for row in page.executions
        ],
        title="Executions",
        empty="none",
    )
    print_table(
        ("AT", "EVENT", "DETAIL"),
        [(shortly(moment.at), moment.kind, moment.detail) for moment in page.history],
        title="History",
        empty="the journal has nothing of it",
    )
    for remark in page.remarks:
        typer.echo(f"note: {remark}", err=True)


def _moved(trade: dict[str, Any]) -> str:
    """Return who has moved the trade to which exits, and why."""
    return "; ".join(
        f"exits of version {each['preset_hash']} instead of {each['from_hash']}, by {each['by']}: "
        f"{each['reason']}"
        for each in trade.get("migrations", ())
    )


def _print_plan(plan: dict[str, Any]) -> None:
    qty, entry, stop = (Decimal(plan[key]) for key in ("qty", "price", "stop_loss"))
    print_title("Plan")
    print_facts(
        (
            ("decided", shortly(plan["decided_at"])),
            ("candle closed", shortly(plan["trigger"])),
            ("because", plan["reason"] or plan["origin"]),
            ("version", plan["preset_hash"]),
            ("expected entry", price(plan["price"])),
            ("worth", f"{qty * entry:.2f} USDT"),
            ("at risk", f"{qty * abs(entry - stop):.2f} USDT"),
            ("stop", price(plan["stop_loss"])),
            ("target", price(plan["take_profit"])),
            ("leverage", price(plan["leverage"])),
        )
    )


def _print_views(page: "TradePage") -> None:
    moments: list[tuple[str, dict[str, Any]]] = []
    seen = dict(page.factors) | dict((page.trade or {}).get("plan", {}).get("market", {}))
    if seen:
        moments.append(("At the signal", seen))
    for title, view in (("At the open", page.open_view), ("At the close", page.close_view)):
        if view is not None:
            moments.append((title, _facts(view)))
    for title, facts in moments:
        print_title(title)
        print_facts(
            (name, f"{value:.8g}" if isinstance(value, float) else value)
            for name, value in facts.items()
        )


def _facts(view: "MarketView") -> dict[str, Any]:
    return {"price": price(view.price), **view.factors, **view.market}


def _print_orders(page: "TradePage") -> None:
    print_table(
        ("ORDER", "LEG", "STATE", "SIDE", "QTY", "FILLED", "PRICE", "SENT", "DETAIL"),
        [
            (
                row["order_link_id"] or row["order_id"],
                row["leg"],
                row["state"],
                row["side"],
                price(row["qty"]),
                price(row["filled_qty"]),
                price(row["price"]),
                shortly(row["sent_at"]),
                row["detail"],
            )
            for row in page.orders
        ],
        title="Orders",
        empty="none",
    )


def _number(trade: dict[str, Any], key: str) -> Decimal:
    return Decimal(trade.get(key) or 0)


def _targets(trade: dict[str, Any], take_profit: Decimal | None) -> str:
    """Return at what prices which parts are taken, the last one taking the rest."""
    parts = [f"{order['qty']} at {price(order['price'])}" for order in trade.get("targets", ())]
    rest = f"the rest at {price(take_profit)}" if parts else price(take_profit)
    return ", ".join([*parts, rest] if take_profit is not None else parts)


def _average(trade: dict[str, Any]) -> str:
    """Return at what price it left, on the average."""
    side = trade.get("plan", {}).get("side")
    exits = [e for e in trade.get("executions", ()) if e["side"] != side]
    qty = sum((Decimal(e["qty"]) for e in exits), Decimal(0))
    if not qty:
        return ""
    return price(sum((Decimal(e["qty"]) * Decimal(e["price"]) for e in exits), Decimal(0)) / qty)


def _reason(trade: dict[str, Any]) -> str:
    reason = trade.get("exit_reason") or ""
    told = [trade.get("exit_note"), f"by {trade['exit_by']}" if trade.get("exit_by") else ""]
    detail = ", ".join(part for part in told if part)
    return f"{reason} ({detail})" if reason and detail else reason


def _time(at: Any) -> str:
    return "" if at is None else f"{at:%Y-%m-%d %H:%M:%S} UTC"
