"""What becomes of Bybit's answers: each is a value, or a fact with what may follow it."""

import asyncio
import json
import threading
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
import structlog
from pydantic import SecretStr
from requests import ConnectionError as ConnectionFailed
from requests import ConnectTimeout, ReadTimeout

from activities import instruments, skew
from activities.bybit import BybitClient, http_session
from activities.secrets import ExchangeKey
from activities.urgency import Urgency, urgent
from tradewright.domain.errors import (
    ClockSkewed,
    ExchangeUnreachable,
    KeyRefused,
    OrderRejected,
    OutcomeUnknown,
    RateLimited,
    Retry,
    SymbolUnknown,
    TradewrightError,
)

ORDER = {"category": "linear", "symbol": "BTCUSDT", "orderLinkId": "tw-e1"}


def raises(error: Exception) -> Any:
    def fault(send: Any) -> Any:
        raise error

    return fault


def body(content: Any) -> Any:
    return lambda send: (content, None, {})


async def failure(bench: Any, method: str, fault: Any) -> TradewrightError:
    bench.line.spoil(method, fault)
    with pytest.raises(TradewrightError) as caught:
        await bench.client.call(method, **ORDER)
    return caught.value


BODIES: list[Any] = [{}, [], {"retCode": "x"}]
NO_ANSWER = [
    *(raises(error) for error in (ReadTimeout("late"), ConnectionFailed("reset by peer"))),
    *(body(content) for content in BODIES),
    raises(TypeError("argument of type 'NoneType' is not iterable")),
    raises(json.JSONDecodeError("no", "", 0)),
]


@pytest.mark.parametrize("fault", NO_ANSWER)
async def test_a_write_without_an_answer_is_unknown_and_a_read_is_repeated(
    bench: Any, fault: Any
) -> None:
    write = await failure(bench, "place_order", fault)
    read = await failure(bench, "get_positions", fault)

    assert (type(write), write.retry) == (OutcomeUnknown, Retry.ASK_FIRST)
    assert (type(read), read.retry) == (ExchangeUnreachable, Retry.SAFE)


@pytest.mark.parametrize("code", [429, 10000, 10014, 10016, 40004])
async def test_server_errors_leave_a_write_unknown(bench: Any, code: int) -> None:
    fault = bench.faults.answers(code, "Server Timeout")

    assert isinstance(await failure(bench, "place_order", fault), OutcomeUnknown)
    assert isinstance(await failure(bench, "get_positions", fault), ExchangeUnreachable)


@pytest.mark.parametrize("status", [409, 429, 500, 502, 504])
async def test_http_errors_leave_a_write_unknown(bench: Any, status: int) -> None:
    fault = bench.faults.http_status(status)

    assert isinstance(await failure(bench, "place_order", fault), OutcomeUnknown)
    assert isinstance(await failure(bench, "get_positions", fault), ExchangeUnreachable)


async def test_what_was_not_carried_out_may_be_repeated_or_not(bench: Any) -> None:
    answers, status = bench.faults.answers, bench.faults.http_status

    async def kind(fault: Any) -> type:
        return type(await failure(bench, "place_order", fault))

    assert await kind(raises(ConnectTimeout("no connection"))) is ExchangeUnreachable
    assert await kind(answers(10006)) is RateLimited
    assert await kind(answers(10002)) is ClockSkewed
    assert await kind(answers(10010)) is KeyRefused
    assert await kind(status(401)) is KeyRefused
    assert await kind(answers(110007, "Available balance is insufficient")) is OrderRejected
    assert await kind(answers(987654, "a code of next year")) is OrderRejected
    assert await kind(status(404)) is OrderRejected
    assert await kind(status(403)) is RateLimited


async def test_a_refused_connection_was_surely_not_sent(bench: Any, free_port: int) -> None:
    client = BybitClient(f"http://127.0.0.1:{free_port}", bench.keys)

    with pytest.raises(ExchangeUnreachable, match="place_order tw-e1"):
        await client.call("place_order", **ORDER)

    client.close()


