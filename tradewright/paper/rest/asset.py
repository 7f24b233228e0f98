"""Money between the unified account and the funding account, and what each holds."""

import uuid
from collections.abc import Callable
from decimal import Decimal

from tradewright.matching import Account, RequestRejected
from tradewright.paper.batch import TransferNote
from tradewright.paper.call import Call
from tradewright.paper.query import BookingQuery, Page, Transfer
from tradewright.paper.rest.page import limit_of, window
from tradewright.paper.rest.param import Params, decimal, needed, number, text
from tradewright.paper.wire import COIN, ZERO, Row, cents, num, stamp

Moved = Callable[[str, BookingQuery], Page[Transfer]]
UNIFIED, FUND = "UNIFIED", "FUND"
_ELSEWHERE = ("SPOT", "CONTRACT", "OPTION", "INVESTMENT")
_DIGITS, _MOST_DIGITS = 8, 15
_MOST_COINS, _MOST_TRANSFERABLE = 10, 20
_MOST_APPLIED = Decimal(100_000)
_DEFAULT = [{"coin": COIN, "amountStr": str(_MOST_APPLIED)}]
_PAGE = 1000
_WRONG = "Request parameter error"


def coin_info(call: Call) -> Row:
    """List the settle coin and the base coins; nothing of them goes in or out over a chain."""
    bases = {m.instrument.base_coin for m in call.exchange.engine.markets.values()}
    wanted = text(call.params, "coin")
    coins = [c for c in (COIN, *sorted(bases)) if wanted in ("", c)]
    return {"rows": [_coin(coin) for coin in coins]}


def _coin(coin: str) -> Row:
    chain = {
        "chain": "ETH",
        "chainType": "Ethereum",
        "confirmation": "6",
        "withdrawFee": "",
        "depositMin": "0",
        "withdrawMin": "0",
        "minAccuracy": str(_DIGITS),
        "chainDeposit": "0",
        "chainWithdraw": "0",
        "withdrawPercentageFee": "0",
        "contractAddress": "",
        "safeConfirmNumber": "65",
        "withdrawMax": "-1",
    }
    return {"name": coin, "coin": coin, "remainAmount": "", "chains": [chain]}


def transfer(call: Call) -> Row:
    params = call.params
    transfer_id, amount = needed(params, "transferId"), _amount(params)
    source, target = needed(params, "fromAccountType"), needed(params, "toAccountType")
    if not _is_uuid(transfer_id) or needed(params, "coin") != COIN:
        raise RequestRejected(131203, _WRONG)
    if source == target:
        raise RequestRejected(131211, "fromAccountType can't be the same as toAccountType")
    _check_account(source, 131232, "Transfers out this account are not supported")
    _check_account(target, 131231, "Transfers into this account are not supported")
    # Two at the same time are seen only in what is written
    call.exchange.flush()
    moved = call.exchange.store.history.transfers
    if moved(call.account, BookingQuery(order_id=transfer_id, limit=1))[0]:
        raise RequestRejected(131214, "TransferId exist")
    out = source == UNIFIED
    if amount > (_account(call).withdrawable() if out else _funding(call, moved)):
        raise RequestRejected(131212, "Insufficient balance")
    _move(call, -amount if out else amount, TransferNote(transfer_id, source, target))
    return {"transferId": transfer_id, "status": "SUCCESS"}


def transfers(call: Call) -> Row:
    params = call.params
    transfer_id = text(params, "transferId")
    start, end = window(params, call.exchange.clock.now_ms())
    query = BookingQuery(
        # One that is named is found however old it is; times count in whole seconds
        start_ms=0 if transfer_id else start // 1000 * 1000,
        end_ms=end // 1000 * 1000 + 999,
        order_id=transfer_id,
        limit=limit_of(params, 20, 50),
        cursor=text(params, "cursor"),
    )
    found, cursor = call.exchange.view.transfers(call.account, query)
    is_shown = text(params, "coin") in ("", COIN) and text(params, "status") in ("", "SUCCESS")
    rows = [_transfer_row(t) for t in found if t.source] if is_shown else []
    return {"list": rows, "nextPageCursor": cursor if is_shown else ""}


def coin_balance(call: Call) -> Row:
    params, uid = call.params, _uid(call)
    kind, coin = needed(params, "accountType"), needed(params, "coin")
    _check_account(kind, 131204, "Account info error")
    asked = number(params, "withTransferSafeAmount") == 1
    balance = _balance(call, kind, coin)
    balance["bonus"] = "0"
    balance["transferSafeAmount"] = balance["transferBalance"] if asked else ""
    balance["ltvTransferSafeAmount"] = ""
    return {
        "accountType": kind,
        "bizType": 1,
        "accountId": str(uid),
        "memberId": str(uid),
        "balance": balance,
    }


