"""The exchange key, read from Vault when it is needed and kept nowhere but in memory."""

import asyncio
import re
from collections.abc import Callable, Mapping
from typing import Any, Self
from urllib.parse import urlsplit

import hvac
import requests
import structlog
from hvac.exceptions import Forbidden, InvalidPath, InvalidRequest, Unauthorized, VaultError
from pydantic import SecretStr
from requests import RequestException

from tradewright.domain.errors import Retry, TradewrightError
from tradewright.domain.market import Value
from tradewright.settings import Settings, VaultSettings
from tradewright.telemetry import register_secret

log = structlog.get_logger(__name__)

LOOPBACK = {"127.0.0.1", "localhost", "::1"}
ANSWER_WITHIN = 5.0
SHORTEST_KEY = 8
NOTIFY = "notify"
# Long enough that no random key of 36 letters and digits holds one by chance
PLACEHOLDERS = (
    *("apikey", "apisecret", "secretkey", "yourkey", "yoursecret"),
    *("changeme", "example", "placeholder", "replace", "xxxxxx"),
)
PLACEHOLDER_WORDS = frozenset(
    (
        *("a", "an", "and", "here", "id", "in", "me", "my", "some", "the", "this", "to", "your"),
        *("api", "bybit", "exchange", "key", "password", "secret", "token", "value"),
        *("bar", "change", "dummy", "fake", "foo", "insert", "none", "null", "put", "real"),
        *("test", "todo", "write"),
    )
)


class VaultUnreachable(TradewrightError):
    retry = Retry.SAFE

    def __init__(self, address: str, detail: str) -> None:
        super().__init__(
            f"vault {address} does not answer: {detail}; start it, or correct "
            f"TRADEWRIGHT_VAULT__ADDRESS"
        )
        self.address = address


class VaultRefused(TradewrightError):
    """Vault answers, and does not let us in."""

    def __init__(self, address: str, detail: str) -> None:
        super().__init__(
            f"vault {address} refused: {detail}; set TRADEWRIGHT_VAULT__TOKEN, or "
            f"TRADEWRIGHT_VAULT__ROLE_ID and _SECRET_ID, to what may read the exchange key"
        )
        self.address = address


class SecretMissing(TradewrightError):
    def __init__(self, path: str, detail: str) -> None:
        super().__init__(f"secret {path} is missing: {detail}; write api_key and api_secret to it")
        self.path = path


class PlaceholderKey(TradewrightError):
    """What stands in Vault is not a key but a reminder to write one there."""

    def __init__(self, path: str, field: str) -> None:
        super().__init__(
            f"secret {path} holds a placeholder: its {field} is no real key; "
            f"write the key that the exchange gave you"
        )
        self.path = path
        self.field = field


class ExchangeKey(Value):
    api_key: SecretStr
    api_secret: SecretStr


