"""Who asks: the API key and the kinds of accounts behind it."""

from tradewright.paper.call import Call
from tradewright.paper.wire import Row


def member_type(call: Call) -> Row:
    uid = call.exchange.engine.accounts[call.account].profile.uid
    return {"accounts": [{"uid": str(uid), "accountType": ["UNIFIED", "FUND"]}]}