async def test_a_limit_says_when_to_come_back_but_never_longer_than_its_second(
    bench: Any,
) -> None:
    far = {"X-Bapi-Limit-Reset-Timestamp": "99999999999999"}

    limited = await failure(bench, "place_order", bench.faults.answers(10006, "slow", **far))
    past = await failure(
        bench,
        "place_order",
        bench.faults.answers(10006, "slow", **{"X-Bapi-Limit-Reset-Timestamp": "1"}),
    )

    assert limited.retry_after is not None
    assert past.retry_after is not None
    assert (limited.retry_after.total_seconds(), past.retry_after.total_seconds()) == (1, 0.05)


async def test_a_used_up_budget_holds_the_next_call_of_that_method_back(bench: Any) -> None:
    def last_of_the_second(send: Any) -> Any:
        answer, elapsed, _ = send()
        headers = {"X-Bapi-Limit-Status": "0", "X-Bapi-Limit-Reset-Timestamp": "1"}
        return answer, elapsed, headers

    bench.line.spoil("get_wallet_balance", last_of_the_second)
    clock = asyncio.get_running_loop().time
    await bench.client.call("get_wallet_balance", accountType="UNIFIED")
    started = clock()

    await bench.client.call("get_wallet_balance", accountType="UNIFIED")

    assert clock() - started >= 0.04


async def test_public_reads_need_no_key(bench: Any) -> None:
    await bench.client.instrument("BTCUSDT")

    assert bench.keys.reads == 0


async def test_the_key_is_read_once_and_again_when_it_is_refused(bench: Any) -> None:
    await bench.client.call("get_account_info")
    await bench.client.call("get_account_info")
    assert bench.keys.reads == 1

    refused = await failure(bench, "get_positions", bench.faults.answers(10003, "invalid"))

    assert bench.keys.reads == 2
    assert "write a valid key" in str(refused)


async def test_a_key_that_was_renewed_in_vault_is_used_without_a_word(bench: Any) -> None:
    right = bench.keys.key
    bench.keys.key = ExchangeKey(
        api_key=SecretStr("kOutOfDate000"), api_secret=SecretStr("sOutOfDate000")
    )
    with pytest.raises(KeyRefused):
        await bench.client.call("get_account_info")
    bench.keys.key = right

    answer = await bench.client.call("get_account_info")

    assert answer["retCode"] == 0


async def test_a_wrong_secret_is_named_as_the_fault_and_not_shown(bench: Any) -> None:
    key = bench.keys.key
    bench.keys.key = ExchangeKey(api_key=key.api_key, api_secret=SecretStr("sWrongSecret42"))

    with pytest.raises(KeyRefused, match="the secret does not belong to the key") as caught:
        await bench.client.call("get_account_info")

    seen = repr(caught.value) + repr(caught.value.__cause__) + repr(vars(caught.value))
    assert key.api_key.get_secret_value() not in seen
    assert "sWrongSecret42" not in seen
    assert caught.value.retry is Retry.SAFE


async def test_an_instrument_is_fetched_once(bench: Any) -> None:
    first = await bench.client.instrument("ETHUSDT")
    again = await bench.client.instrument("ETHUSDT")

    assert first == again
    assert (first.tick_size, first.qty_step) == tuple(
        getattr(bench.paper.exchange.source.instruments["ETHUSDT"], name)
        for name in ("tick_size", "qty_step")
    )
    assert bench.line.count("get_instruments_info") == 1


async def test_a_hundred_who_want_an_instrument_ask_the_exchange_once(bench: Any) -> None:
    found = await asyncio.gather(*(bench.client.instrument("ETHUSDT") for _ in range(100)))

    assert bench.line.count("get_instruments_info") == 1
    assert len(set(found)) == 1


async def test_an_instrument_that_could_not_be_fetched_fails_for_all_and_is_not_kept(
    bench: Any,
) -> None:
    bench.line.spoil("get_instruments_info", bench.faults.http_status(503))

    asking = (bench.client.instrument("ETHUSDT") for _ in range(100))
    ends = await asyncio.gather(*asking, return_exceptions=True)
    again = await bench.client.instrument("ETHUSDT")

    assert {type(end) for end in ends} == {ExchangeUnreachable}
    assert bench.line.count("get_instruments_info") == 2
    assert again.symbol == "ETHUSDT"


