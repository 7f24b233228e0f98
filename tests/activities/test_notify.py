"""Telling people, through a real apprise, to a real receiver on this machine."""

import json
import logging
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from threading import Event
from typing import Any

import hvac
import pytest
import structlog
from pydantic import SecretStr
from temporalio.testing import ActivityEnvironment

import activities.notify
from activities.notify import Notifier, hidden
from activities.secrets import VaultSecrets
from tests.webhook import PASSWORD, TOKEN, Webhook, listening
from tradewright import telemetry
from tradewright.app.services import free_port
from tradewright.domain.notice import NotifySettings, Priority
from tradewright.domain.notification import Delivery, Message
from tradewright.settings import Settings, VaultSettings

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    with listening() as hook:
        yield hook


Make = Callable[..., Notifier]


@pytest.fixture
def make(vault: VaultSettings) -> Make:
    def make(*urls: object) -> Notifier:
        settings = Settings(vault=vault, notify=NotifySettings.model_validate({"urls": urls}))
        return Notifier(settings, VaultSecrets.of(settings))

    return make


def message(**changes: Any) -> Message:
    fields = {
        "number": 1,
        "account": "main",
        "priority": Priority.WARNING,
        "title": "BTCUSDT long needs a person",
        "text": "its exit is not answered",
        "workflow_id": "trade/BTCUSDT/tw",
        "at": NOW,
    }
    return Message.model_validate(fields | changes)


async def send(notifier: Notifier, **changes: Any) -> Delivery:
    delivery: Delivery = await ActivityEnvironment().run(notifier.send, message(**changes))
    return delivery


async def test_a_webhook_gets_the_words_and_where_to_look(make: Make, webhook: Webhook) -> None:
    delivery = await send(make({"name": "ops", "url": webhook.url}))

    assert delivery == Delivery(delivered=("ops",))
    [got] = webhook.got
    assert got["title"] == "paper main: BTCUSDT long needs a person"
    assert got["message"] == (
        "its exit is not answered\n"
        "http://127.0.0.1:8233/namespaces/default/workflows/trade%2FBTCUSDT%2Ftw"
    )
    assert got["type"] == "warning"
    assert webhook.paths == [f"/hooks/{TOKEN}"]


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"priority": Priority.ROUTINE}, "info"),
        ({"priority": Priority.URGENT}, "failure"),
        ({"priority": Priority.URGENT, "over": True}, "success"),
    ],
)
async def test_a_receiver_sees_how_urgent_it_is(
    make: Make, webhook: Webhook, changes: dict[str, Any], kind: str
) -> None:
    await send(make(webhook.url), **changes)

    assert [got["type"] for got in webhook.got] == [kind]


async def test_a_receiver_that_is_down_does_not_keep_others_from_being_told(
    make: Make, webhook: Webhook
) -> None:
    down = f"json://127.0.0.1:{free_port()}/hooks/{TOKEN}"

    delivery = await send(make(down, webhook.url, "nonsense://x", "json://[broken"))

    assert delivery.delivered == ("json-2",)
    assert len(webhook.got) == 1
    assert {f.receiver: f.reason for f in delivery.failed} == {
        "json-1": "A Connection error occurred sending JSON notification to ***.",
        "nonsense-3": "the url is none that apprise understands",
        "json-4": "the url is none that apprise understands",
    }


async def test_a_receiver_that_refuses_says_why(make: Make, webhook: Webhook) -> None:
    webhook.status = 403

    delivery = await send(make(webhook.url))

    [failure] = delivery.failed
    assert "error=403" in failure.reason


