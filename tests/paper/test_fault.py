"""Scenarios and their mistakes; which faults strike, and that a seed repeats them."""

import re
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import ValidationError
from structlog.testing import capture_logs

from tests.docs.test_schemas import Checker
from tradewright.paper.fault import scenario, schema
from tradewright.paper.fault.board import FaultBoard
from tradewright.paper.fault.catalogue import KINDS
from tradewright.paper.fault.judge import Strike
from tradewright.paper.fault.scenario import Scenario, ScenarioInvalid
from tradewright.paper.fault.when import RequestWhen, StreamWhen, Subject
from tradewright.preset import document

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


def faults_of(text: str) -> list[str]:
    with pytest.raises(ScenarioInvalid) as failure:
        scenario.loads(text.encode(), "day.yaml")
    return [str(fault) for fault in failure.value.faults]


def one(**changes: Any) -> str:
    """Return a scenario of one reset, as YAML."""
    fields = {"kind": "reset"} | changes
    return "{" + ", ".join(f"{key}: {value}" for key, value in fields.items()) + "}"


# --- what may be written ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("kind: dely", "day.yaml:3:11: error: faults.0.kind: unknown kind 'dely'; did you mean"),
        ("name: x", "day.yaml:3:5: error: faults.0.kind: missing; add it"),
        ("kind: delay", "day.yaml:3:5: error: faults.0.ms: missing; add it"),
        (
            "{kind: delay, ms: 200..x}",
            "day.yaml:3:23: error: faults.0.ms: 200..x is no time in milliseconds up to 999999; "
            "write 200 or 200..800",
        ),
        (
            "{kind: delay, ms: true}",
            "day.yaml:3:23: error: faults.0.ms: True is no time in milliseconds",
        ),
        (
            "{kind: reset, when: {probability: 2}}",
            "day.yaml:3:39: error: faults.0.when.probability: 2 is too large; it must be at most 1",
        ),
        (
            '{kind: reset, when: {from: "3"}}',
            "day.yaml:3:32: error: faults.0.when.from: text '3' where a number belongs; "
            "write a number without quotes",
        ),
        (
            "{kind: reset, when: {order_link: ~tw(}}",
            "day.yaml:3:38: error: faults.0.when.order_link: '~tw(' is no regular expression",
        ),
        (
            "{kind: stream_loss, when: {endpoint: /v5/order/*}}",
            "day.yaml:3:32: error: faults.0.when.endpoint: 'endpoint' does not go with",
        ),
        (
            "{kind: reset, when: {topic: order}}",
            "day.yaml:3:26: error: faults.0.when.topic: 'topic' does not go with",
        ),
        (
            "{kind: reset, when: {market_from: noon}}",
            "day.yaml:3:39: error: faults.0.when.market_from: ",
        ),
        (
            "{kind: stream_drop, how: rest}",
            "day.yaml:3:30: error: faults.0.how: unknown value 'rest'; did you mean 'reset'?",
        ),
        ("{kind: reset, name: A B}", "day.yaml:3:25: error: faults.0.name: 'A B' does not fit"),
        ("{kind: reset, sede: 3}", "day.yaml:3:19: error: faults.0.sede: unknown key 'sede'; did"),
    ],
)
def test_a_mistake_is_told_at_its_place(line: str, told: str) -> None:
    (fault,) = faults_of(f"version: 1\nfaults:\n  - {line}\n")

    assert fault.startswith(told)


def test_all_mistakes_are_told_at_once() -> None:
    found = faults_of("version: 2\nseed: x\nfaults:\n- {kind: delay}\n- {kind: nope}\n")

    assert [fault.split(": ")[0] for fault in found] == [
        *("day.yaml:1:10", "day.yaml:2:7", "day.yaml:4:3", "day.yaml:5:10")
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "day.yaml:1:1: error: the file is empty"),
        ("version: 1\nfaults: []", "day.yaml:2:9: error: faults: 0 faults; give 1 to 100"),
        ("- a", "day.yaml:1:1: error: not a mapping"),
        ("version: 1\nfaults: [{kind: reset, name: a}, {kind: stall, name: a}]", "keep one"),
        ("{kind: reset", "not YAML"),
    ],
)
def test_what_is_no_scenario_is_refused(text: str, told: str) -> None:
    (fault,) = faults_of(text)

    assert told in fault


def test_a_file_that_is_not_there_is_told_by_its_name(tmp_path: Path) -> None:
    with pytest.raises(ScenarioInvalid, match=r"day\.yaml:1:1: error: cannot be read: No such"):
        scenario.load(tmp_path / "day.yaml")


def test_one_fault_is_a_scenario_in_yaml_and_in_json() -> None:
    by_yaml = scenario.loads(b"{kind: delay, ms: 200..800, when: {times: 2}}")
    by_json = scenario.loads(b'{"kind": "delay", "ms": "800..200", "when": {"times": 2}}')

    assert by_yaml == by_json
    assert [fault.kind for fault in by_yaml.faults] == ["delay"]


@given(st.text() | st.binary().map(lambda raw: raw.decode("latin-1")))
def test_no_text_crashes_the_reader(text: str) -> None:
    with suppress(ScenarioInvalid):
        scenario.loads(text.encode("utf-8", "surrogatepass"))


