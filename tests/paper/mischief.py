"""Requests and frames that are wrong, half right or right, by chance."""

import hashlib
import hmac
import json
import random
import time
import uuid
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote, urlencode

import msgspec

from tradewright.paper.routes import ROUTES

Fields = dict[str, Any]

NUMBERS = (
    *("0", "-0", "0.0", "-1", "+1", "1", "0.001", "0.01", "0.5", "50", "100", "5000", "50000"),
    *("1e3", "1E-3", "1e20", "1e-20", "1e21", "1e999", "1e-999", "1e400000000000", "9" * 40),
    *("0.123456789012345678901234567890123456789", "1." + "0" * 60, "NaN", "sNaN", "-Infinity"),
    *("Infinity", "inf", "1_000", "1,5", " 1", "1 ", "0x10", "١٢٣", "²", "", "-", ".", "1.", ".5"),
)
TEXTS = (
    *("x", "A" * 36, "A" * 37, "A" * 20_000, "é", "\N{GRINNING FACE}", "\x00", "a\r\nb: c", "%00"),
    *("' OR 1=1 --", "../../etc/passwd", "{}", "null", "true", "BTCUSDT,ETHUSDT", "btcusdt", "-"),
    *("<script>", "\ud800", "\u202e", "0-0", "1-999999999", "999999999-1", "main:1", ":", "*"),
)
WHOLE = (
    0,
    1,
    -1,
    2,
    3,
    10,
    50,
    51,
    200,
    1000,
    1001,
    10**9,
    2**31,
    2**63 - 1,
    2**63,
    -(2**63),
    2**64,
)
TIMES = (
    0,
    1,
    -1,
    1640995200000,
    1640995260000,
    4102444800000,
    10**15,
    10**16,
    10**19,
    "now",
    "1.5",
)
COINS = ("USDT", "BTC", "XYZ")
MODES = ("Full", "Partial", "Half")
SIDES = ("Buy", "Sell", "buy", "None")
TYPES = ("Market", "Limit", "Stop")
TRIGGERS = ("LastPrice", "MarkPrice", "IndexPrice", "Last")
ACCOUNTS = ("UNIFIED", "FUND", "CONTRACT", "SPOT")
SYMBOLS = ("BTCUSDT",) * 8 + ("ETHUSDT", "XRPUSDT", "BTCUSD", "BTC-PERP", "0")
CHOICES: dict[str, tuple[object, ...]] = {
    "category": ("linear",) * 8 + ("spot", "inverse", "option", "Linear"),
    "symbol": SYMBOLS,
    "baseCoin": ("BTC", "ETH", "XYZ"),
    "settleCoin": COINS,
    "coin": COINS,
    "coinName": (*COINS, "USDT,BTC"),
    "currency": COINS,
    "side": SIDES,
    "orderType": TYPES,
    "tpOrderType": TYPES,
    "slOrderType": TYPES,
    "timeInForce": ("GTC", "IOC", "FOK", "PostOnly", "RPI", "DAY"),
    "triggerDirection": (0, 1, 2, 3),
    "triggerBy": TRIGGERS,
    "tpTriggerBy": TRIGGERS,
    "slTriggerBy": TRIGGERS,
    "tpslMode": MODES,
    "positionIdx": (0, 0, 0, 1, 2, 3),
    "orderFilter": ("Order", "StopOrder", "tpslOrder", "OcoOrder"),
    "stopOrderType": ("Stop", "TakeProfit", "TrailingStop"),
    "slippageToleranceType": ("TickSize", "Percent", "Points"),
    "bboSideType": ("Queue", "Counterparty"),
    "bboLevel": (1, 5, 6),
    "openOnly": (0, 1, 2),
    "orderStatus": ("Filled", "Cancelled", "New", "Lost"),
    "execType": ("Trade", "Funding", "BustTrade", "Gift"),
    "interval": ("1", "5", "D", "W", "M", "7"),
    "intervalTime": ("5min", "1h", "1d", "2h"),
    "period": ("5min", "1h", "4d"),
    "limit": WHOLE,
    "cursor": ("0", "0-1", "1", "999999999-0", "abc", "-1", "%7B", "1640995200000:5", "5:1"),
    "startTime": TIMES,
    "endTime": TIMES,
    "setMarginMode": ("ISOLATED_MARGIN", "REGULAR_MARGIN", "PORTFOLIO_MARGIN"),
    "autoAddMargin": (0, 1, 2),
    "mode": (0, 3),
    "fromAccountType": ACCOUNTS,
    "toAccountType": ACCOUNTS,
    "accountType": ACCOUNTS,
    "collateralSwitch": ("ON", "OFF"),
    "adjustType": (0, 1, 2),
    "modifyEnable": (True, False),
    "reduceOnly": (True, False, "true"),
    "closeOnTrigger": (True, False),
    "timeWindow": (3, 10, 300, 301),
    "symbolType": ("innovation", "x"),
    "status": ("Trading", "PreLaunch", "SUCCESS"),
    "type": ("TRADE", "TRANSFER_IN", "SETTLEMENT"),
    "orderId": ("f" * 32, str(uuid.UUID(int=7))),
}
PRICES = (
    *("price", "triggerPrice", "takeProfit", "stopLoss"),
    *("tpLimitPrice", "slLimitPrice", "activePrice"),
)
SIZES = (
    *("qty", "tpSize", "slSize", "margin", "amount", "buyLeverage", "sellLeverage"),
    *("trailingStop", "slippageTolerance"),
)
FIELDS = (*CHOICES, *PRICES, *SIZES, "orderLinkId", "transferId", "request")
UNKNOWN = ("tw-unknown",)

