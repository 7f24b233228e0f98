"""Who asks, and may they: signatures over the raw bytes, and the window of the wall clock."""

import hmac
from collections.abc import Mapping, Sequence

from tradewright.matching import RequestRejected
from tradewright.paper.keys import ApiKey, KeyRing

_DEFAULT_WINDOW = b"5000"
_MOST_WINDOW_MS = 300_000
_EARLY_MS = 1000
_MOST_DIGITS = 16

_NEEDED = (
    ("/v5/order/", ("ContractTrade", "Order")),
    ("/v5/position/", ("ContractTrade", "Position")),
    ("/v5/account/", ("ContractTrade", "Position")),
    ("/v5/asset/", ("Wallet", "AccountTransfer")),
)
"""Permissions of the changes below a path; reads need none but the key."""


class Unauthorised(Exception):
    """A request without authentication headers; HTTP 401."""


class Doorkeeper:
    def __init__(self, ring: KeyRing) -> None:
        self.ring = ring
        self._seen: dict[int, set[str]] = {}

    def admit(
        self,
        headers: Mapping[bytes, bytes],
        payload: bytes,
        *,
        path: str,
        is_write: bool,
        ip: str,
        now_ms: int,
    ) -> ApiKey:
        """Return whose request it is; *payload* is the raw query string or the raw body.

        Raises:
            Unauthorised: There is no signature.
            RequestRejected: It is wrong, too old, seen before, or not for this key.
        """
        name, sign = headers.get(b"x-bapi-api-key"), headers.get(b"x-bapi-sign")
        stamp = headers.get(b"x-bapi-timestamp")
        if not (name and sign and stamp):
            raise Unauthorised
        key = self._key(name.decode("latin-1"), ip, now_ms)
        sent_window = headers.get(b"x-bapi-recv-window", b"")
        expires_ms = _window_end_ms(stamp, sent_window or _DEFAULT_WINDOW, now_ms)
        plain = stamp + name + sent_window + payload
        signature = sign.decode("latin-1")
        if not hmac.compare_digest(_sign(key, plain).encode(), sign):
            text = plain.decode(errors="replace")
            raise RequestRejected(10004, f"error sign! origin_string[{text}]")
        if is_write:
            self._check_first(path + signature, expires_ms, now_ms)
            _check_permission(key, path)
        return key

    def admit_stream(self, args: Sequence[object], ip: str, now_ms: int) -> ApiKey:
        """Return who opens a stream with these arguments of its ``auth``.

        Raises:
            RequestRejected: They are wrong; its text is for the client.
        """
        if len(args) != 3 or isinstance(args[1], bool):
            raise RequestRejected(10001, "Params Error")
        name, expires, sign = (str(a) for a in args)
        key = self._key(name, ip, now_ms)
        if not _is_number(expires.encode()) or int(expires) <= now_ms:
            raise RequestRejected(10001, "Params Error: expires is past")
        right = _sign(key, f"GET/realtime{expires}".encode())
        if not hmac.compare_digest(right.encode(), sign.encode()):
            raise RequestRejected(10004, "error sign!")
        return key

    def _key(self, name: str, ip: str, now_ms: int) -> ApiKey:
        key = self.ring.find(name)
        if key is None:
            raise RequestRejected(10003, "API key is invalid.")
        if key.has_expired(now_ms):
            raise RequestRejected(33004, "Your api key has expired.")
        if key.is_bound_elsewhere(ip):
            raise RequestRejected(
                10010, "Unmatched IP, please check your API key's bound IP addresses."
            )
        return key

    def _check_first(self, name: str, expires_ms: int, now_ms: int) -> None:
        """Refuse what was sent before; past its window the window refuses it.

        Key, time and body are all in the signature, so path and signature name the request, and
        a copy of it falls into the same second.
        """
        second = expires_ms // 1000
        if second not in self._seen:
            for old in [s for s in self._seen if s < now_ms // 1000]:
                del self._seen[old]
        seen = self._seen.setdefault(second, set())
        if name in seen:
            raise RequestRejected(10014, "Invalid duplicate request.")
        seen.add(name)


def _check_permission(key: ApiKey, path: str) -> None:
    for prefix, (group, permission) in _NEEDED:
        if path.startswith(prefix) and (key.read_only or not key.may(group, permission)):
            raise RequestRejected(
                10005, "Permission denied, please check your API key permissions."
            )


def _window_end_ms(stamp: bytes, window: bytes, now_ms: int) -> int:
    """Return until when a request of *stamp* is taken.

    Raises:
        RequestRejected: That is over, or it comes from the future.
    """
    if not (_is_number(stamp) and _is_number(window)):
        raise RequestRejected(10001, "params error: timestamp or recv_window invalid")
    window_ms = min(int(window), _MOST_WINDOW_MS)
    if not now_ms - window_ms <= int(stamp) < now_ms + _EARLY_MS:
        raise RequestRejected(
            10002,
            "invalid request, please check your server timestamp or recv_window param. "
            f"req_timestamp[{stamp.decode()}],server_timestamp[{now_ms}],"
            f"recv_window[{window.decode()}]",
        )
    return int(stamp) + window_ms


def _is_number(digits: bytes) -> bool:
    return digits.isdigit() and len(digits) <= _MOST_DIGITS


def _sign(key: ApiKey, plain: bytes) -> str:
    return hmac.digest(key.secret.encode(), plain, "sha256").hex()
