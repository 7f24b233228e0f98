"""How often one may ask: per account and endpoint, per address, and per address for streams.

Windows roll by the wall clock. Each keeps the times of at most as many requests as it lets through.
"""

from collections import deque
from collections.abc import Callable
from typing import Literal

SECOND, FIVE_SECONDS, MINUTE, FIVE_MINUTES = 1000, 5000, 60_000, 300_000

Scale = Literal["bybit", "vip1", "vip2", "vip3", "off"] | float

_UPGRADABLE: dict[str, float] = {"vip1": 2, "vip2": 4, "vip3": 6}
"""Orders of a VIP in a second, as a multiple of everybody's ten."""

_PER_SECOND: dict[str, int] = {
    "/v5/order/create": 10,
    "/v5/order/amend": 10,
    "/v5/order/cancel": 10,
    "/v5/order/cancel-all": 10,
    "/v5/order/create-batch": 10,
    "/v5/order/amend-batch": 10,
    "/v5/order/cancel-batch": 10,
    "/v5/order/pre-check": 10,
    "/v5/order/disconnected-cancel-all": 5,
    "/v5/order/realtime": 50,
    "/v5/order/history": 50,
    "/v5/order/spot-borrow-check": 50,
    "/v5/execution/list": 50,
    "/v5/position/list": 50,
    "/v5/position/closed-pnl": 50,
    "/v5/position/set-leverage": 10,
    "/v5/position/switch-mode": 10,
    "/v5/position/trading-stop": 10,
    "/v5/position/set-auto-add-margin": 10,
    "/v5/position/add-margin": 10,
    "/v5/position/confirm-pending-mmr": 10,
    "/v5/account/wallet-balance": 50,
    "/v5/account/withdrawal": 50,
    "/v5/account/borrow-history": 50,
    "/v5/account/collateral-info": 50,
    "/v5/account/transaction-log": 25,
    "/v5/account/fee-rate": 5,
    "/v5/account/info": 50,
    "/v5/account/instruments-info": 10,
    "/v5/account/query-dcp-info": 5,
    "/v5/account/smp-group": 5,
    "/v5/account/user-setting-config": 50,
    "/v5/account/set-limit-px-action": 10,
    "/v5/account/set-margin-mode": 5,
    "/v5/asset/coin/query-info": 5,
    "/v5/asset/transfer/query-account-coin-balance": 450,
    "/v5/asset/transfer/query-account-coins-balance": 5,
    "/v5/user/query-api": 10,
    "/v5/user/get-member-type": 10,
}
_PER_MINUTE: dict[str, int] = {
    "/v5/account/demo-apply-money": 1,
    "/v5/asset/transfer/inter-transfer": 60,
    "/v5/asset/transfer/query-inter-transfer-list": 60,
}
_UNLISTED = 10
"""A second, of endpoints whose limit is not published."""

_REQUESTS_PER_IP = 600
_STREAMS_PER_IP = 500
_OPEN_STREAMS_PER_IP = 1000
_MOST_IPS = 10_000
_SOON_MS = 100
"""A client that reads the reset only after it is past may sleep a negative time: pybit does."""


class Window:
    """At most *limit* in any *period_ms*."""

    def __init__(self, limit: int, period_ms: int) -> None:
        self.limit = limit
        self._period_ms = period_ms
        self._taken: deque[int] = deque()

    def left(self, now_ms: int) -> int:
        taken, begin = self._taken, now_ms - self._period_ms
        # A clock that was set back must not bar anyone: what lies ahead does not count
        while taken and not begin < taken[0] <= now_ms:
            taken.popleft()
        return self.limit - len(taken)

    def take(self, now_ms: int) -> bool:
        if self.left(now_ms) <= 0:
            return False
        self._taken.append(now_ms)
        return True

    def reset_ms(self, now_ms: int) -> int:
        """Return when there is surely room again, strictly after *now_ms*."""
        self.left(now_ms)
        oldest = self._taken[0] + self._period_ms if self._taken else now_ms
        return max(oldest, now_ms + _SOON_MS)


