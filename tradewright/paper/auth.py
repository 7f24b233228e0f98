"""Signatures over the raw bytes, and the time window, by the wall clock."""

import hashlib
import hmac
from collections.abc import Mapping

from tradewright.matching import RequestRejected
from tradewright.paper.keys import ApiKey

_DEFAULT_WINDOW_MS = 5000


class Unauthorised(Exception):
    """A request without authentication headers; HTTP 401."""


class Keys:
    def __init__(self, key: str, secret: str) -> None:
        self.key = key
        self._secret = secret.encode()

    def check(self, headers: Mapping[str, str], payload: bytes, now_ms: int) -> ApiKey:
        """Return whose request it is; *payload* is the raw query string or the raw body.

        Raises:
            Unauthorised: There is no signature.
            RequestRejected: It is wrong, or too old.
        """
        key, sign = headers.get("x-bapi-api-key"), headers.get("x-bapi-sign")
        stamp = headers.get("x-bapi-timestamp")
        window = headers.get("x-bapi-recv-window") or str(_DEFAULT_WINDOW_MS)
        if not (key and sign and stamp):
            raise Unauthorised
        if key != self.key:
            raise RequestRejected(10003, "API key is invalid.")
        if not (stamp.isdecimal() and window.isdecimal()):
            raise RequestRejected(10001, "params error: timestamp or recv_window invalid")
        if not now_ms - int(window) <= int(stamp) < now_ms + 1000:
            raise RequestRejected(
                10002,
                "invalid request, please check your server timestamp or recv_window param. "
                f"req_timestamp[{stamp}],server_timestamp[{now_ms}],recv_window[{window}]",
            )
        sent_window = headers.get("x-bapi-recv-window") or ""
        plain = f"{stamp}{key}{sent_window}".encode() + payload
        if not hmac.compare_digest(self._sign(plain), sign):
            raise RequestRejected(
                10004, "error sign! origin_string[" + plain.decode(errors="replace") + "]"
            )
        return ApiKey(self.key, self._secret.decode())

    def check_stream(self, args: list[object], now_ms: int) -> str:
        """Return what is wrong with the arguments of a stream's ``auth``; "" if nothing."""
        if len(args) != 3:
            return "Params Error"
        key, expires, sign = (str(a) for a in args)
        if key != self.key:
            return "API key is invalid."
        if not expires.isdecimal() or int(expires) <= now_ms:
            return "Params Error: expires is past"
        if not hmac.compare_digest(self._sign(f"GET/realtime{expires}".encode()), sign):
            return "error sign!"
        return ""

    def _sign(self, plain: bytes) -> str:
        return hmac.new(self._secret, plain, hashlib.sha256).hexdigest()
