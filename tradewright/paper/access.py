"""Accounts and API keys: made on the control side, kept in the state."""

import re
import secrets
from decimal import Decimal, InvalidOperation
from ipaddress import ip_address
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.routing import Route

from tradewright.paper.clock import moment, ms, wall
from tradewright.paper.control import RequestInvalid, answered
from tradewright.paper.exchange import MAIN, Exchange
from tradewright.paper.keys import TRADING, ApiKey, KeyRing

_ACCOUNT = re.compile(r"[A-Za-z0-9_-]{1,36}")
_DAY_MS = 86_400_000
_MOST_DAYS = 36_500
_MOST_CASH, _CASH_DIGITS = Decimal(10**15), 8
"""What is larger, or finer, no ledger could round."""
_FIRST = "first_key"
_ANYWHERE = "*"


class _Wish(msgspec.Struct, forbid_unknown_fields=True):
    account: str = MAIN
    cash: Any = None
    """A number, or the text of one. Of a new account; None: as much as the first one had."""
    read_only: bool = False
    permissions: tuple[str, ...] = ()
    """None: all."""
    ips: tuple[str, ...] = ()
    expires_days: int | None = None
    note: str = ""


_READER = msgspec.json.Decoder(_Wish, float_hook=Decimal)


def ring_of(exchange: Exchange) -> tuple[KeyRing, ApiKey | None]:
    """Return the keys that are valid, and the first one if it has just been made up.

    The first key is that of the settings, whose secret is kept nowhere, else one that is made up
    once and kept.
    """
    store, settings = exchange.store, exchange.settings
    key, secret = settings.api_key, settings.api_secret.get_secret_value()
    name = store.fact(_FIRST, str)
    known = next((k for k in store.api_keys() if k.key == name), None)
    if known is not None and (secret or key not in ("", known.key)):
        store.drop_key(known.key)
        known = None
    if key and secret:
        return KeyRing([_made(exchange, MAIN, key=key, secret=secret), *store.api_keys()]), None
    made = None
    if known is None:
        made = _made(exchange, MAIN, key=key, secret=secret)
        store.put_key(made)
        store.put_fact(_FIRST, made.key)
    return KeyRing(store.api_keys()), made


def routes(exchange: Exchange, ring: KeyRing) -> list[Route]:
    """Return ``/paper/keys``; like all of the control side it answers to loopback alone."""

    async def make(request: Request) -> dict[str, Any]:
        wish = _READER.decode(await request.body() or b"{}")
        permissions, ips = _permissions(wish.permissions), _ips(wish.ips)
        if wish.expires_days is not None and not 1 <= wish.expires_days <= _MOST_DAYS:
            raise RequestInvalid(f"expires_days must be positive, and at most {_MOST_DAYS}")
        await _open(exchange, wish)
        expires_ms = wish.expires_days and ms(wall()) + wish.expires_days * _DAY_MS
        made = _made(
            exchange,
            wish.account,
            read_only=wish.read_only,
            permissions=permissions,
            ips=ips,
            expires_ms=expires_ms,
            note=wish.note,
        )
        exchange.store.put_key(made)
        ring.add(made)
        return _shown(made) | {"secret": made.secret}

    async def shown(request: Request) -> dict[str, Any]:
        return {"list": [_shown(key) for key in ring]}

    async def revoke(request: Request) -> dict[str, Any]:
        key = request.query_params["key"]
        if ring.find(key) is None:
            raise RequestInvalid(f"there is no key {key}; list them")
        exchange.store.drop_key(key)
        ring.revoke(key)
        return {"revoked": key}

    return [
        Route("/paper/keys", answered(handler), methods=[method])
        for method, handler in (("POST", make), ("GET", shown), ("DELETE", revoke))
    ]


async def _open(exchange: Exchange, wish: _Wish) -> None:
    if not _ACCOUNT.fullmatch(wish.account):
        raise RequestInvalid("account must be of 1 to 36 letters, digits, - and _")
    if wish.account in exchange.engine.accounts:
        if wish.cash is not None:
            raise RequestInvalid(f"account {wish.account} exists already; leave cash out")
        return
    cash = exchange.settings.cash if wish.cash is None else _amount(wish.cash)
    if not cash.is_finite() or cash <= 0:
        raise RequestInvalid("cash must be positive")
    if cash > _MOST_CASH or cash != round(cash, _CASH_DIGITS):
        raise RequestInvalid(f"cash must be at most {_MOST_CASH}, of {_CASH_DIGITS} decimals")
    exchange.open_account(wish.account, cash)
    await exchange.durable()


def _amount(cash: object) -> Decimal:
    try:
        return Decimal(str(cash))
    except InvalidOperation:
        raise RequestInvalid(f"cash: {cash!r:.60} is no amount") from None


def _ips(wanted: tuple[str, ...]) -> tuple[str, ...]:
    """Return the addresses as they are compared: each in its one canonical form."""
    try:
        return tuple(ip if ip == _ANYWHERE else str(ip_address(ip)) for ip in wanted)
    except ValueError as e:
        raise RequestInvalid(f"ip: {e}; write one like 192.168.1.5") from None


def _permissions(wanted: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    if unknown := set(wanted) - {name for names in TRADING.values() for name in names}:
        raise RequestInvalid(f"there is no permission {', '.join(sorted(unknown))}")
    kept = {
        group: tuple(n for n in names if not wanted or n in wanted)
        for group, names in TRADING.items()
    }
    return {group: names for group, names in kept.items() if names}


def _made(
    exchange: Exchange, account: str, *, key: str = "", secret: str = "", **rights: Any
) -> ApiKey:
    return ApiKey(
        key or secrets.token_hex(9),
        secret or secrets.token_hex(18),
        account=account,
        uid=exchange.engine.accounts[account].profile.uid,
        created_ms=ms(wall()),
        **rights,
    )


def _shown(key: ApiKey) -> dict[str, Any]:
    granted = [name for names in key.permissions.values() for name in names]
    every = sum(len(names) for names in TRADING.values())
    return {
        "key": key.key,
        "account": key.account,
        "uid": key.uid,
        "read_only": key.read_only,
        "permissions": [] if len(granted) == every else granted,
        "ips": key.ips,
        "expires": key.expires_ms and moment(key.expires_ms).isoformat(),
        "note": key.note,
    }