def test_every_kind_says_what_it_does(bench: Bench) -> None:
    needed = {"delay": "ms: 3", "clock_skew": "ms: -5", "lagging_reads": "ms: 3"}
    needed |= {"stream_delay": "ms: 3", "stream_silence": "ms: 3"}
    for kind in KINDS:
        bench.put(f"{{kind: {kind}, {needed.get(kind, '')}}}")

    told = {entry.judge.fault.effect(7) for entry in bench.board.entries}

    assert len(told) == len(KINDS)
    assert all(text.strip() for text in told)


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

    assert bench.strikes(count=2) == [
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


# --- files and schema -------------------------------------------------------------------------

EXAMPLES = sorted(ROOT.glob("deploy/paper/*.yaml"))
SCHEMA = Checker(schema.schema())


def document_of(path: Path) -> dict[str, Any]:
    root, flaws = document.parse(path.read_text())
    assert root is not None
    assert not flaws
    return dict(root.data)


def accepts(data: Any) -> bool:
    try:
        Scenario.model_validate(data)
    except ValidationError:
        return False
    return True


def test_there_are_examples() -> None:
    assert {path.stem for path in EXAMPLES} >= {
        *("flaky-network", "stormy-day", "exchange-maintenance")
    }


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_valid_by_model_and_schema_and_names_its_schema(path: Path) -> None:
    first = path.read_text().splitlines()[0]

    assert scenario.load(path).faults
    assert [*SCHEMA.iter_errors(document_of(path))] == []
    assert (path.parent / first.rpartition("$schema=")[2]).resolve() == ROOT / schema.FILE


def test_the_examples_show_most_kinds() -> None:
    shown = {fault.kind for path in EXAMPLES for fault in scenario.load(path).faults}

    assert len(shown) >= 15
    assert shown <= KINDS.keys()


def test_the_schema_obeys_its_dialect() -> None:
    Draft202012Validator.check_schema(schema.schema())


def test_every_part_of_the_schema_is_described() -> None:
    definitions = schema.schema()["$defs"]

    assert [name for name, each in definitions.items() if "description" not in each] == []


VALUES: list[Any] = [
    *(None, True, 0, 1, 3, -1, 60_001, 1_000_000, 10**20, Decimal("0.5"), Decimal("1.0")),
    *(Decimal("-800"), Decimal("1E+2"), "", "x", "5..9", "5..", "5..1000000", "before", "rejected"),
    *("EC_Others", "GET", "begin", "html", 502, 1001, 1006, {}, [], {"times": 1}),
    *({"probability": 2}, {"endpoint": "/v5/*"}, {"topic": "order*"}, {"from": 3, "until": 2}),
]
NAMES = ["name", "kind", "seed", "when", "ms", "acceptance", "status", "body", "how", "code"]
NAMES += ["fraction", "silence_ms", "at", "pings", "by", "copies", "reset_ms", "reason", "extra"]


@settings(deadline=None)
@given(
    st.sampled_from(sorted(KINDS)),
    st.dictionaries(st.sampled_from(NAMES), st.sampled_from(VALUES), max_size=4),
    st.booleans(),
)
def test_model_and_schema_agree_on_every_fault(
    kind: str, fields: dict[str, Any], keeps_kind: bool
) -> None:
    fault = fields | ({"kind": kind} if keeps_kind else {})
    data = {"version": 1, "faults": [fault]}

    assert accepts(data) == SCHEMA.is_valid(data), data


@settings(deadline=None)
@given(st.sampled_from(EXAMPLES), st.data())
def test_model_and_schema_agree_on_changed_examples(path: Path, data: st.DataObject) -> None:
    changed = document_of(path)
    fault = data.draw(st.sampled_from(changed["faults"]))
    place = data.draw(st.sampled_from([changed, fault, fault.get("when", fault)]))
    keys = sorted(place) + NAMES + ["probability", "from", "until", "after", "times", "topic"]
    place[data.draw(st.sampled_from(keys))] = data.draw(st.sampled_from(VALUES))

    assert accepts(changed) == SCHEMA.is_valid(changed), changed


# --- documentation ----------------------------------------------------------------------------

PAGE = (ROOT / "docs/faults.md").read_text()


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_kind_is_documented_with_its_parameters_and_defaults(kind: str) -> None:
    (row,) = re.findall(rf"^\| `{kind}` \|(.*?)\|", PAGE, re.MULTILINE)
    fields = KINDS[kind].model_fields

    assert set(re.findall(r"`(\w+)`", row)) == fields.keys() - {"kind", "name", "seed", "when"}
    for name, told in re.findall(r"`(\w+)` \(([\w.]+)", row):
        default = fields[name].default
        written = str(default).lower() if isinstance(default, bool) else str(default)
        assert told in (written, "to"), name


def test_every_filter_is_documented() -> None:
    filters = {f.alias or n for w in (RequestWhen, StreamWhen) for n, f in w.model_fields.items()}

    section = PAGE.split("## Whom it strikes")[1].split("## Kinds")[0]
    documented = {
        name
        for row in re.findall(r"^\| (`.*?) \|", section, re.MULTILINE)
        for name in re.findall(r"`(\w+)`", row)
    }
    assert documented == filters


def test_the_documented_scenarios_are_valid() -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    single = re.findall(r"paper-fault add '(.*?)'", PAGE) + re.findall(r"--data '(.*?)'", PAGE)

    assert len(blocks) == 1
    assert len(single) == 2
    for text in blocks + single:
        assert scenario.loads(text.encode()).faults
