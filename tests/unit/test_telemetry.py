"""What is written about the work: log lines and spans, one trace per trade, no secrets."""

import dataclasses
import json
import logging
import threading
import time
import uuid
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import structlog
from pydantic import BaseModel, SecretStr
from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment
from temporalio.worker import Worker
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions
from temporalio.workflow import ParentClosePolicy

from tradewright import telemetry

TRADE = "twgbxjteez3q35own7"
OTHER = "twaaaaaaaaaaaaaaaa"

QUEUE, OTHER_QUEUE = "telemetry", "telemetry-other"
BRIEFLY = timedelta(seconds=10)

Lines = list[dict[str, Any]]


class Files:
    """What the process under test has written so far."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def lines(self) -> Lines:
        return self._read("worker.jsonl")

    def spans(self) -> Lines:
        return self._read("spans.jsonl")

    def text(self) -> str:
        telemetry.flush()
        return "".join(file.read_text() for file in self._folder.iterdir())

    def _read(self, name: str) -> Lines:
        telemetry.flush()
        return [json.loads(line) for line in (self._folder / name).read_text().splitlines()]


@pytest.fixture
def clean() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    telemetry.flush()
    for handler in set(root.handlers) - set(handlers):
        root.removeHandler(handler)
        handler.close()
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.fixture
def written(clean: None, tmp_path: Path) -> Files:
    telemetry.configure("worker", logs=tmp_path)
    return Files(tmp_path)


def test_a_line_is_json_with_its_facts(written: Files) -> None:
    structlog.get_logger("desk").info("order_placed", order_link_id="tw-e1", qty=1)

    [line] = written.lines()

    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "order_placed",
        "order_link_id": "tw-e1",
        "qty": 1,
        "level": "info",
        "logger": "desk",
        "service": "worker",
    }


def test_the_standard_library_s_lines_look_the_same(written: Files) -> None:
    logging.getLogger("desk").warning("stream %s fell silent", "main", extra={"age": 3})

    [line] = written.lines()

    assert (line["event"], line["level"], line["age"]) == ("stream main fell silent", "warning", 3)


@pytest.mark.parametrize("name", ["pybit.unified_trading", "sqlalchemy.engine", "httptools"])
def test_talkative_libraries_are_heard_when_it_matters(written: Files, name: str) -> None:
    logging.getLogger(name).debug("request with signature")
    logging.getLogger(name).warning("connection lost")

    assert [line["event"] for line in written.lines()] == ["connection lost"]


def test_lines_below_the_level_are_left_out(clean: None, tmp_path: Path) -> None:
    telemetry.configure("worker", level="error", logs=tmp_path)

    structlog.get_logger().warning("quiet")
    structlog.get_logger().error("loud")

    assert [line["event"] for line in Files(tmp_path).lines()] == ["loud"]


def test_on_a_terminal_lines_are_for_people(capfd: pytest.CaptureFixture[str], clean: None) -> None:
    telemetry.configure("worker", log_format="console")

    structlog.get_logger().info("order_placed", qty=1)

    error = capfd.readouterr().err
    assert "order_placed" in error
    assert "qty=1" in error
    assert "{" not in error


def test_elsewhere_they_are_json_on_stderr(capfd: pytest.CaptureFixture[str], clean: None) -> None:
    telemetry.configure("worker")

    structlog.get_logger().info("order_placed")

    captured = capfd.readouterr()
    assert json.loads(captured.err)["event"] == "order_placed"
    assert not captured.out


def test_configuring_again_replaces_and_never_doubles(clean: None, tmp_path: Path) -> None:
    for _ in range(2):
        telemetry.configure("worker", logs=tmp_path)

    structlog.get_logger().info("once")

    assert len(Files(tmp_path).lines()) == 1


class Opaque:
    def __repr__(self) -> str:
        return "<Opaque kq83-registered>"


def test_no_secret_is_written_in_whatever_shape(written: Files) -> None:
    telemetry.register_secret(SecretStr("kq83-registered"))
    log = structlog.get_logger()

    log.info("by_name", api_key="plain1", headers={"X-BAPI-SIGN": "plain2", "list": ["a"]})
    log.info("by_value", url="http://h/?k=kq83-registered", deep=[{"x": ("kq83-registered",)}])
    log.info("by_repr", thing=Opaque())
    logging.getLogger("lib").warning("sent %s", "kq83-registered")
    try:
        raise ValueError("wrong key kq83-registered")
    except ValueError:
        log.exception("by_exception")
    with pytest.raises(RuntimeError), telemetry.span("call", token="plain3", k="kq83-registered"):
        raise RuntimeError("refused kq83-registered")

    text = written.text()

    assert len(written.lines()) == 5
    assert "ValueError: wrong key ***" in text
    assert "RuntimeError: refused ***" in text
    assert not [s for s in ("kq83", "plain1", "plain2", "plain3") if s in text]


def test_a_short_text_is_not_taken_for_a_secret(written: Files) -> None:
    telemetry.register_secret("Buy")

    structlog.get_logger().info("order_placed", side="Buy")

    assert written.lines()[0]["side"] == "Buy"


def test_a_line_about_a_trade_names_its_trace(written: Files) -> None:
    structlog.get_logger().info("execution_seen", trade_id=TRADE)

    assert written.lines()[0]["trace_id"] == telemetry.trace_id(TRADE)


def test_a_line_of_an_activity_names_the_trade_of_its_workflow(written: Files) -> None:
    environment = ActivityEnvironment()
    environment.info = dataclasses.replace(
        environment.info, workflow_id=f"trade/BTCUSDT/{TRADE}", activity_type="place_entry"
    )

    environment.run(lambda: structlog.get_logger().info("order_placed"))

    [line] = written.lines()
    assert line["workflow_id"] == f"trade/BTCUSDT/{TRADE}"
    assert line["trade_id"] == TRADE
    assert line["trace_id"] == telemetry.trace_id(TRADE)
    assert line["activity"] == "place_entry"


def test_a_line_within_a_span_names_it(written: Files) -> None:
    with telemetry.span("read"):
        structlog.get_logger().info("row_read")

    [line], [span] = written.lines(), written.spans()
    assert (line["trace_id"], line["span_id"]) == (span["trace_id"], span["span_id"])


def test_spans_of_two_writers_share_a_file(written: Files, tmp_path: Path) -> None:
    with telemetry.span("first"):
        pass
    telemetry.configure("kill", logs=tmp_path)
    with telemetry.span("second"):
        pass

    assert [(s["name"], s["service"]) for s in written.spans()] == [
        ("first", "worker"),
        ("second", "kill"),
    ]


class Collector:
    """Takes what an OpenTelemetry collector would take."""

    def __init__(self) -> None:
        self.received: list[tuple[str, bytes]] = []
        received = self.received

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                received.append((self.path, body))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Keep the test's output to itself."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.close()


def test_a_collector_gets_the_spans_instead_of_the_file(
    clean: None, collector: Collector, tmp_path: Path
) -> None:
    telemetry.register_secret("kq83-registered")
    telemetry.configure("worker", logs=tmp_path, otlp_endpoint=collector.url)

    with pytest.raises(ValueError, match="kq83"), telemetry.span("read_row", key="kq83-registered"):
        raise ValueError("no kq83-registered")
    telemetry.flush()

    [(path, body)] = collector.received
    assert path == "/v1/traces"
    assert b"read_row" in body
    assert b"kq83" not in body
    assert not (tmp_path / "spans.jsonl").exists()


def test_a_collector_that_is_away_holds_nobody_up(
    clean: None, free_port: int, tmp_path: Path
) -> None:
    telemetry.configure("worker", logs=tmp_path, otlp_endpoint=f"http://127.0.0.1:{free_port}")
    began = time.monotonic()

    with telemetry.span("read_row"):
        pass
    telemetry.flush()

    assert time.monotonic() - began < 5


def test_traces_of_trades_are_their_own() -> None:
    assert telemetry.trace_id(TRADE) == telemetry.trace_id(TRADE)
    assert telemetry.trace_id(TRADE) != telemetry.trace_id(OTHER)
    assert len(telemetry.trace_id(TRADE)) == 32


# The way of a trade through workflows, activities and workers, with the names of the real ones


class Proposal(BaseModel):
    trade_id: str
    symbol: str = "BTCUSDT"


class Proposals(BaseModel):
    proposals: tuple[Proposal, ...] = ()


@activity.defn
async def evaluate(trades: list[str]) -> Proposals:
    return Proposals(proposals=tuple(Proposal(trade_id=trade) for trade in trades))


@activity.defn
async def reserve(proposal: Proposal) -> None:
    structlog.get_logger().info("risk_reserved")


@activity.defn
async def place_entry(symbol: str) -> None:
    with telemetry.span("place_order", symbol=symbol):
        structlog.get_logger().info("order_placed")
    if activity.info().attempt == 1:
        raise ApplicationError("the answer was lost")


def trade_workflow_id(trade: str) -> str:
    return f"trade/BTCUSDT/{trade}"


@workflow.defn
class TradeWorkflow:
    def __init__(self) -> None:
        self._left = False

    @workflow.run
    async def run(self, proposal: Proposal) -> None:
        workflow.logger.info("trade_started")
        # Another queue is another worker
        await workflow.execute_activity(
            place_entry, proposal.symbol, task_queue=OTHER_QUEUE, start_to_close_timeout=BRIEFLY
        )
        await workflow.wait_condition(lambda: self._left)

    @workflow.signal
    def exit(self) -> None:
        self._left = True


@workflow.defn
class StrategyWorkflow:
    """Runs on, and sees one candle after the other, as a strategy does."""

    @workflow.run
    async def run(self, candles: list[list[str]]) -> None:
        for trades in candles:
            wished = await workflow.execute_activity(
                evaluate, trades, start_to_close_timeout=BRIEFLY
            )
            for proposal in wished.proposals:
                await workflow.execute_activity(reserve, proposal, start_to_close_timeout=BRIEFLY)
                await workflow.start_child_workflow(
                    TradeWorkflow.run,
                    proposal,
                    id=trade_workflow_id(proposal.trade_id),
                    parent_close_policy=ParentClosePolicy.ABANDON,
                )


async def run_strategy(temporal: Client, candles: list[list[str]]) -> None:
    runner = SandboxedWorkflowRunner(
        restrictions=SandboxRestrictions.default.with_passthrough_all_modules()
    )
    shared: Any = {"interceptors": telemetry.interceptors(), "max_cached_workflows": 0}
    trading = Worker(
        temporal,
        task_queue=QUEUE,
        workflows=[StrategyWorkflow, TradeWorkflow],
        activities=[evaluate, reserve],
        workflow_runner=runner,
        **shared,
    )
    other = Worker(temporal, task_queue=OTHER_QUEUE, activities=[place_entry], **shared)
    async with trading, other:
        await temporal.execute_workflow(
            StrategyWorkflow.run, candles, id=f"strategy/{uuid.uuid4()}", task_queue=QUEUE
        )
        for trade in (trade for trades in candles for trade in trades):
            handle = temporal.get_workflow_handle(trade_workflow_id(trade))
            await handle.signal(TradeWorkflow.exit)
            await handle.result()


async def test_a_trade_is_one_trace_from_candle_to_order(temporal: Client, written: Files) -> None:
    await run_strategy(temporal, [[TRADE], [], [OTHER]])

    spans = written.spans()

    for trade in (TRADE, OTHER):
        own = [span for span in spans if span["trace_id"] == telemetry.trace_id(trade)]
        [root] = [span for span in own if span["parent_id"] is None]
        assert root["name"] == "candle"
        # Not one of them twice, although no workflow was cached and every task a replay
        assert sorted(span["name"] for span in own) == [
            "TradeWorkflow ended",
            "TradeWorkflow started",
            "candle",
            "evaluate",
            "place_entry",
            "place_entry",
            "place_order",
            "place_order",
            "reserve",
            "signal exit",
        ]
        ids = {span["span_id"] for span in own}
        assert all(span["parent_id"] in ids for span in own if span is not root)
        attempts = [span for span in own if span["name"] == "place_entry"]
        assert [a["status"] for a in sorted(attempts, key=lambda a: str(a["start"]))] == [
            "ERROR",
            "UNSET",
        ]
        assert "the answer was lost" in attempts[0]["detail"] + attempts[1]["detail"]


async def test_every_line_about_a_trade_bears_its_trace(temporal: Client, written: Files) -> None:
    trade = "twbbbbbbbbbbbbbbbb"

    await run_strategy(temporal, [[trade]])

    lines = {line["event"]: line for line in written.lines() if line.get("trade_id") == trade}
    for event in ("trade_started", "risk_reserved", "order_placed"):
        assert lines[event]["trace_id"] == telemetry.trace_id(trade)
        assert lines[event]["workflow_id"]
    assert lines["trade_started"]["workflow_id"] == trade_workflow_id(trade)
    assert lines["order_placed"]["workflow_id"] == trade_workflow_id(trade)


async def test_an_evaluation_without_a_wish_leaves_no_span(
    temporal: Client, written: Files
) -> None:
    await run_strategy(temporal, [[]])

    assert written.spans() == []