class VaultSecrets:
    """Reads the account's exchange key; the last good one serves while Vault is away."""

    def __init__(self, vault: VaultSettings, path: str) -> None:
        self._vault = vault
        self._path = path
        self._client: hvac.Client | None = None
        self._last: ExchangeKey | None = None
        self._last_urls: Mapping[str, Any] | None = None
        self._turn = asyncio.Lock()

    @classmethod
    def of(cls, settings: Settings) -> Self:
        return cls(settings.vault, settings.vault_path)

    async def exchange_key(self) -> ExchangeKey:
        """Return the key as Vault holds it now, or the last good one if Vault gives none.

        A Vault that is away, or no longer lets us in, must not keep an exit from its key. A
        secret that was taken away or overwritten is another matter: somebody meant it.

        Raises:
            VaultUnreachable: Vault is away and no key was read before.
            VaultRefused: The token or the AppRole is not accepted and no key was read before.
            SecretMissing: There is nothing at the path, or half of it.
            PlaceholderKey: What is there was never a key.
        """
        try:
            fields = await self._read(self._path)
        except (VaultUnreachable, VaultRefused) as e:
            if self._last is None:
                raise
            log.warning("vault_away", vault=e.address, detail=str(e), key="last good one")
            return self._last
        self._last = _key(self._name, fields)
        return self._last

    async def notify_urls(self) -> Mapping[str, Any]:
        """Return who is to be told, beside the exchange key at ``<path>/notify``: name and URL.

        The last that was read serves while Vault is away.

        Raises:
            VaultUnreachable: Vault is away and nothing was read before.
            VaultRefused: It may not be read, and was not before.
            SecretMissing: There is nothing at the path.
        """
        try:
            self._last_urls = await self._read(f"{self._path}/{NOTIFY}")
        except (VaultUnreachable, VaultRefused):
            if self._last_urls is None:
                raise
        return self._last_urls

    async def write_exchange_key(self, key: ExchangeKey) -> None:
        """Store *key* where `exchange_key` finds it."""
        fields = {
            "api_key": key.api_key.get_secret_value(),
            "api_secret": key.api_secret.get_secret_value(),
        }
        _key(self._name, fields)
        await self._call(
            lambda client: client.secrets.kv.v2.create_or_update_secret(
                self._path, fields, mount_point=self._vault.mount
            )
        )

    async def _read(self, path: str) -> Mapping[str, Any]:
        found: Mapping[str, Any] = await self._call(
            lambda client: client.secrets.kv.v2.read_secret_version(
                path, mount_point=self._vault.mount, raise_on_deleted_version=True
            )["data"]["data"]
        )
        return found

    @property
    def _name(self) -> str:
        return f"{self._vault.mount}/{self._path}"

    async def _call(self, request: Callable[[hvac.Client], Any]) -> Any:
        async with self._turn:
            # hvac blocks; a thread keeps the worker's event loop free
            return await asyncio.to_thread(self._authorised, request)

    def _authorised(self, request: Callable[[hvac.Client], Any]) -> Any:
        # hvac's errors carry the request, so none of them is chained to ours
        address = self._vault.address
        try:
            if self._client is not None:
                try:
                    return request(self._client)
                except Forbidden:
                    # The login ran out; a fresh one decides
                    self._client = None
            client = self._login()
            answer = request(client)
        except InvalidPath:
            raise SecretMissing(self._name, "vault has nothing at this path") from None
        except (Forbidden, Unauthorized, InvalidRequest) as e:
            raise VaultRefused(address, _detail(e)) from None
        except (VaultError, RequestException) as e:
            raise VaultUnreachable(address, _detail(e)) from None
        self._client = client
        return answer

    def _login(self) -> hvac.Client:
        vault = self._vault
        session = requests.Session()
        # A proxy of the machine is no way to the machine itself
        session.trust_env = urlsplit(vault.address).hostname not in LOOPBACK
        token = vault.token.get_secret_value() if vault.token else ""
        client = hvac.Client(url=vault.address, token=token, timeout=ANSWER_WITHIN, session=session)
        if vault.role_id and vault.secret_id:
            client.auth.approle.login(vault.role_id, vault.secret_id.get_secret_value())
        elif not token:
            raise VaultRefused(vault.address, "no token and no AppRole is set") from None
        return client


def _key(name: str, fields: Mapping[str, Any]) -> ExchangeKey:
    for field in ExchangeKey.model_fields:
        if field not in fields:
            raise SecretMissing(name, f"it holds no {field}")
        if _is_placeholder(str(fields[field])):
            raise PlaceholderKey(name, field)
    key = ExchangeKey(**{field: str(fields[field]) for field in ExchangeKey.model_fields})
    for secret in (key.api_key, key.api_secret):
        register_secret(secret)
    return key


def _is_placeholder(value: str) -> bool:
    words = re.findall(r"[a-z0-9]+", value.lower())
    squeezed = "".join(words)
    return (
        len(value) < SHORTEST_KEY
        or len(set(squeezed)) < 3
        or any(placeholder in squeezed for placeholder in PLACEHOLDERS)
        or PLACEHOLDER_WORDS.issuperset(words)
    )


def _detail(error: Exception) -> str:
    if isinstance(error, VaultError):
        return ", ".join(error.errors or [type(error).__name__])
    return type(error).__name__
