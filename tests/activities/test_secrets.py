"""The exchange key, from a real Vault."""

from collections.abc import Callable
from pathlib import Path

import hvac
import pytest
from pydantic import SecretStr

from activities.secrets import (
    ExchangeKey,
    PlaceholderKey,
    SecretMissing,
    VaultRefused,
    VaultSecrets,
    VaultUnreachable,
)
from tradewright.app.process import ChildProcess
from tradewright.app.services import vault_server as vault_spec
from tradewright.domain.errors import Retry, TradewrightError
from tradewright.settings import Settings, VaultSettings

POLICY = 'path "{mount}/data/{path}" {{ capabilities = ["read"] }}'


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


@pytest.fixture
def write(root: hvac.Client, vault: VaultSettings, path: str) -> Callable[[dict[str, str]], None]:
    """Write what a person might have written, sense or nonsense."""

    def write(fields: dict[str, str]) -> None:
        root.secrets.kv.v2.create_or_update_secret(path, fields, mount_point=vault.mount)

    return write


@pytest.fixture
def role(root: hvac.Client, vault: VaultSettings, path: str) -> VaultSettings:
    """The way in of a worker: an AppRole that may read this one secret."""
    if "approle/" not in root.sys.list_auth_methods():
        root.sys.enable_auth_method("approle")
    name = path.replace("/", "-")
    root.sys.create_or_update_policy(name, POLICY.format(mount=vault.mount, path=path))
    root.auth.approle.create_or_update_approle(name, token_policies=[name])
    role_id = root.auth.approle.read_role_id(name)["data"]["role_id"]
    secret_id = root.auth.approle.generate_secret_id(name)["data"]["secret_id"]
    return vault.model_copy(
        update={"token": None, "role_id": role_id, "secret_id": SecretStr(secret_id)}
    )


async def test_a_key_is_read_as_it_was_written(vault: VaultSettings) -> None:
    settings = Settings(vault=vault)

    await VaultSecrets.of(settings).write_exchange_key(make_key())

    assert await VaultSecrets.of(settings).exchange_key() == make_key()


async def test_a_new_key_is_seen_at_once(vault: VaultSettings, path: str) -> None:
    secrets = VaultSecrets(vault, path)
    await secrets.write_exchange_key(make_key(1))
    await secrets.exchange_key()

    await VaultSecrets(vault, path).write_exchange_key(make_key(2))

    assert await secrets.exchange_key() == make_key(2)


async def test_an_app_role_reads_the_key(
    vault: VaultSettings, role: VaultSettings, path: str
) -> None:
    await VaultSecrets(vault, path).write_exchange_key(make_key())

    assert await VaultSecrets(role, path).exchange_key() == make_key()


async def test_an_app_role_logs_in_again_when_its_token_is_revoked(
    vault: VaultSettings, role: VaultSettings, path: str, root: hvac.Client
) -> None:
    await VaultSecrets(vault, path).write_exchange_key(make_key(1))
    secrets = VaultSecrets(role, path)
    await secrets.exchange_key()
    accessors = root.list("auth/token/accessors")["data"]["keys"]
    for accessor in accessors:
        if root.lookup_token(accessor, accessor=True)["data"]["path"].startswith("auth/approle"):
            root.revoke_token(accessor, accessor=True)
    await VaultSecrets(vault, path).write_exchange_key(make_key(2))

    assert await secrets.exchange_key() == make_key(2)


async def test_a_wrong_secret_id_is_refused_and_not_repeated(
    role: VaultSettings, path: str
) -> None:
    wrong = role.model_copy(update={"secret_id": SecretStr("b9d7-not-it")})

    with pytest.raises(VaultRefused, match=r"refused: .*ROLE_ID") as failure:
        await VaultSecrets(wrong, path).exchange_key()

    assert failure.value.retry is Retry.NEVER
    assert "b9d7" not in everything_said(failure.value)


async def test_a_wrong_token_is_refused_and_not_repeated(vault: VaultSettings, path: str) -> None:
    wrong = vault.model_copy(update={"token": SecretStr("b9d7-not-it")})

    with pytest.raises(VaultRefused, match="permission denied") as failure:
        await VaultSecrets(wrong, path).exchange_key()

    assert "b9d7" not in everything_said(failure.value)