# What a request needs to be right
_BTC: Fields = {"category": "linear", "symbol": "BTCUSDT"}
_ORDER = _BTC | {"side": None, "orderType": None, "qty": None, "price": None, "orderLinkId": None}
_NEEDED: dict[str, Fields] = {
    "/v5/order/create": _ORDER,
    "/v5/order/pre-check": _ORDER,
    "/v5/order/amend": _BTC | {"orderLinkId": None, "price": None},
    "/v5/order/cancel": _BTC | {"orderLinkId": None},
    "/v5/position/set-leverage": _BTC | {"buyLeverage": "10", "sellLeverage": "10"},
    "/v5/position/trading-stop": _BTC | {"positionIdx": 0, "tpslMode": "Full", "stopLoss": None},
    "/v5/position/add-margin": _BTC | {"margin": "5"},
    "/v5/position/set-auto-add-margin": _BTC | {"autoAddMargin": None},
    "/v5/position/switch-mode": _BTC | {"mode": 0},
    "/v5/account/set-margin-mode": {"setMarginMode": None},
    "/v5/account/set-collateral-switch": {"coin": "BTC", "collateralSwitch": "ON"},
    "/v5/account/set-limit-px-action": {"category": "linear", "modifyEnable": None},
    "/v5/account/demo-apply-money": {
        "adjustType": None,
        "utaDemoApplyMoney": [{"coin": "USDT", "amountStr": "10"}],
    },
    "/v5/asset/transfer/inter-transfer": {
        "transferId": None,
        "coin": "USDT",
        "amount": "1",
        "fromAccountType": "UNIFIED",
        "toAccountType": "FUND",
    },
    "/v5/order/disconnected-cancel-all": {"timeWindow": 10},
}
_BATCHES = {
    f"/v5/order/{name}-batch": f"/v5/order/{name}" for name in ("create", "amend", "cancel")
}
_METHODS = ("PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE", "get", "X" * 300)
_PATHS = (
    *(
        "/v5",
        "/v5/",
        "/v5//order/create",
        "/v5/order/create/",
        "/v5/%6frder/create",
        "/v5/../paper",
    ),
    *("/v5/order/\N{SNOWMAN}", "/v5/" + "a" * 9000, "/v5/order/create%00", "/V5/order/create", "*"),
)