class Meter:
    """What one request takes of a window, by the wall clock; nothing where none is."""

    def __init__(self, window: Window | None, now_ms: Callable[[], int]) -> None:
        self._window = window
        self._now_ms = now_ms
        self._is_over = False

    def has_room(self) -> bool:
        if self._window is not None and self._window.left(self._now_ms()) <= 0:
            self._is_over = True
        return not self._is_over

    def spend(self) -> bool:
        """Count one; False, and nothing counted, if that is over the limit."""
        if self._window is not None and not self._window.take(self._now_ms()):
            self._is_over = True
            return False
        return True

    def headers(self) -> list[tuple[bytes, bytes]]:
        window = self._window
        if window is None:
            return []
        now_ms = self._now_ms()
        reset_ms = window.reset_ms(now_ms) if self._is_over else now_ms
        return [
            (b"x-bapi-limit", b"%d" % window.limit),
            (b"x-bapi-limit-status", b"%d" % window.left(now_ms)),
            (b"x-bapi-limit-reset-timestamp", b"%d" % reset_ms),
        ]


class Limits:
    def __init__(self, scale: Scale = "bybit", ban_ms: int = 600_000) -> None:
        self._ban_ms = ban_ms
        self._is_off = scale == "off"
        self._factor = float(scale) if isinstance(scale, int | float) else 1.0
        self._vip = _UPGRADABLE.get(scale, 1.0) if isinstance(scale, str) else 1.0
        self._windows: dict[tuple[int, str], Window] = {}
        self._requests: dict[str, Window] = {}
        self._streams: dict[str, Window] = {}
        self._banned: dict[str, int] = {}

    def of(self, uid: int, path: str) -> Window | None:
        """Return the window of an endpoint; None if nothing is limited."""
        if self._is_off:
            return None
        window = self._windows.get((uid, path))
        if window is None:
            window = self._windows[uid, path] = self._window(path)
        return window

    def admits(self, ip: str, now_ms: int) -> bool:
        """Count a request of *ip*; one too many bars the address for a while."""
        if self._is_off:
            return True
        if self._banned:
            if self._banned.get(ip, 0) > now_ms:
                return False
            self._banned.pop(ip, None)
        if self._of_ip(self._requests, ip, _REQUESTS_PER_IP, FIVE_SECONDS).take(now_ms):
            return True
        if len(self._banned) >= _MOST_IPS:
            self._banned.pop(next(iter(self._banned)))
        self._banned[ip] = now_ms + self._ban_ms
        return False

    def admits_stream(self, ip: str, already_open: int, now_ms: int) -> bool:
        """Count a new connection of *ip*, which has *already_open* ones to the same channel."""
        if self._is_off:
            return True
        if already_open >= self._scaled(_OPEN_STREAMS_PER_IP):
            return False
        return self._of_ip(self._streams, ip, _STREAMS_PER_IP, FIVE_MINUTES).take(now_ms)

    def _window(self, path: str) -> Window:
        if path in _PER_MINUTE:
            return Window(self._scaled(_PER_MINUTE[path]), MINUTE)
        vip = self._vip if path.startswith("/v5/order/") else 1.0
        limit = _PER_SECOND.get(path, _UNLISTED)
        return Window(self._scaled(limit * (vip if limit == 10 else 1.0)), SECOND)

    def _of_ip(self, windows: dict[str, Window], ip: str, limit: int, period_ms: int) -> Window:
        window = windows.get(ip)
        if window is None:
            if len(windows) >= _MOST_IPS:
                windows.pop(next(iter(windows)))
            window = windows[ip] = Window(self._scaled(limit), period_ms)
        return window

    def _scaled(self, limit: float) -> int:
        return max(int(limit * self._factor), 1)
