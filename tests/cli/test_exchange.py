"""`tradewright exchange` where nobody, or only a dead process, is there to answer."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from tests.cli.conftest import Call, System
from tradewright.app import exchange_control
from tradewright.app.exchange_control import ProcessLine
from tradewright.cli.exit import ExitCode
from tradewright.ports import BreakerLine, BucketLine, ExchangeStatus

NOW = datetime.now(UTC)
WELL = ProcessLine(
    process="7@host",
    queues=("trading", "market"),
    seen_at=NOW,
    status=ExchangeStatus(
        breakers=(
            BreakerLine(
                group="order",
                state="open",
                failures=6,
                detail="HTTP 503",
                since=NOW - timedelta(minutes=2),
                probe_in=3.21,
            ),
        ),
        buckets=(
            BucketLine(name="order/create", limit=10, period=1, used=4, foreign=3, waiting=2),
            BucketLine(name="market", period=1, used=1, foreign=0, paused_for=7),
        ),
        clock_skew_ms=-12.4,
        was_reset=("order", "order/create"),
    ),
)
GONE = ProcessLine(
    process="8@host",
    queues=("kill",),
    seen_at=NOW - timedelta(seconds=30),
    fault="no answer within 4 s",
)


def answer_with(monkeypatch: pytest.MonkeyPatch, *lines: ProcessLine) -> None:
    async def answer(*_: object, **__: object) -> list[ProcessLine]:
        return [_as_of_now(line) for line in lines]

    monkeypatch.setattr(exchange_control, "exchange_status", answer)
    monkeypatch.setattr(exchange_control, "reset_exchange", answer)


def _as_of_now(line: ProcessLine) -> ProcessLine:
    """Return *line* with its times as far back as they are written, however long ago that was."""
    # The command reads the clock before it asks
    since = datetime.now(UTC) - NOW - timedelta(seconds=0.5)
    status = line.status
    if status is not None:
        breakers = tuple(
            b.model_copy(update={"since": b.since + since if b.since else None})
            for b in status.breakers
        )
        status = status.model_copy(update={"breakers": breakers})
    return line.model_copy(update={"seen_at": line.seen_at + since, "status": status})


async def test_without_a_worker_process_the_command_says_that_nobody_answers(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Workers of other tests have polled the same server lately
    monkeypatch.setattr(exchange_control, "GONE_AFTER", timedelta(0))

    for command in (("status",), ("reset", "order")):
        answer = await system.call("exchange", *command)
        assert answer.code == ExitCode.UNREACHABLE
        assert f"account {system.account} has no worker process" in answer.err
        assert "tradewright up" in answer.err


def test_without_temporal_the_command_says_so(call: Call) -> None:
    answer = call("exchange", "status", "-o", "json")

    assert answer.code == ExitCode.UNREACHABLE
    assert answer.document["error"]["type"] == "TemporalUnreachable"


async def test_the_table_shows_who_answers_and_names_who_does_not(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer_with(monkeypatch, WELL, GONE)

    shown = await system.call("exchange", "status")

    assert shown.code == ExitCode.UNREACHABLE
    words = " ".join(shown.out.split())
    assert "7@host trading, market" in words
    assert "12 ms behind" in words
    assert "7@host order open 2 min" in words
    assert "6 in 3.2 s HTTP 503" in words
    assert "7@host order/create 4 3 10 in 1 s 2" in words
    assert "7.0 s" in words
    assert "process 8@host gave no answer within 4 s; it was seen " in shown.err


async def test_a_reset_says_what_it_reset_and_knows_what_there_is(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer_with(monkeypatch, WELL)
    done = await system.call("exchange", "reset", "order", "--by", "ann")
    document = await system.call("exchange", "reset", "-o", "json")
    assert WELL.status is not None
    nothing = WELL.model_copy(update={"status": WELL.status.model_copy(update={"was_reset": ()})})
    answer_with(monkeypatch, nothing)
    unknown = await system.call("exchange", "reset", "ordr")

    assert (done.code, document.code) == (0, 0)
    assert "7@host: reset order, order/create" in done.out
    assert json.loads(document.out)["processes"][0]["status"]["was_reset"][0] == "order"
    assert unknown.code == ExitCode.NOT_FOUND
    assert "'ordr' is in no process: it is one of market, order, order/create" in unknown.err