class Asked(msgspec.Struct):
    """One request, before it is written down."""

    method: str
    path: str
    query: bytes = b""
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def is_usual(self) -> bool:
        """Whether it is well-formed HTTP for a route there is, rightly signed."""
        return (self.method, self.path) in ROUTES and not self.headers

    def written(self, key: str, secret: str) -> bytes:
        """Return it as it goes over the wire, signed for now."""
        stamp = str(time.time_ns() // 1_000_000)
        signed = self.query if self.method == "GET" else self.body
        plain = f"{stamp}{key}20000".encode() + signed
        target = quote(self.path, safe="/%*").encode() + (b"?" + self.query if self.query else b"")
        headers = {
            "Host": "paper",
            "X-BAPI-API-KEY": key,
            "X-BAPI-TIMESTAMP": stamp,
            "X-BAPI-RECV-WINDOW": "20000",
            "X-BAPI-SIGN": hmac.new(secret.encode(), plain, hashlib.sha256).hexdigest(),
        }
        if self.body or self.method == "POST":
            headers["Content-Length"] = str(len(self.body))
        headers |= dict(self.headers)
        lines = b"".join(f"{k}: {v}\r\n".encode() for k, v in headers.items() if v != "-")
        return self.method.encode() + b" " + target + b" HTTP/1.1\r\n" + lines + b"\r\n" + self.body


def sane(chance: random.Random, name: str, price: float, links: Sequence[str] = UNKNOWN) -> object:
    """Return something that *name* may well be where the market stands at *price*."""
    if name in CHOICES:
        return chance.choice(CHOICES[name][:2] if chance.random() < 0.8 else CHOICES[name])
    if name in PRICES:
        return f"{price * chance.gauss(1, 0.005):.1f}"
    if name == "orderLinkId":
        return chance.choice(links)
    if name == "transferId":
        return str(uuid.UUID(int=chance.getrandbits(128), version=4))
    return chance.choice(("0.001", "0.01", "0.1", "1", "10", "100"))


def wild(chance: random.Random, depth: int = 0) -> object:
    """Return a value of any JSON type."""
    kind = chance.randrange(10 if depth < 3 else 7)
    if kind < 2:
        return chance.choice(NUMBERS)
    if kind < 4:
        return chance.choice(TEXTS)
    if kind == 4:
        return chance.choice((*WHOLE, 10**30, 10**400))
    if kind == 5:
        return chance.choice((0.5, -0.0, 1e308, 1e-320, float("nan"), float("inf")))
    if kind == 6:
        return chance.choice((None, True, False))
    if kind == 7:
        return [wild(chance, depth + 1) for _ in range(chance.randrange(4))]
    if kind == 8:
        return {chance.choice(FIELDS): wild(chance, depth + 1) for _ in range(chance.randrange(4))}
    return [{}] * chance.choice((0, 1, 10, 11, 20, 21, 500))


def fields_of(
    chance: random.Random, path: str, price: float, links: Sequence[str] = UNKNOWN
) -> Fields:
    """Return the parameters of a request: right ones, of which some are then spoilt."""
    if path == "/v5/order/create" and chance.random() < 0.9:
        links = (f"tw-{chance.randrange(10**9)}",)
    if path in _BATCHES:
        count = chance.choice((0, 1, 2, 3, 10, 11, 20, 21))
        items = [fields_of(chance, _BATCHES[path], price, links) for _ in range(count)]
        fields: Fields = {"category": "linear", "request": items}
    else:
        fields = dict(_NEEDED.get(path, _BTC))
    for name, value in fields.items():
        fields[name] = sane(chance, name, price, links) if value is None else value
    for name in chance.sample(FIELDS, chance.choice((0, 0, 0, 0, 1, 2, 4))):
        if name != "request":
            fields[name] = sane(chance, name, price, links)
    for _ in range(chance.choice((0, 0, 0, 0, 0, 1, 2, 3))):
        name = chance.choice([*fields, chance.choice(FIELDS)])
        if chance.random() < 0.2:
            fields.pop(name, None)
        else:
            fields[name] = chance.choice(NUMBERS) if chance.random() < 0.4 else wild(chance)
    return fields


def request(chance: random.Random, price: float, links: Sequence[str] = UNKNOWN) -> Asked:
    """Return a request that is mostly usual in its form, whatever it says.

    Orders that it amends or cancels have one of *links*.
    """
    method, path = chance.choice(list(ROUTES))
    if chance.random() < 0.5:
        method, path = "POST", chance.choice(list(_NEEDED)[:7])
    fields = fields_of(chance, path, price, links or UNKNOWN)
    if method == "GET":
        flat = {k: v if isinstance(v, str) else json.dumps(v) for k, v in fields.items()}
        pairs = [(k, v.encode("utf-8", "replace")) for k, v in flat.items() if len(v) < 9000]
        asked = Asked(method, path, query=urlencode(pairs).encode())
    else:
        body = json.dumps(fields, ensure_ascii=chance.random() < 0.9)
        asked = Asked(method, path, body=body.encode("utf-8", "surrogatepass"))
    if chance.random() < 0.2:
        _spoil(chance, asked)
    return asked


def _spoil(chance: random.Random, asked: Asked) -> None:
    """Make the form of *asked* unusual, or its text no JSON."""
    kind = chance.randrange(12)
    if kind == 0:
        asked.method = chance.choice(_METHODS)
    elif kind == 1:
        asked.path = chance.choice(_PATHS)
    elif kind == 2:
        asked.query += b"&" + chance.choice(
            (b"category=spot", b"%", b"%ff=%ff", b"a" * 5000, b"=;&")
        )
    elif kind == 3 and asked.method == "POST":
        more = json.dumps({chance.choice(FIELDS): wild(chance)})[1:]
        asked.body = asked.body[:-1] + b"," + more.encode("utf-8", "replace")
    elif kind == 4:
        cut = chance.randrange(len(asked.body) + 1)
        asked.body = asked.body[:cut]
    elif kind == 5 and asked.body:
        spot = chance.randrange(len(asked.body))
        asked.body = asked.body[:spot] + chance.randbytes(3) + asked.body[spot + 1 :]
    elif kind == 6:
        deep = chance.choice((100, 5000, 200_000))
        asked.body = b'{"request":' + b"[" * deep + b"]" * deep + b"}"
    elif kind == 7:
        asked.body = b'{"symbol":"' + b"x" * chance.choice((2**16, 2**20, 2**20 + 1, 2**22)) + b'"}'
    elif kind == 8:
        name = chance.choice(("API-KEY", "TIMESTAMP", "RECV-WINDOW", "SIGN"))
        value = chance.choice((*NUMBERS, *TEXTS[:5], "-"))
        asked.headers = ((f"X-BAPI-{name}", value.replace("\x00", "")),)
    elif kind == 9:
        value = chance.choice(("0", "-1", "1e3", "99999999999999999999", "abc", "5, 5"))
        asked.headers = (("Content-Length", value),)
    elif kind == 10:
        value = chance.choice(("gzip", "chunked", "identity", "chunked, chunked"))
        asked.headers = (("Transfer-Encoding", value), ("Content-Length", "-"))
    else:
        value = chance.choice(("x", "é" * 50, "y" * 70_000))
        asked.headers = ((chance.choice(("Expect", "Upgrade", "Cookie", "Connection")), value),)


def noise(chance: random.Random) -> bytes:
    """Return what is hardly HTTP."""
    begin = b"POST /v5/order/create HTTP/1.1\r\nHost: x\r\n"
    return chance.choice(
        (
            chance.randbytes(chance.choice((1, 100, 5000))),
            b"\r\n" * 50,
            b"GET\r\n\r\n",
            b"GET /v5/market/time HTTP/9.9\r\n\r\n",
            b"GET /v5/market/time\r\n\r\n",
            b"GET http://[::1 HTTP/1.1\r\nHost: x\r\n\r\n",
            b"GET /v5/market/time HTTP/1.1\r\n" + b"a: b\r\n" * 5000 + b"\r\n",
            b"GET /v5/market/time HTTP/1.1\r\n\x00: \xff\r\n\r\n",
            begin + b"Transfer-Encoding: chunked\r\n\r\nZZ\r\nabc\r\n0\r\n\r\n",
            begin + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nabc",
            begin + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
            begin + b"Content-Length: 100\r\n\r\nabc",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + chance.randbytes(200),
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        )
    )


_TOPICS = (
    *(
        "order",
        "order.linear",
        "execution",
        "execution.fast",
        "position",
        "wallet",
        "greeks",
        "dcp",
    ),
    *("orderbook.1.BTCUSDT", "orderbook.50.BTCUSDT", "orderbook.7.BTCUSDT", "orderbook.50."),
    *("publicTrade.BTCUSDT", "tickers.BTCUSDT", "kline.1.BTCUSDT", "kline.x.BTCUSDT", "tickers."),
    *(
        "allLiquidation.BTCUSDT",
        "priceLimit.BTCUSDT",
        "system.status",
        "kline",
        ".",
        "",
        "*",
        "a" * 999,
    ),
)


def frame(chance: random.Random) -> str | bytes:
    """Return what a client of a stream may send, right or wrong."""
    kind = chance.random()
    if kind < 0.1:
        return chance.randbytes(chance.choice((0, 1, 50, 5000)))
    if kind < 0.15:
        return chance.choice(
            ('{"op":' + "[" * 9000, "[]", "1", "{", "x" * 100_000, '{"op":"ping"}x')
        )
    said: Fields = {"op": chance.choice(("subscribe", "subscribe", "unsubscribe", "auth", "ping"))}
    if said["op"] == "auth":
        times = (*WHOLE, *NUMBERS, 9_999_999_999_999, "9999999999999", 1e15, None)
        said["args"] = ["paper-key", chance.choice(times), chance.choice(("f" * 64, *TEXTS))]
    else:
        said["args"] = chance.choices(_TOPICS, k=chance.choice((0, 1, 2, 10, 400)))
    for _ in range(chance.choice((0, 0, 0, 1, 2))):
        said[chance.choice(("op", "args", "req_id", "extra"))] = wild(chance)
    if chance.random() < 0.2 and isinstance(said.get("args"), list):
        said["args"].append(wild(chance))
    return json.dumps(said, ensure_ascii=True)
