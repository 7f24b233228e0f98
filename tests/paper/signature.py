"""What a client signs, and how."""

import hashlib
import hmac
import time

from tests.paper.conftest import KEY, SECRET

QUERY = "category=linear&symbol=BTCUSDT"
BUY = '{"category":"linear","symbol":"BTCUSDT","side":"Buy","orderType":"Market","qty":"0.01"}'


def signed(
    payload: str, *, key: str = KEY, secret: str = SECRET, age_ms: int = 0, **changes: str
) -> dict[str, str]:
    stamp = str(int(time.time() * 1000) - age_ms)
    plain = f"{stamp}{key}5000{payload}"
    headers = {
        "X-BAPI-API-KEY": key,
        "X-BAPI-TIMESTAMP": stamp,
        "X-BAPI-RECV-WINDOW": "5000",
        "X-BAPI-SIGN": hmac.new(secret.encode(), plain.encode(), hashlib.sha256).hexdigest(),
    }
    return headers | changes