def coins_balance(call: Call) -> Row:
    params = call.params
    kind, listed = needed(params, "accountType"), text(params, "coin")
    _check_account(kind, 131204, "Account info error")
    coins = listed.split(",") if listed else [COIN]
    if (kind == UNIFIED and not listed) or len(coins) > _MOST_COINS:
        raise RequestRejected(131203, _WRONG)
    bonus = "0" if number(params, "withBonus") == 1 else ""
    balances = [_balance(call, kind, coin) | {"bonus": bonus} for coin in coins]
    return {"accountType": kind, "memberId": str(_uid(call)), "balance": balances}


def transferable(call: Call) -> Row:
    coins = needed(call.params, "coinName").split(",")
    if len(coins) > _MOST_TRANSFERABLE:
        raise RequestRejected(10001, "params error: coinName invalid")
    free = cents(call.exchange.view.account(call.account).withdrawable())
    amounts = {coin: free if coin == COIN else "0" for coin in coins}
    return {"availableWithdrawal": amounts[coins[0]], "availableWithdrawalMap": amounts}


def apply_money(call: Call) -> Row:
    """Add virtual money to the unified account, or take it away."""
    params = call.params
    adjust, items = number(params, "adjustType") or 0, params.get("utaDemoApplyMoney", _DEFAULT)
    if adjust not in (0, 1) or not isinstance(items, list):
        raise RequestRejected(10001, "params error: utaDemoApplyMoney invalid")
    total = sum((_applied(item) for item in items), ZERO)
    if total and adjust == 1 and total > _account(call).withdrawable():
        raise RequestRejected(131212, "Insufficient balance")
    if total:
        _move(call, -total if adjust == 1 else total, TransferNote())
    return {"subMemberId": str(_uid(call))}


def _applied(item: object) -> Decimal:
    if not isinstance(item, dict) or item.get("coin") != COIN:
        raise RequestRejected(10001, "params error: coin invalid")
    amount = decimal(item, "amountStr")
    if not amount or amount > _MOST_APPLIED or amount != round(amount, _DIGITS):
        raise RequestRejected(10001, "params error: amountStr invalid")
    return amount


def _amount(params: Params) -> Decimal:
    try:
        amount = decimal(params, "amount")
    except RequestRejected:
        amount = None
    # What is larger cannot be rounded, and nobody has so much
    if not amount or amount.adjusted() > _MOST_DIGITS:
        raise RequestRejected(131215, "Amount error")
    if amount != round(amount, _DIGITS):
        raise RequestRejected(131210, "Amount accuracy error")
    return amount


def _is_uuid(transfer_id: str) -> bool:
    try:
        uuid.UUID(transfer_id)
    except ValueError:
        return False
    return True


def _check_account(kind: str, code: int, message: str) -> None:
    if kind in _ELSEWHERE:
        raise RequestRejected(code, message)
    if kind not in (UNIFIED, FUND):
        raise RequestRejected(131207, "Account not exist")


def _account(call: Call) -> Account:
    return call.exchange.engine.accounts[call.account]


def _uid(call: Call) -> int:
    return _account(call).profile.uid


def _move(call: Call, amount: Decimal, note: TransferNote) -> None:
    exchange = call.exchange
    exchange.change(lambda now: exchange.engine.transfer(call.account, amount, now), note)


def _funding(call: Call, moved: Moved) -> Decimal:
    """Return what the funding account holds: what was transferred there and not back."""
    total, cursor = ZERO, ""
    while True:
        query = BookingQuery(limit=_PAGE, cursor=cursor)
        found, cursor = moved(call.account, query)
        total -= sum((t.amount for t in found if FUND in (t.source, t.target)), ZERO)
        if not cursor:
            return total


def _balance(call: Call, kind: str, coin: str) -> Row:
    wallet = free = ZERO
    if coin == COIN:
        view = call.exchange.view
        account = view.account(call.account)
        wallet = account.balance.cash if kind == UNIFIED else _funding(call, view.transfers)
        free = account.withdrawable() if kind == UNIFIED else wallet
    return {"coin": coin, "walletBalance": cents(wallet), "transferBalance": cents(free)}


def _transfer_row(move: Transfer) -> Row:
    return {
        "transferId": move.transfer_id,
        "coin": COIN,
        "amount": num(abs(move.amount)),
        "fromAccountType": move.source,
        "toAccountType": move.target,
        "timestamp": stamp(move.time),
        "status": "SUCCESS",
    }