async def test_a_receiver_that_hangs_has_its_time_and_no_more(
    make: Make, webhook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(activities.notify, "TAKEN_WITHIN", 0.2)
    webhook.hanging = Event()

    delivery = await send(make(webhook.url))

    [failure] = delivery.failed
    assert failure.receiver == "json-1"
    assert webhook.got == []


async def test_each_receiver_hears_what_is_urgent_enough_for_it(
    make: Make, webhook: Webhook
) -> None:
    notifier = make(
        {"name": "all", "url": webhook.url},
        {"name": "night", "url": webhook.url, "from": "urgent"},
    )

    heard = [(await send(notifier, priority=p)).delivered for p in Priority]

    assert heard == [("all",), ("all",), ("all", "night")]


async def test_only_those_are_told_again_who_did_not_take_it(make: Make, webhook: Webhook) -> None:
    notifier = make({"name": "a", "url": webhook.url}, {"name": "b", "url": webhook.url})

    assert (await send(notifier, receivers=("b",))).delivered == ("b",)
    # One that the settings do not name any more is nobody's loss
    assert await send(notifier, receivers=("gone",)) == Delivery()


@pytest.fixture
def beside_the_key(vault: VaultSettings) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Write what people put beside the exchange key."""
    assert vault.token
    root = hvac.Client(url=vault.address, token=vault.token.get_secret_value())
    path = f"{Settings(vault=vault).vault_path}/notify"

    def write(fields: dict[str, Any]) -> None:
        root.secrets.kv.v2.create_or_update_secret(path, fields, mount_point=vault.mount)

    yield write
    root.secrets.kv.v2.delete_metadata_and_all_versions(path, mount_point=vault.mount)


async def test_receivers_may_stand_in_vault(
    make: Make, webhook: Webhook, beside_the_key: Callable[[dict[str, Any]], None]
) -> None:
    beside_the_key(
        {
            "telegram": webhook.url,
            "mail": {"url": webhook.url, "from": "urgent"},
            "broken": {"adress": TOKEN},
        }
    )
    notifier = make()

    assert (await send(notifier)).delivered == ("telegram",)
    assert {*(await send(notifier, priority=Priority.URGENT)).delivered} == {"telegram", "mail"}


async def test_what_nobody_can_be_told_while_vault_is_away_is_tried_again() -> None:
    away = VaultSettings(address=f"http://127.0.0.1:{free_port()}", token=SecretStr("t"))
    settings = Settings(vault=away)

    delivery = await send(Notifier(settings, VaultSecrets.of(settings)))

    [failure] = delivery.failed
    assert (failure.receiver, delivery.delivered) == ("", ())
    assert "does not answer" in failure.reason


async def test_without_vault_those_of_the_settings_are_told(webhook: Webhook) -> None:
    away = VaultSettings(address=f"http://127.0.0.1:{free_port()}", token=SecretStr("t"))
    settings = Settings(vault=away, notify=NotifySettings.model_validate({"urls": [webhook.url]}))

    assert (await send(Notifier(settings, VaultSecrets.of(settings)))).delivered == ("json-1",)


@pytest.fixture
def logs(tmp_path: Path) -> Iterator[Callable[[], str]]:
    """Log all that may be logged, and return what was."""
    old = structlog.get_config()
    level = logging.getLogger().level
    telemetry.configure("test", level="debug", log_format="json", logs=tmp_path)
    yield lambda: (tmp_path / "test.jsonl").read_text()
    telemetry.configure("test", level="warning")
    for handler in [h for h in logging.getLogger().handlers if hasattr(h, "is_tradewright")]:
        logging.getLogger().removeHandler(handler)
        handler.close()
    logging.getLogger().setLevel(level)
    structlog.configure(**old)


async def test_the_log_is_always_told(make: Make, logs: Callable[[], str]) -> None:
    await send(make())
    await send(make(), priority=Priority.URGENT, title="tripped", receivers=())
    await send(make(), priority=Priority.URGENT, title="tripped", receivers=("again",))

    lines = [json.loads(line) for line in logs().splitlines()]
    told = [(ln["level"], ln["title"]) for ln in lines if ln["event"] == "notice"]
    assert told == [("warning", "BTCUSDT long needs a person"), ("error", "tripped")]


async def test_no_part_of_a_url_is_in_a_log_or_an_error(
    make: Make, webhook: Webhook, logs: Callable[[], str]
) -> None:
    down = f"json://ann:{PASSWORD}@127.0.0.1:{free_port()}/hooks/{TOKEN}?+X-Key={TOKEN[::-1]}"
    unknown = f"unheard://{TOKEN[:9]}/{TOKEN}"
    notifier = make(webhook.url, down, unknown)
    webhook.status = 500

    delivery = await send(notifier)
    logging.getLogger("urllib3").warning("retrying /hooks/%s of ann:%s", TOKEN, PASSWORD)

    assert len(delivery.failed) == 3
    told = logs() + delivery.model_dump_json()
    assert "notice_not_taken" in told
    assert [s for s in (TOKEN, TOKEN[::-1], PASSWORD, TOKEN[:9]) if s in told] == []


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("tgram://123456:AAbbCC/4711", "chat 4711 of 123456:AAbbCC, bot AAbbCC"),
        ("mailto://ann:p%40ss@example.org?to=bob@example.org", "p@ss, p%40ss, bob@example.org"),
        ("json://host.org/a/token?+X-Key=seven", "/a/token at host.org with seven"),
    ],
)
def test_a_reason_holds_nothing_of_the_url(url: str, text: str) -> None:
    told = hidden(text, SecretStr(url))

    secrets = ("4711", "AAbbCC", "123456", "p@ss", "p%40ss", "bob", "token", "seven", "host.org")
    assert [secret for secret in secrets if secret in told] == []
