"""In which words things are told, and who is told."""

import json
from decimal import Decimal
from pathlib import Path

import pytest
from pydantic import SecretStr

from tests.unit.life import OPENED, after, fill, read
from tradewright.domain.account import RefusalCode
from tradewright.domain.execution import ExitReason
from tradewright.domain.market import Side
from tradewright.domain.notice import (
    EVERYDAY,
    LONGEST_TEXT,
    LONGEST_TITLE,
    Notice,
    NotifySettings,
    Priority,
    refusal_of_note,
    strategy_needs_operator,
    trade_closed,
    trade_needs_operator,
    trade_opened,
)
from tradewright.domain.trade import EntryRejected, ExitRequested, Started, StopConfirmed
from tradewright.settings import Settings, SettingsInvalid

TOKEN = "AAbbCCddEE112233"


# --- words ------------------------------------------------------------------------------------


def test_an_opened_trade_says_how_much_where_and_what_it_risks() -> None:
    told = trade_opened(after(*OPENED, StopConfirmed(price=Decimal("49500.0"))))

    assert told.title == "BTCUSDT long opened"
    assert told.text == "0.1 at 50100, stop 49500, 50.00 USDT at risk\npreset ema"
    assert told.priority is Priority.ROUTINE
    assert told.key == f"trade/BTCUSDT/tw{'a' * 16}/opened"


def test_a_closed_trade_says_what_it_earned_in_money_and_in_r_and_why() -> None:
    left = ExitRequested(reason=ExitReason.TIME_STOP, note="12 candles")

    told = trade_closed(after(*OPENED, left, fill(2, Side.SELL), read()))

    assert told.title == "BTCUSDT long closed: +9.00 USDT (+0.18 R)"
    assert told.text == (
        "time stop: 12 candles\n0.1 from 50100 to 50200, fees 1.00 USDT\npreset ema"
    )


def test_a_trade_that_never_entered_says_why() -> None:
    rejected = EntryRejected(code="price_passed", reason="it is too late")

    told = trade_closed(after(Started(), rejected))

    assert told.title == "BTCUSDT long was not entered"
    assert told.text == "price_passed: it is too late"


def test_a_trade_that_cannot_go_on_is_urgent_until_it_can() -> None:
    trade = after(*OPENED)

    needs, over = trade_needs_operator(trade, "its exit fails"), trade_needs_operator(trade, "")

    assert (needs.priority, needs.resolved) == (Priority.URGENT, False)
    assert needs.text == "its exit fails"
    assert (over.key, over.resolved) == (needs.key, True)


def test_a_strategy_that_cannot_go_on_is_a_warning() -> None:
    needs = strategy_needs_operator("main", "ema", "signal pause was not understood")

    assert (needs.priority, needs.resolved) == (Priority.WARNING, False)
    assert strategy_needs_operator("main", "ema", "").resolved


def test_only_refusals_that_are_no_everyday_matter_are_told() -> None:
    told = refusal_of_note("main", "ema", "BTCUSDT", "max_daily_loss", "5.1% lost")

    assert told is not None
    assert told.key == "strategy/ema/refused/max_daily_loss"
    assert (told.title, told.text) == ("ema may not enter: max daily loss", "BTCUSDT: 5.1% lost")
    assert refusal_of_note("main", "ema", "BTCUSDT", "symbol_taken", "held") is None
    assert set(RefusalCode) >= EVERYDAY


def test_no_text_is_too_long_to_be_told() -> None:
    told = Notice(
        key="a",
        account="main",
        priority=Priority.URGENT,
        title="t" * 1000,
        text="x" * 10_000,
    )

    assert (len(told.title), len(told.text)) == (LONGEST_TITLE, LONGEST_TEXT)


# --- receivers --------------------------------------------------------------------------------


def test_a_receiver_is_a_url_or_a_url_and_how_urgent_it_must_be() -> None:
    settings = NotifySettings.model_validate(
        {"urls": [f"tgram://{TOKEN}/1", {"url": "json://x", "name": "ops", "from": "urgent"}]}
    )

    first, second = settings.receivers
    assert (first.name, first.at_least) == ("tgram-1", Priority.ROUTINE)
    assert (second.name, second.at_least) == ("ops", Priority.URGENT)
    assert TOKEN not in repr(settings) + settings.model_dump_json()


def test_one_receiver_needs_no_list() -> None:
    settings = NotifySettings.model_validate({"urls": f"tgram://{TOKEN}/1"})

    assert [receiver.name for receiver in settings.receivers] == ["tgram-1"]


def test_receivers_reach_child_processes_and_the_file_of_a_running_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    urls: list[object] = [
        {"name": "ops", "url": f"json://x/{TOKEN}", "from": "warning"},
        f"tgram://{TOKEN}/1",
    ]
    settings = Settings(notify=NotifySettings.model_validate({"urls": urls}))
    file = tmp_path / "running.yaml"
    file.write_text(json.dumps(settings.document()))

    read = Settings.load(file)
    for name, value in settings.environment().items():
        if name.startswith("TRADEWRIGHT_NOTIFY"):
            monkeypatch.setenv(name, value)
    inherited = Settings.load()

    for found in (read, inherited):
        assert found.notify.receivers == settings.notify.receivers
        assert found.notify.receivers[0].url == SecretStr(f"json://x/{TOKEN}")


@pytest.mark.parametrize(
    ("urls", "said"),
    [
        ([{"url": f"json://{TOKEN}", "from": "sometimes"}], "must be one of routine, warning"),
        ([{"url": f"json://{TOKEN}", "name": "a/b"}], "TRADEWRIGHT_NOTIFY__URLS__0__NAME"),
        ([{"urls": f"json://{TOKEN}"}], "key notify.urls.0.urls is unknown"),
        ([{"url": f"json://{TOKEN}", "name": "a"}] * 2, "receivers share the name a"),
        ({"a": f"json://{TOKEN}"}, "TRADEWRIGHT_NOTIFY__URLS"),
        ([[f"json://{TOKEN}"]], "TRADEWRIGHT_NOTIFY__URLS__0"),
    ],
)
def test_wrong_receivers_are_told_without_their_urls(
    tmp_path: Path, urls: object, said: str
) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text(json.dumps({"notify": {"urls": urls}}))

    with pytest.raises(SettingsInvalid) as failure:
        Settings.load(file)

    assert said in str(failure.value)
    assert TOKEN not in str(failure.value)


def test_a_variable_that_is_no_list_is_told_without_its_url(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TRADEWRIGHT_NOTIFY__URLS", f"json://{TOKEN}")

    with pytest.raises(SettingsInvalid) as failure:
        Settings.load()

    assert TOKEN not in str(failure.value)
    assert '"notify"' in str(failure.value)
