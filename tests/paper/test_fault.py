"""Which faults strike, how often, and that a seed repeats them."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from tradewright.paper.fault import scenario
from tradewright.paper.fault.board import FaultBoard
from tradewright.paper.fault.catalogue import KINDS
from tradewright.paper.fault.judge import Strike
from tradewright.paper.fault.when import Subject

ROOT = Path(__file__).parents[2]

NOW = datetime(2025, 1, 1, tzinfo=UTC)
CREATE = Subject(
    endpoint="/v5/order/create",
    method="POST",
    account="main",
    symbols=("BTCUSDT",),
    links=("tw2a-e1",),
)


class Clocks:
    """The wall's seconds and market time, moved by hand."""

    def __init__(self) -> None:
        self.seconds = 100.0
        self.market = NOW


class Bench:
    def __init__(self) -> None:
        self.clocks = Clocks()
        self.board = FaultBoard(lambda: self.clocks.market, monotonic=lambda: self.clocks.seconds)

    def put(self, text: str) -> list[str]:
        return self.board.put(scenario.loads(text.encode()))

    def strikes(self, subject: Subject = CREATE, count: int = 1) -> list[list[str]]:
        return [self.names(self.board.strike("request", subject)) for _ in range(count)]

    def names(self, strikes: list[Strike]) -> list[str]:
        return [strike.name for strike in strikes]


@pytest.fixture
def bench() -> Bench:
    return Bench()


def one(**changes: Any) -> str:
    """Return a scenario of one reset, as YAML."""
    fields = {"kind": "reset"} | changes
    return "{" + ", ".join(f"{key}: {value}" for key, value in fields.items()) + "}"


# --- filters ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("when", "strikes"),
    [
        ("{}", True),
        ("{endpoint: /v5/order/create}", True),
        ("{endpoint: /v5/order/*}", True),
        ("{endpoint: ~order/(create|amend)$}", True),
        ("{endpoint: /v5/order}", False),
        ("{method: POST}", True),
        ("{method: GET}", False),
        ("{account: main}", True),
        ("{account: other}", False),
        ("{symbol: BTC*}", True),
        ("{symbol: ETHUSDT}", False),
        ("{order_link: tw*-e1}", True),
        (r"{order_link: ~^tw\w+-e\d$}", True),
        ("{order_link: tw*-x1}", False),
        ("{endpoint: /v5/order/*, account: other}", False),
        ("{probability: 0}", False),
        ("{market_from: 2025-01-01T00:00:00Z, market_until: 2025-01-01T00:00:01Z}", True),
        ("{market_until: 2025-01-01T00:00:00Z}", False),
    ],
)
def test_a_fault_strikes_what_fits_all_its_filters(bench: Bench, when: str, strikes: bool) -> None:
    bench.put(one(when=when))

    assert bench.strikes() == [["reset"] if strikes else []]


def test_a_request_without_a_link_fits_no_wanted_link(bench: Bench) -> None:
    bench.put(one(when="{order_link: '*'}"))

    assert bench.strikes(Subject(endpoint="/v5/market/time")) == [[]]


def test_after_and_times_count_matches_and_strikes(bench: Bench) -> None:
    bench.put(one(when="{after: 2, times: 2, endpoint: /v5/order/create}"))

    struck = bench.strikes(count=6)
    bench.strikes(Subject(endpoint="/v5/market/time"))

    assert struck == [[], [], ["reset"], ["reset"], [], []]
    (row,) = bench.board.shown()["faults"]
    assert (row["matches"], row["strikes"], row["state"]) == (4, 2, "spent")


def test_from_and_until_count_from_the_injection_by_the_wall_clock(bench: Bench) -> None:
    bench.clocks.seconds = 5000
    bench.put(one(when="{from: 1.5, until: 3}"))

    struck = []
    for seconds in (5000, 5001.5, 5002.999, 5003):
        bench.clocks.seconds = seconds
        struck.append(bool(bench.strikes()[0]))

    assert struck == [False, True, True, False]


def test_a_kind_strikes_a_request_once(bench: Bench) -> None:
    bench.put("version: 1\nfaults: [{kind: delay, ms: 1, name: a}, {kind: delay, ms: 2, name: b}]")

    assert bench.strikes() == [["a"]]
    assert [row["strikes"] for row in bench.board.shown()["faults"]] == [1, 0]


def test_what_is_struck_down_on_its_way_in_is_struck_by_nothing_after_that(bench: Bench) -> None:
    bench.put(
        "version: 1\nfaults:\n"
        "- {kind: code_10016, acceptance: after}\n"
        "- {kind: lagging_reads, ms: 5}\n"
        "- {kind: http_error, acceptance: before, when: {after: 1}}\n"
        "- {kind: delay, ms: 1}\n"
    )

    assert bench.strikes(Subject(endpoint="/v5/order/realtime", method="GET"), count=2) == [
        ["delay", "lagging-reads", "code-10016"],
        ["delay", "http-error"],
    ]


# --- chance -----------------------------------------------------------------------------------

STORM = """
version: 1
seed: {seed}
faults:
- {{kind: delay, ms: 1..1000, when: {{probability: 0.3}}}}
- {{kind: reset, when: {{probability: 0.2, endpoint: /v5/order/*}}}}
- {{kind: http_error, when: {{probability: 0.1}}}}
"""


