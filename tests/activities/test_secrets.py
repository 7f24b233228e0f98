"""The exchange key, from a real Vault."""

import hvac
import pytest
from pydantic import SecretStr

from activities.secrets import (
    ExchangeKey,
    VaultSecrets,
)
from tradewright.settings import VaultSettings

PATH = "desk/key"


def make_key(number: int = 1) -> ExchangeKey:
    return ExchangeKey(
        api_key=SecretStr(f"Qm7kT2pW9xLc4RvN{number:02}"),
        api_secret=SecretStr(f"hV3nB8zK5qYw1JtG6mXd0PsF4cRa9LeU7o{number:02}"),
    )


@pytest.fixture
def path(vault: VaultSettings) -> str:
    return vault.path.format(venue="paper", account="main")


@pytest.fixture
def root(vault: VaultSettings) -> hvac.Client:
    assert vault.token
    return hvac.Client(url=vault.address, token=vault.token.get_secret_value())


async def test_a_key_is_read_as_it_was_written(vault: VaultSettings, path: str) -> None:
    await VaultSecrets(vault, path).write_exchange_key(make_key())

    assert await VaultSecrets(vault, path).exchange_key() == make_key()
