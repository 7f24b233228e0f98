"""Who asks: the API key and the kinds of accounts behind it."""

import zlib

from tradewright.paper.call import Call
from tradewright.paper.clock import moment, ms, wall
from tradewright.paper.wire import Row

_DAY_MS = 86_400_000
_NEVER_IN_DAYS = -2
_GROUPS = (
    "ContractTrade",
    "Spot",
    "Wallet",
    "Options",
    "Derivatives",
    "CopyTrading",
    "BlockTrade",
    "Exchange",
    "NFT",
    "Affiliate",
    "Earn",
    "FiatP2P",
    "FiatConvertBroker",
    "FiatGlobalPay",
    "FiatBitPay",
    "BitCard",
    "ByXPost",
)


def api_key(call: Call) -> Row:
    key = call.key
    if key is None:
        raise LookupError("a public call has no key")
    days = _NEVER_IN_DAYS
    if key.expires_ms is not None:
        days = (key.expires_ms - ms(wall())) // _DAY_MS
    return {
        "id": str(zlib.crc32(key.key.encode())),
        "note": key.note,
        "apiKey": key.key,
        "readOnly": int(key.read_only),
        "secret": "",
        "permissions": {group: list(key.permissions.get(group, ())) for group in _GROUPS},
        "ips": list(key.ips),
        "type": 1,
        "deadlineDay": days,
        "expiredAt": _day(key.expires_ms or 0),
        "createdAt": _day(key.created_ms),
        "uta": 1,
        "unified": 0,
        "userID": key.uid,
        "inviterID": 0,
        "vipLevel": "No VIP",
        "mktMakerLevel": "0",
        "affiliateID": 0,
        "rsaPublicKey": "",
        "isMaster": True,
        "parentUid": "0",
        "kycLevel": "LEVEL_1",
        "kycRegion": "",
        "userIDInt64": str(key.uid),
        "inviterIDInt64": "0",
        "affiliateIDInt64": "0",
    }


def member_type(call: Call) -> Row:
    uid = call.exchange.engine.accounts[call.account].profile.uid
    return {"accounts": [{"uid": str(uid), "accountType": ["UNIFIED", "FUND"]}]}


def _day(at_ms: int) -> str:
    return moment(at_ms).strftime("%Y-%m-%dT%H:%M:%SZ")