def history(seed: int) -> list[list[tuple[str, int]]]:
    bench = Bench()
    bench.put(STORM.format(seed=seed))
    subjects = (CREATE, Subject(endpoint="/v5/market/time"))
    return [
        [(s.name, s.ms) for s in bench.board.strike("request", subjects[n % 2])] for n in range(400)
    ]


def test_the_same_seed_strikes_the_same_requests_and_another_seed_others() -> None:
    assert history(7) == history(7)
    assert history(7) != history(8)


def test_about_as_many_are_struck_as_the_probability_says() -> None:
    struck = sum(name == "delay" for row in history(1) for name, _ in row)

    assert 85 <= struck <= 155


def test_a_seed_of_its_own_makes_a_fault_independent_of_the_scenario() -> None:
    def of(seed: int) -> list[list[str]]:
        bench = Bench()
        own = one(name="a", seed=3, when="{probability: 0.5}")
        bench.put(f"version: 1\nseed: {seed}\nfaults: [{own}]")
        return bench.strikes(count=64)

    assert of(1) == of(2)


@given(st.integers(0, 50), st.integers(1, 50), st.integers(0, 150))
def test_strikes_never_exceed_what_is_allowed(after: int, times: int, count: int) -> None:
    bench = Bench()
    bench.put(one(when=f"{{after: {after}, times: {times}}}"))

    struck = sum(bool(row) for row in bench.strikes(count=count))

    assert struck == min(times, max(0, count - after))


# --- the board --------------------------------------------------------------------------------


def test_a_strike_is_one_line_in_the_log_and_one_row_of_the_recent(bench: Bench) -> None:
    bench.put(one(name="cut", acceptance="after"))

    with capture_logs() as lines:
        bench.strikes()

    (line,) = [line for line in lines if line["event"] == "fault_struck"]
    (row,) = bench.board.shown()["strikes"]
    assert line["fault"] == row["fault"] == "cut"
    assert line["kind"] == row["kind"] == "reset"
    assert line["place"] == row["place"] == "/v5/order/create"
    assert line["order_link_id"] == row["order_link_id"] == "tw2a-e1"
    assert line["effect"] == row["effect"] == "is reset after acceptance"


def test_only_so_many_strikes_are_remembered(bench: Bench) -> None:
    bench.put(one())

    bench.strikes(count=500)

    shown = bench.board.shown()
    assert len(shown["strikes"]) == 200
    assert shown["faults"][0]["strikes"] == 500


def test_of_an_endless_link_only_the_beginning_is_remembered(bench: Bench) -> None:
    bench.put(one())

    with capture_logs() as lines:
        bench.strikes(Subject(endpoint="/v5/order/create", links=("x" * 1_000_000,) * 20))

    (row,) = bench.board.shown()["strikes"]
    assert len(row["order_link_id"]) < 1100
    assert len(next(e for e in lines if e["event"] == "fault_struck")["order_link_id"]) < 1100


def test_a_fault_takes_the_place_of_its_namesake_and_counts_anew(bench: Bench) -> None:
    bench.put(one(name="a"))
    bench.strikes(count=3)

    assert bench.put("{kind: stall, name: a}") == ["a"]

    (row,) = bench.board.shown()["faults"]
    assert (row["kind"], row["strikes"]) == ("stall", 0)


def test_faults_without_a_name_get_one_each(bench: Bench) -> None:
    assert [*bench.put(one()), *bench.put(one()), *bench.put("{kind: stall}")] == [
        *("reset", "reset-2", "stall")
    ]


def test_cleared_faults_strike_no_more(bench: Bench) -> None:
    bench.put(one(name="a"))
    bench.put("{kind: stall, name: b}")

    assert bench.board.clear("a") == ["a"]
    assert bench.strikes() == [["b"]]
    assert bench.board.clear() == ["b"]
    assert bench.strikes() == [[]]
    assert bench.board.clear("a") == []


def test_the_filters_are_shown_as_they_were_written(bench: Bench) -> None:
    bench.put("{kind: delay, ms: 5..9, when: {endpoint: /v5/order/*, probability: 0.2, from: 3}}")

    (row,) = bench.board.shown()["faults"]

    assert row["when"] == "probability=0.2 from=3 endpoint=/v5/order/*"
    assert row["parameters"] == {"ms": "5..9", "acceptance": "before"}


def test_maintenance_goes_on_while_its_time_is(bench: Bench) -> None:
    bench.put("{kind: maintenance, title: Upgrade, when: {from: 10, until: 20}}")

    seen = []
    for seconds in (100, 110, 120):
        bench.clocks.seconds = seconds
        seen.append([fault.title for fault, _ in bench.board.maintenance()])

    assert seen == [[], ["Upgrade"], []]


def test_the_status_and_the_time_are_answered_in_maintenance(bench: Bench) -> None:
    bench.put("{kind: maintenance}")

    assert bench.strikes(Subject(endpoint="/v5/system/status")) == [[]]
    assert bench.strikes(Subject(endpoint="/v5/market/time")) == [[]]
    assert bench.strikes() == [["maintenance"]]


def test_every_kind_says_what_it_does(bench: Bench) -> None:
    needed = {"delay": "ms: 3", "clock_skew": "ms: -5", "lagging_reads": "ms: 3"}
    needed |= {"stream_delay": "ms: 3", "stream_silence": "ms: 3"}
    for kind in KINDS:
        bench.put(f"{{kind: {kind}, {needed.get(kind, '')}}}")

    told = {entry.judge.fault.effect(7) for entry in bench.board.entries}

    assert len(told) == len(KINDS)
    assert all(text.strip() for text in told)
