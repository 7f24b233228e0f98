"""The exchange's key for a kill without Temporal: from Vault, the environment, or a person."""

import os
from collections.abc import Awaitable, Callable
from typing import Final

import structlog
from pydantic import SecretStr

from activities.secrets import (
    ExchangeKey,
    PlaceholderKey,
    SecretMissing,
    VaultRefused,
    VaultSecrets,
    VaultUnreachable,
)
from tradewright.settings import Settings
from tradewright.telemetry import register_secret

log = structlog.get_logger(__name__)

KEY_VARIABLE, SECRET_VARIABLE = "BYBIT_API_KEY", "BYBIT_API_SECRET"
KEYLESS: Final = (VaultUnreachable, VaultRefused, SecretMissing, PlaceholderKey)

AskKey = Callable[[], Awaitable[ExchangeKey | None]]


class Keys:
    """Vault's key; where Vault gives none, that of the environment, or else a person's."""

    def __init__(self, settings: Settings, ask: AskKey) -> None:
        self._vault = VaultSecrets.of(settings)
        self._ask = ask
        self._given: ExchangeKey | None = None

    async def exchange_key(self) -> ExchangeKey:
        try:
            return await self._vault.exchange_key()
        except KEYLESS as e:
            self._given = self._given or _from_environment() or await self._ask()
            if self._given is None:
                raise
            log.warning("vault_gives_no_key", detail=str(e))
        for secret in (self._given.api_key, self._given.api_secret):
            register_secret(secret)
        return self._given


def _from_environment() -> ExchangeKey | None:
    key, secret = os.environ.get(KEY_VARIABLE), os.environ.get(SECRET_VARIABLE)
    if not key or not secret:
        return None
    return ExchangeKey(api_key=SecretStr(key), api_secret=SecretStr(secret))
