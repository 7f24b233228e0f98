"""Bybit's JSON of what an account holds: positions, wallet, log of its cash."""

from decimal import Decimal

from tradewright.domain.market import Side
from tradewright.matching import Account, ExecType, MarginMode, Position, StopKind
from tradewright.paper.clock import ms
from tradewright.paper.query import Booking, Transfer
from tradewright.paper.wire import COIN, ZERO, Row, cents, num, stamp

_TAKER_FLOOR = Decimal("0.00055")


def position_row(position: Position, account: Account) -> Row:
    return _position(position, account, "", "")


def position_message(position: Position, account: Account) -> Row:
    """Return what the stream says; it spells nothing as zero where REST leaves it out."""
    row = _position(position, account, "0", "0")
    row["category"] = "linear"
    row["entryPrice"] = row.pop("avgPrice")
    return row


def _position(position: Position, account: Account, none: str, session: str) -> Row:
    symbol, size = position.symbol, position.size
    mark = account.board.mark.get(symbol, ZERO)
    risk_id, limit = _tier(account, symbol)
    value = liquidation = unrealised = break_even = take_profit = stop_loss = none
    margin = maintenance = trail = "0"
    if size:
        value, unrealised = cents(position.cost), cents(position.unrealised(mark))
        break_even = cents(_break_even(position, account))
        margin = cents(account.initial_margin_of(symbol))
        maintenance = cents(account.maintenance_margin_of(symbol))
        price = account.liq_price(symbol)
        liquidation = _on_tick(price, position, account) if price is not None else ""
        stops = account.stops(symbol)
        if target := stops.get(StopKind.TAKE_PROFIT):
            take_profit = num(target.trigger_price)
        if stop := stops.get(StopKind.STOP_LOSS):
            stop_loss = num(stop.trigger_price)
        if trailing := stops.get(StopKind.TRAILING):
            trail = num(trailing.trail)
    return {
        "positionIdx": 0,
        "riskId": risk_id,
        "riskLimitValue": num(limit),
        "symbol": symbol,
        "side": position.side if size else "",
        "size": num(size),
        "avgPrice": cents(position.avg_price) if size else "0",
        "positionValue": value,
        "autoAddMargin": int(position.auto_add_margin),
        "positionStatus": "Normal",
        "leverage": num(position.leverage),
        "breakEvenPrice": break_even,
        "markPrice": num(mark),
        "liqPrice": liquidation,
        "positionIM": margin,
        "positionIMByMp": margin,
        "positionMM": maintenance,
        "positionMMByMp": maintenance,
        "takeProfit": take_profit,
        "stopLoss": stop_loss,
        "trailingStop": trail,
        "sessionAvgPrice": session,
        "delta": "",
        "gamma": "",
        "vega": "",
        "theta": "",
        "unrealisedPnl": unrealised,
        "curRealisedPnl": cents(position.realised),
        "cumRealisedPnl": cents(position.total_realised),
        "adlRankIndicator": 2 if size else 0,
        "createdTime": stamp(position.created) if position.created else "0",
        "updatedTime": stamp(position.updated) if position.updated else "0",
        "openTime": ms(position.opened) if size and position.opened else 0,
        "seq": position.seq,
        "isReduceOnly": False,
        "mmrSysUpdatedTime": "",
        "leverageSysUpdatedTime": "",
        "tpslMode": "Full",
        "bustPrice": "",
        "positionBalance": margin,
        "tradeMode": 0,
    }


def _on_tick(price: Decimal, position: Position, account: Account) -> str:
    """Return *price* as the first that a mark can have at which *position* is liquidated."""
    rules = account.board.markets[position.symbol].instrument
    is_long = position.side is Side.BUY
    return num(rules.floor_price(price) if is_long else rules.ceil_price(price))


def _tier(account: Account, symbol: str) -> tuple[int, Decimal]:
    """Return the number of the risk tier, and the value at which it ends."""
    ladder, value = account.board.markets[symbol].ladder, account.value_with(symbol)
    highest = len(ladder) - 1
    number = next((n for n, tier in enumerate(ladder) if value <= tier.limit), highest)
    return number + 1, ladder[number].limit


def _break_even(position: Position, account: Account) -> Decimal:
    """Return the documented formula; its fee enters the denominator."""
    sign = position.side.sign
    held = position.size * sign
    below = held - position.size * max(account.profile.fees.taker, _TAKER_FLOOR)
    return (position.cost * sign - position.realised) / below


def added_margin_row(position: Position, account: Account) -> Row:
    """Return the answer to more or less margin, which tells some of the position."""
    row = position_row(position, account)
    return {"category": "linear"} | {name: row[name] for name in _OF_ADDED_MARGIN}