async def test_no_way_in_is_said_before_anything_is_sent(path: str) -> None:
    with pytest.raises(VaultRefused, match="no token and no AppRole is set"):
        await VaultSecrets(VaultSettings(address="http://127.0.0.1:1"), path).exchange_key()


async def test_a_vault_that_is_away_may_be_asked_again(free_port: int, path: str) -> None:
    away = VaultSettings(address=f"http://127.0.0.1:{free_port}", token=SecretStr("b9d7-token"))

    with pytest.raises(VaultUnreachable, match="does not answer") as failure:
        await VaultSecrets(away, path).exchange_key()

    assert failure.value.retry is Retry.SAFE
    assert "b9d7" not in everything_said(failure.value)


async def test_the_last_good_key_serves_while_vault_is_away(tmp_path: Path, free_port: int) -> None:
    token = SecretStr("root-of-a-short-life")
    spec = vault_spec(port=free_port, token=token, log=tmp_path / "vault.log")
    settings = VaultSettings(address=f"http://127.0.0.1:{free_port}", token=token)
    secrets = VaultSecrets(settings, "desk")
    server = await ChildProcess.start(spec)
    try:
        await secrets.write_exchange_key(make_key())
        before = await secrets.exchange_key()
    finally:
        await server.stop(grace=0)

    assert await secrets.exchange_key() == before == make_key()


async def test_nothing_at_the_path_is_said(vault: VaultSettings, path: str) -> None:
    with pytest.raises(SecretMissing, match=rf"secret secret/{path} is missing.*write api_key"):
        await VaultSecrets(vault, path).exchange_key()


async def test_a_deleted_key_is_not_served_from_memory(
    vault: VaultSettings, path: str, root: hvac.Client
) -> None:
    secrets = VaultSecrets(vault, path)
    await secrets.write_exchange_key(make_key())
    await secrets.exchange_key()
    root.secrets.kv.v2.delete_latest_version_of_secret(path, mount_point=vault.mount)

    with pytest.raises(SecretMissing):
        await secrets.exchange_key()


async def test_half_a_key_is_said(
    vault: VaultSettings, path: str, write: Callable[[dict[str, str]], None]
) -> None:
    write({"api_key": make_key().api_key.get_secret_value()})

    with pytest.raises(SecretMissing, match="it holds no api_secret"):
        await VaultSecrets(vault, path).exchange_key()


@pytest.mark.parametrize(
    "placeholder",
    [
        *("your-api-key", "YOUR_API_KEY", "<your key here>", "changeme", "change-me", "xxx"),
        *("xxxxxxxxxxxxxxxx", "", "test", "test-key", "${BYBIT_API_KEY}", "************"),
        *("REPLACE_WITH_YOUR_SECRET", "example-key-123456", "api-secret", "0000000000000000"),
    ],
)
async def test_a_placeholder_is_refused(
    vault: VaultSettings,
    path: str,
    write: Callable[[dict[str, str]], None],
    placeholder: str,
) -> None:
    write({"api_key": placeholder, "api_secret": make_key().api_secret.get_secret_value()})

    with pytest.raises(PlaceholderKey, match="its api_key is no real key; write the key"):
        await VaultSecrets(vault, path).exchange_key()


async def test_a_placeholder_is_not_even_written(vault: VaultSettings, path: str) -> None:
    key = make_key().model_copy(update={"api_secret": SecretStr("your-api-secret")})

    with pytest.raises(PlaceholderKey, match="its api_secret"):
        await VaultSecrets(vault, path).write_exchange_key(key)


def test_a_key_does_not_show_itself() -> None:
    assert "Qm7k" not in f"{make_key()!r} {make_key()} {make_key().model_dump_json()}"


def everything_said(error: TradewrightError) -> str:
    chain: list[str] = []
    link: BaseException | None = error
    while link is not None:
        chain.append(f"{link!r} {link} {link.args}")
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    return " ".join(chain)