async def test_who_is_cancelled_takes_the_others_fetch_not_along(bench: Any) -> None:
    asking = [asyncio.create_task(bench.client.instrument("ETHUSDT")) for _ in range(3)]
    await asyncio.sleep(0)

    asking[0].cancel()
    found: list[Any] = await asyncio.gather(*asking, return_exceptions=True)

    assert isinstance(found[0], asyncio.CancelledError)
    assert [one.symbol for one in found[1:]] == ["ETHUSDT"] * 2
    assert bench.line.count("get_instruments_info") == 1


async def test_an_old_instrument_serves_an_exit_when_the_exchange_is_away_and_nobody_else(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = await bench.client.instrument("ETHUSDT")
    monkeypatch.setattr(instruments, "MAX_AGE", 0.0)
    bench.line.always["get_instruments_info"] = bench.faults.http_status(503)

    with urgent(Urgency.EXIT):
        with structlog.testing.capture_logs() as logs:
            for_exit = await bench.client.instrument("ETHUSDT")
        with pytest.raises(ExchangeUnreachable):
            await bench.client.instrument("SOLUSDT")
    for other in (Urgency.STOP, Urgency.ENTRY):
        with urgent(other), pytest.raises(ExchangeUnreachable):
            await bench.client.instrument("ETHUSDT")

    assert for_exit == known
    stale = [entry for entry in logs if entry["event"] == "instrument_stale"]
    assert [(entry["symbol"], entry["age_s"]) for entry in stale] == [("ETHUSDT", 0)]
    del bench.line.always["get_instruments_info"]
    assert await bench.client.instrument("ETHUSDT") == known


async def test_an_exit_waits_a_moment_for_an_exchange_that_hangs_and_then_uses_what_it_has(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = await bench.client.instrument("ETHUSDT")
    monkeypatch.setattr(instruments, "MAX_AGE", 0.0)
    monkeypatch.setattr(instruments, "EXIT_PATIENCE", 0.05)
    held = threading.Event()
    bench.line.spoil("get_instruments_info", lambda send: held.wait(5) and send())

    with urgent(Urgency.EXIT):
        found = await bench.client.instrument("ETHUSDT")

    held.set()
    assert found == known


async def test_reads_that_hang_keep_no_exit_from_being_sent(bench: Any) -> None:
    await bench.order("BTCUSDT", "Buy", "0.001")
    held = threading.Event()
    bench.line.always["get_positions"] = lambda send: held.wait(5) and send()
    reads = [
        asyncio.create_task(bench.client.call("get_positions", category="linear", symbol="BTCUSDT"))
        for _ in range(40)
    ]
    await asyncio.sleep(0.05)

    await bench.order("BTCUSDT", "Sell", "0.001", reduceOnly=True)

    assert not any(read.done() for read in reads)
    held.set()
    await asyncio.gather(*reads)


# --- the exchange's clock ---------------------------------------------------------------------


def ahead(seconds: float) -> Any:
    """An answer of an exchange whose clock is that much ahead."""

    def fault(send: Any) -> Any:
        answer, elapsed, headers = send()
        answer["time"] += int(seconds * 1000)
        return answer, elapsed, headers

    return fault


async def test_every_answer_tells_how_far_the_clocks_are_apart(bench: Any) -> None:
    assert bench.client.clock_skew is None

    await bench.client.call("get_server_time")
    here = bench.client.clock_skew
    bench.line.always["get_server_time"] = ahead(-3)
    for _ in range(skew.KEPT):
        await bench.client.call("get_server_time")
    behind = bench.client.clock_skew

    assert here is not None
    assert behind is not None
    assert abs(here.total_seconds()) < 0.5
    assert -3.5 < behind.total_seconds() < -2.5


async def test_a_refusal_for_its_time_tells_the_skew_although_nothing_else_is_answered(
    bench: Any,
) -> None:
    """F1: 10002 in volatile markets; the offset is measured, and is a gate of its own."""
    now = int(time.time() * 1000)
    text = f"req_timestamp[{now}],server_timestamp[{now + 7000}],recv_window[5000]"

    assert isinstance(
        await failure(bench, "place_order", bench.faults.answers(10002, text)), ClockSkewed
    )

    assert 6.5 < bench.client.clock_skew.total_seconds() < 7.5


def test_the_quickest_of_the_last_answers_is_believed() -> None:
    clock, sent = skew.ClockSkew(), datetime(2026, 1, 1, tzinfo=UTC)

    def answer(took_ms: int, error_ms: int) -> None:
        answered = sent + timedelta(milliseconds=took_ms)
        middle = int((sent.timestamp() * 1000) + took_ms / 2)
        clock.add(middle + 200 + error_ms, sent, answered)

    answer(4000, 1900)
    answer(10, 3)
    answer(900, -400)

    assert clock.value == timedelta(milliseconds=203)
    for _ in range(skew.KEPT):
        answer(50, 20)
    assert clock.value == timedelta(milliseconds=220)


@pytest.mark.parametrize("symbol", ["NOSUCHUSDT", "BTCUSD"])
async def test_a_symbol_that_is_not_listed_is_unknown(bench: Any, symbol: str) -> None:
    with pytest.raises(SymbolUnknown) as caught:
        await bench.client.instrument(symbol)

    assert caught.value.retry is Retry.NEVER


async def test_a_client_that_is_closed_gives_its_connections_back(bench: Any) -> None:
    opened: list[Any] = []

    def session(key: ExchangeKey | None) -> Any:
        made = http_session(bench.paper.http_url, key, recv_window_ms=5000, timeout_s=5)
        opened.append(made)
        return made

    client = BybitClient(bench.paper.http_url, bench.keys, session_factory=session)
    await client.call("get_server_time")
    adapters = list(opened[0].client.adapters.values())
    assert any(len(adapter.poolmanager.pools) for adapter in adapters)

    client.close()

    assert not any(len(adapter.poolmanager.pools) for adapter in adapters)


async def test_what_must_be_sent_by_a_moment_is_not_sent_after_it_whatever_held_it_up(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class SlowKey:
        """A Vault that is slow to show the key that replaced the first one."""

        async def exchange_key(self) -> ExchangeKey:
            key: ExchangeKey = await bench.keys.exchange_key()
            if bench.keys.reads == 1:
                return key.model_copy(update={"api_key": SecretStr("replaced")})
            await asyncio.sleep(0.2)
            return key

    monkeypatch.setattr(bench.client, "_keys", SlowKey())
    order = {"category": "linear", "symbol": "BTCUSDT", "side": "Buy", "orderType": "Market"}

    with pytest.raises(ExchangeUnreachable, match=r"it had waited .* was not sent") as caught:
        await bench.client.call_by(time.monotonic() + 0.15, "place_order", qty="0.1", **order)

    assert (caught.value.retry, bench.line.count("place_order"), bench.held()) == (
        *(Retry.SAFE, 1, 0),
    )
    assert [bucket.used for bucket in bench.client.buckets() if bucket.name == "order/create"] == [
        1
    ]
    await bench.client.call("place_order", qty="0.1", **order)
    assert bench.held() == Decimal("0.1")


async def test_reads_that_protect_and_hang_hold_no_exit_up(bench: Any) -> None:
    let_go = threading.Event()
    bench.line.always["get_positions"] = lambda send: let_go.wait(20) and send()

    async def read() -> None:
        with urgent(Urgency.STOP):
            await bench.client.call("get_positions", category="linear", symbol="BTCUSDT")

    reading = [asyncio.create_task(read()) for _ in range(40)]
    await asyncio.sleep(0.2)
    try:
        async with asyncio.timeout(8):
            with urgent(Urgency.EXIT):
                await bench.client.call("get_open_orders", category="linear", symbol="BTCUSDT")
    finally:
        let_go.set()
        await asyncio.gather(*reading)


async def test_an_exit_goes_without_rules_that_do_not_come(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(instruments, "EXIT_PATIENCE", 0.05)
    let_go = threading.Event()
    bench.line.spoil("get_instruments_info", lambda send: let_go.wait(5) and send())

    with urgent(Urgency.EXIT), pytest.raises(ExchangeUnreachable, match=r"not within 0\.05 s"):
        await bench.client.instrument("ETHUSDT")

    let_go.set()