_OF_ADDED_MARGIN = (
    "symbol",
    "positionIdx",
    "riskId",
    "riskLimitValue",
    "size",
    "avgPrice",
    "liqPrice",
    "bustPrice",
    "markPrice",
    "positionValue",
    "leverage",
    "autoAddMargin",
    "positionStatus",
    "positionIM",
    "positionMM",
    "takeProfit",
    "stopLoss",
    "trailingStop",
    "unrealisedPnl",
    "cumRealisedPnl",
    "createdTime",
    "updatedTime",
)


def wallet_row(account: Account) -> Row:
    """Return the wallet; account-wide rates and margins say nothing where margin is isolated."""
    balance = account.balance
    cash, unrealised = balance.cash, account.unrealised()
    equity = cash + unrealised
    position_margin, order_margin = account.position_margin(), account.order_margin()
    initial, maintenance = position_margin + order_margin, account.maintenance_margin()
    total = {
        "accountIMRate": cents(initial / equity) if equity > 0 else "0",
        "accountMMRate": cents(maintenance / equity) if equity > 0 else "0",
        "totalMarginBalance": cents(equity),
        "totalAvailableBalance": cents(max(equity - initial, ZERO)),
        "totalInitialMargin": cents(initial),
        "totalMaintenanceMargin": cents(maintenance),
    }
    if account.profile.margin_mode is MarginMode.ISOLATED:
        total = dict.fromkeys(total, "")
    wallet, worth, profit = cents(cash), cents(equity), cents(unrealised)
    return {
        "accountType": "UNIFIED",
        "totalEquity": worth,
        "totalWalletBalance": wallet,
        "totalPerpUPL": profit,
        **total,
        "accountIMRateByMp": total["accountIMRate"],
        "accountMMRateByMp": total["accountMMRate"],
        "totalInitialMarginByMp": total["totalInitialMargin"],
        "totalMaintenanceMarginByMp": total["totalMaintenanceMargin"],
        "accountLTV": "0",
        "coin": [
            {
                "coin": COIN,
                "equity": worth,
                "usdValue": worth,
                "walletBalance": wallet,
                "locked": "0",
                "spotHedgingQty": "0",
                "borrowAmount": "0",
                "accruedInterest": "0",
                "totalOrderIM": cents(order_margin),
                "totalPositionIM": cents(position_margin),
                "totalPositionMM": cents(maintenance),
                "unrealisedPnl": profit,
                "cumRealisedPnl": cents(balance.realised - balance.fees - balance.funding),
                "bonus": "0",
                "marginCollateral": True,
                "collateralSwitch": True,
                "colRes": "0",
                "spotBorrow": "0",
                "free": "",
                "availableToWithdraw": "",
                "availableToBorrow": "",
            }
        ],
    }


def transaction_row(booking: Booking, uid: int) -> Row:
    """Return one line of the log; ``change = cashFlow + funding - fee``."""
    cause = booking.cause
    if isinstance(cause, Transfer):
        return _log_row(uid, cause.seq, booking) | {
            "transactionTime": stamp(cause.time),
            "type": "TRANSFER_IN" if cause.amount > 0 else "TRANSFER_OUT",
            "qty": num(abs(cause.amount)),
            "size": "0",
            "cashFlow": num(cause.amount),
            "change": num(cause.amount),
            "tradeId": cause.transfer_id,
        }
    row = _log_row(uid, cause.seq, booking) | {
        "id": f"{uid}_{cause.symbol}_{cause.seq}",
        "symbol": cause.symbol,
        "category": "linear",
        "side": cause.side,
        "transactionTime": stamp(cause.time),
        "qty": num(cause.qty),
        "tradePrice": num(cause.price),
        "tradeId": cause.exec_id,
        "orderId": cause.order_id,
        "orderLinkId": cause.link,
    }
    if cause.exec_type is ExecType.FUNDING:
        return row | {
            "type": "SETTLEMENT",
            "funding": num(-cause.fee),
            "change": num(-cause.fee),
            "feeRate": num(cause.fee_rate * cause.side.sign),
        }
    return row | {
        "type": "LIQUIDATION" if cause.exec_type is ExecType.BUST else "TRADE",
        "fee": num(cause.fee),
        "cashFlow": num(cause.pnl),
        "change": num(cause.pnl - cause.fee),
        "feeRate": num(cause.fee_rate),
    }


def _log_row(uid: int, seq: int, booking: Booking) -> Row:
    return {
        "id": f"{uid}_{seq}",
        "symbol": "",
        "category": "",
        "side": "None",
        "transactionTime": "",
        "type": "",
        "transSubType": "",
        "qty": "0",
        "size": num(booking.size),
        "currency": COIN,
        "tradePrice": "",
        "funding": "",
        "fee": "0",
        "cashFlow": "0",
        "change": "0",
        "cashBalance": num(booking.cash),
        "feeRate": "",
        "bonusChange": "",
        "tradeId": "",
        "orderId": "",
        "orderLinkId": "",
        "extraFees": "",
    }
