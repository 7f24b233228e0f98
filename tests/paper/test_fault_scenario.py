"""Scenarios: what may be written, mistakes at their places, schema, examples, the page on them."""

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

from tests.docs.test_schemas import Checker
from tradewright.paper.fault import scenario, schema
from tradewright.paper.fault.board import FaultBoard
from tradewright.paper.fault.catalogue import KINDS
from tradewright.paper.fault.scenario import Scenario, ScenarioInvalid
from tradewright.paper.fault.when import RequestWhen, StreamWhen, Subject
from tradewright.preset import document

ROOT = Path(__file__).parents[2]


def faults_of(text: str) -> list[str]:
    with pytest.raises(ScenarioInvalid) as failure:
        scenario.loads(text.encode(), "day.yaml")
    return [str(fault) for fault in failure.value.faults]


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
        (
            "{kind: lagging_reads, ms: 5, when: {method: POST}}",
            "day.yaml:3:49: error: faults.0.when.method: only reads lag; leave it out",
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


@pytest.mark.parametrize("stem", ["flaky-network", "stormy-day"])
@pytest.mark.parametrize("reads", [0, 2])
def test_a_first_look_at_an_example_shows_strikes_of_each_kind(stem: str, reads: int) -> None:
    board = FaultBoard(lambda: datetime(2025, 1, 1, tzinfo=UTC), monotonic=lambda: 0)
    board.put(scenario.load(ROOT / f"deploy/paper/{stem}.yaml"))

    for number in range(50):
        of: dict[str, Any] = {
            "account": "main",
            "symbols": ("BTCUSDT",),
            "links": (f"tw{number}-e1",),
        }
        board.strike("request", Subject(endpoint="/v5/order/create", method="POST", **of))
        board.strike("order", Subject(**of))
        for _ in range(reads):
            board.strike("request", Subject(endpoint="/v5/order/realtime", method="GET"))
        for topic in ("order", "execution", "position", "wallet"):
            board.strike("message", Subject(topic=topic, **of))

    quiet = {e.judge.name for e in board.entries if e.judge.matches and not e.judge.strikes}
    unmatched = {e.judge.name for e in board.entries if not e.judge.matches}
    later = {"front-is-down", "dead-stream"}
    assert quiet == set()
    assert unmatched <= later | ({"torn-answers", "reads-lag"} if not reads else set())


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
