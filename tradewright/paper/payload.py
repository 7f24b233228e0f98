"""What a request says: the parameters of its query or of its JSON body, in documented types."""

from typing import Any
from urllib.parse import parse_qsl

import msgspec

from tradewright.matching import RequestRejected

Params = dict[str, Any]

_decode = msgspec.json.Decoder(dict[str, Any]).decode
_MOST_FIELDS = 100


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_STRINGS = _names(
    "category symbol side orderType qty marketUnit slippageToleranceType slippageTolerance price "
    "orderFilter triggerPrice triggerBy orderIv timeInForce orderId orderLinkId takeProfit "
    "stopLoss tpTriggerBy slTriggerBy smpType tpslMode tpLimitPrice slLimitPrice tpOrderType "
    "slOrderType bboSideType bboLevel trailingStop activePrice tpSize slSize buyLeverage "
    "sellLeverage margin baseCoin settleCoin stopOrderType setMarginMode transferId coin amount "
    "fromAccountType toAccountType collateralSwitch product"
)
_WHOLE = _names("isLeverage triggerDirection positionIdx autoAddMargin timeWindow mode adjustType")
_FLAGS = _names("reduceOnly closeOnTrigger mmp rpiTakerAccess modifyEnable")
_FLAG = {"true": True, "false": False}


def of_query(query: bytes) -> Params:
    """Return the parameters of a raw query string; empty ones are as good as absent."""
    text = query.decode("utf-8", "replace")
    try:
        pairs = parse_qsl(text, errors="replace", max_num_fields=_MOST_FIELDS)
    except ValueError:
        raise RequestRejected(10001, "params error: too many parameters") from None
    return dict(pairs)


def of_body(body: bytes) -> Params:
    """Return the parameters of a JSON body; null and "" are as good as absent."""
    try:
        decoded = _decode(body or b"{}")
    except (ValueError, RecursionError):
        raise RequestRejected(10001, "params error: body is not a JSON object") from None
    return _typed(decoded)


def _typed(fields: Params) -> Params:
    return {
        name: _value(name, value)
        for name, value in fields.items()
        if value is not None and value != ""
    }


def _value(name: str, value: Any) -> Any:
    """Return *value* in the type that is documented for *name*; unknown names are let through."""
    if name in _STRINGS:
        if isinstance(value, str):
            return value
    elif name in _WHOLE:
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10:
            return int(value)
    elif name in _FLAGS:
        if isinstance(value, bool):
            return value
        if isinstance(value, str) and value in _FLAG:
            return _FLAG[value]
    elif name == "request":
        if isinstance(value, list) and all(isinstance(item, dict) for item in value):
            return [_typed(item) for item in value]
    else:
        return value
    raise RequestRejected(10001, f"params error: {name} invalid")
