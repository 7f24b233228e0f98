"""API keys: whose they are and what they may do."""

from collections.abc import Callable, Iterable, Iterator, Mapping

import msgspec

TRADING: Mapping[str, tuple[str, ...]] = {
    "ContractTrade": ("Order", "Position"),
    "Spot": ("SpotTrade",),
    "Wallet": ("AccountTransfer", "SubMemberTransfer"),
    "Options": ("OptionsTrade",),
    "Derivatives": ("DerivativesTrade",),
    "Exchange": ("ExchangeHistory",),
}
"""What a key may do if nothing was taken from it, in Bybit's words."""


class ApiKey(msgspec.Struct, frozen=True):
    key: str
    secret: str
    account: str = "main"
    uid: int = 100_001
    """Of the account: what limits are counted by."""
    read_only: bool = False
    permissions: Mapping[str, tuple[str, ...]] = msgspec.field(default_factory=lambda: TRADING)
    ips: tuple[str, ...] = ()
    """Addresses that it may be used from; none, or ``*``, stands for any."""
    created_ms: int = 0
    expires_ms: int | None = None
    note: str = ""

    def may(self, group: str, permission: str) -> bool:
        return permission in self.permissions.get(group, ())

    def has_expired(self, now_ms: int) -> bool:
        return self.expires_ms is not None and now_ms >= self.expires_ms

    def is_bound_elsewhere(self, ip: str) -> bool:
        return bool(self.ips) and "*" not in self.ips and ip not in self.ips


class KeyRing:
    """The keys that are valid now; where they are kept is the state's affair."""

    def __init__(self, keys: Iterable[ApiKey] = ()) -> None:
        self._keys = {key.key: key for key in keys}
        self.on_revoked: list[Callable[[str], None]] = []
        """Called with a key that is no longer valid."""

    def __iter__(self) -> Iterator[ApiKey]:
        return iter(tuple(self._keys.values()))

    def find(self, key: str) -> ApiKey | None:
        return self._keys.get(key)

    def add(self, key: ApiKey) -> None:
        self._keys[key.key] = key

    def revoke(self, key: str) -> None:
        self._keys.pop(key, None)
        for call in self.on_revoked:
            call(key)
