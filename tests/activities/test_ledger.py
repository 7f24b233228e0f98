"""The exchange's own books, read whole over the wire."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

from activities.ledger import fetch_cash
from tradewright.domain.cash import cash_report

LONG = timedelta(days=10)


async def test_the_cash_of_an_account_adds_up_over_the_wire(bench: Any) -> None:
    engine = bench.paper.exchange.engine
    now = await bench.pace.market_now()
    await bench.order("BTCUSDT", "Buy", "0.2")
    await bench.order("ETHUSDT", "Sell", "3")
    bench.move("BTCUSDT", bench.price() * Decimal("1.01").quantize(Decimal("0.01")))
    await bench.order("BTCUSDT", "Sell", "0.15", reduceOnly=True)
    bench.paper.exchange.change(lambda at: engine.fund("BTCUSDT", Decimal("0.0001"), at))
    bench.paper.exchange.change(lambda at: engine.transfer("main", Decimal("-500"), at))
    await bench.order("ETHUSDT", "Buy", "1")

    report = cash_report(await fetch_cash(bench.client, now - LONG, now + timedelta(minutes=1)))

    balance = engine.accounts["main"].balance
    assert report.ok, report.faults
    assert report.opening == balance.start == 100_000
    assert [report.traded, report.fees] == [balance.realised, balance.fees]
    assert [report.funding, report.moved] == [balance.funding, Decimal(-500)]
    assert report.funding > 0 < report.fees
    assert report.wallet == balance.cash


async def test_more_flows_than_a_page_holds_are_read_in_their_order(bench: Any) -> None:
    now = await bench.pace.market_now()
    for n in range(30):
        await bench.order("SOLUSDT", "Buy" if n % 2 else "Sell", "1")
        await bench.order("BTCUSDT", "Buy" if n % 3 else "Sell", "0.01")

    book = await fetch_cash(bench.client, now - LONG, now + timedelta(minutes=1))

    assert len(book.flows) >= 60
    assert cash_report(book).ok
