"""What runs while the code is replaced is read by the new code, and whoever breaks it is told."""

from collections.abc import Iterator
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field, create_model

from tests.workflows import boundary, record_carried
from tests.workflows.boundary import Carried
from tests.workflows.compatibility import incompatible, renewed
from tradewright.domain.market import Value
from workflows.trade import TradeWorkflow

RENEW = "python -m tests.workflows.record_carried"
PLACE = "TradeWorkflow: start"


def test_what_runs_already_is_read_by_this_code() -> None:
    found = boundary.carried()

    faults = incompatible(record_carried.read(), boundary.schema(found), boundary.by_hand(found))

    told = "\n".join(faults)
    assert not faults, f"""what running workflows and the journal hold would not be read any more:
{told}
give a new key a default, and keep what went; see docs/upgrading.md"""


def test_the_record_holds_all_that_is_written_now() -> None:
    said = boundary.schema(boundary.carried())

    due = record_carried.text(renewed(record_carried.read(), said))

    assert due == record_carried.RECORD.read_text(), f"renew the record with `{RENEW}`"


def test_all_ways_into_and_out_of_a_workflow_are_found() -> None:
    found = {each.where for each in boundary.carried()}

    assert {
        *("TradeWorkflow: start", "TradeWorkflow: result", "TradeWorkflow: signal report"),
        *("TradeWorkflow: update exit", "TradeWorkflow: update exit, answer"),
        *("TradeWorkflow: query trade, answer", "AccountWorkflow: signal release"),
        *("MarketWorkflow: signal watch", "activity place_entry", "activity place_entry, result"),
        *("read back: TradeEvent", "read back: StreamCursor"),
    } <= found


class Mute:
    def hear(self, *args: Any) -> None:
        self.take(args)

    def take(self, args: Any) -> None:
        """Keep it."""


def test_a_handler_that_reads_no_shape_carries_nothing_known() -> None:
    assert list(boundary._shapes(Mute, Mute.hear)) == []
    assert list(boundary._shapes(TradeWorkflow, TradeWorkflow.report))


def test_those_who_answer_one_of_several_are_told_apart_without_their_last_key() -> None:
    """Unknown keys say nothing any more: the kind, or a key that the other needs, must."""
    said = boundary.schema(boundary.carried())
    places = said["places"] | said["models"]

    alike = [
        (where, one, other)
        for where, schema in places.items()
        for ways in _unions(schema)
        for one in ways
        for other in ways
        if one < other and not _differ(said["models"][one], said["models"][other])
    ]

    assert alike == []


def _unions(schema: Any) -> Iterator[list[str]]:
    if isinstance(schema, dict):
        if "anyOf" in schema:
            yield [way["$ref"].removeprefix("#/$defs/") for way in schema["anyOf"] if "$ref" in way]
        for each in schema.values():
            yield from _unions(each)
    elif isinstance(schema, list):
        for each in schema:
            yield from _unions(each)


def _differ(one: dict[str, Any], other: dict[str, Any]) -> bool:
    if "properties" not in one or "properties" not in other:
        return True
    kinds: list[object] = [each["properties"].get("kind", {}).get("const") for each in (one, other)]
    if None not in kinds:
        return kinds[0] != kinds[1]
    needs = [set(each.get("required", ())) for each in (one, other)]
    return bool(needs[0] - other["properties"].keys()) and bool(needs[1] - one["properties"].keys())


class Way(StrEnum):
    IN = "in"
    OUT = "out"


class OneWay(StrEnum):
    IN = "in"


class Stop(Value):
    kind: Literal["stop"] = "stop"
    price: Decimal


class Target(Value):
    kind: Literal["target"] = "target"
    price: Decimal


def document(keys: dict[str, Any], *, where: str = PLACE) -> dict[str, Any]:
    """Return what a model of *keys*, each a type or a type and its default, says at *where*."""
    fields = {key: said if isinstance(said, tuple) else (said, ...) for key, said in keys.items()}
    make: Any = create_model
    model: Any = make("Start", __base__=Value, **fields)
    holder = make("Holder", __base__=Value, starts=(list[model], []))
    return boundary.schema([Carried(where, holder)])


OLD = {"plan": str, "note": (str, ""), "way": Way}


@pytest.mark.parametrize(
    "new",
    [
        pytest.param(OLD, id="nothing"),
        pytest.param(OLD | {"by": (str, "")}, id="a key with a default more"),
        pytest.param({"plan": str, "way": Way}, id="a key less"),
        pytest.param(OLD | {"way": Way | None}, id="may be nothing"),
        pytest.param(OLD | {"way": str}, id="was one of some, is any"),
        pytest.param(OLD | {"plan": (str, "")}, id="a default more"),
        pytest.param(OLD | {"note": (Any, "")}, id="anything"),
    ],
)
def test_what_is_read_as_before_is_compatible(new: dict[str, Any]) -> None:
    assert incompatible(document(OLD), document(new)) == []


@pytest.mark.parametrize(
    ("new", "fault"),
    [
        (OLD | {"by": str}, "Start.by: has no default, and was not always written"),
        (OLD | {"note": str}, "Start.note: has no default, and was not always written"),
        (OLD | {"way": OneWay}, "OneWay: out is not read any more"),
        (OLD | {"plan": int}, "Start.plan: was string, is now integer"),
        (OLD | {"plan": Way}, "Start.plan: was string, is now one of in, out"),
        (
            OLD | {"plan": Annotated[str, Field(max_length=9)]},
            "Start.plan: maxLength was not said, is now 9",
        ),
        (
            {"plan": str, "remark": (str, ""), "way": Way},
            "Start: note went and remark came; if that is a new name, what was written is lost",
        ),
    ],
)
def test_what_is_not_read_any_more_is_named(new: dict[str, Any], fault: str) -> None:
    assert incompatible(document(OLD), document(new)) == [fault]


@pytest.mark.parametrize(
    ("old", "new", "faults"),
    [
        (Stop | Target, Stop, ["Start.x: Target is not read any more"]),
        (Stop | None, Stop, ["Start.x: null is not read any more"]),
        (Stop, Stop | Target, []),
        (int, float, []),
        (float, int, ["Start.x: was number, is now integer"]),
        (tuple[int, ...], tuple[str, ...], ["Start.x[]: was integer, is now string"]),
        (tuple[int, int], tuple[int], ["Start.x: had 2 places, has now 1"]),
        (dict[str, Any], dict[str, int], ["Start.x.*: was anything, is now integer"]),
        (Annotated[int, Field(ge=1)], Annotated[int, Field(ge=0)], []),
        (
            Annotated[int, Field(ge=0)],
            Annotated[int, Field(ge=1)],
            ["Start.x: minimum was 0, is now 1"],
        ),
    ],
)
def test_types_are_compared_in_depth(old: Any, new: Any, faults: list[str]) -> None:
    found = incompatible(document({"x": old}), document({"x": new}))

    assert [fault.split(", minItems")[0] for fault in found if "Items" not in fault] == faults


def test_what_nobody_takes_any_more_is_named_unless_it_was_a_question() -> None:
    nowhere = document({}, where="elsewhere")

    assert incompatible(document(OLD), nowhere) == [f"{PLACE}: is not known"]
    assert incompatible(document(OLD, where="TradeWorkflow: query trade"), nowhere) == []


def test_a_key_that_people_write_does_not_go() -> None:
    """At the replay it would be remarked on, which it was not when it was sent."""
    old, new = document(OLD), document({"plan": str, "way": Way})

    assert incompatible(old, new, [PLACE]) == [
        "Start: people write note, which would be remarked on"
    ]


def test_a_key_that_is_gone_is_not_taken_for_something_else() -> None:
    gone = renewed(document(OLD), document({"plan": str, "way": Way}))

    assert incompatible(gone, document(OLD)) == []
    assert incompatible(gone, document(OLD | {"by": (str, "")})) == []
    assert incompatible(gone, document({"plan": str, "way": Way, "by": (str, "")})) == []
    assert incompatible(gone, document(OLD | {"note": (int, 0)})) == [
        "Start.note: was string, is now integer"
    ]


def test_a_key_that_came_later_never_loses_its_default() -> None:
    more = renewed(document(OLD), document(OLD | {"by": (str, "")}))

    assert incompatible(more, document(OLD | {"by": str})) == [
        "Start.by: has no default, and was not always written"
    ]


def test_what_only_a_key_names_that_is_gone_is_kept() -> None:
    gone = renewed(document({"plan": str, "stop": (Stop | None, None)}), document({"plan": str}))

    assert "Stop" in gone["models"]
    assert incompatible(gone, document({"plan": str, "stop": (Stop | None, None)})) == []
    assert incompatible(gone, document({"plan": str, "stop": (Target | None, None)})) == [
        "Start.stop: Stop is not read any more"
    ]


def test_what_the_comparison_does_not_understand_is_not_passed_over() -> None:
    strange = document(OLD)
    strange["models"]["Start"]["properties"]["plan"]["contentEncoding"] = "base64"

    with pytest.raises(ValueError, match=r"Start\.plan: contentEncoding cannot be compared"):
        incompatible(strange, document(OLD))


def test_the_record_is_refused_where_it_would_lose_what_runs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "carried.json"
    monkeypatch.setattr(record_carried, "RECORD", path)
    monkeypatch.setattr(boundary, "carried", lambda: [Carried(PLACE, Stop)])
    record_carried.main()
    first = path.read_text()
    monkeypatch.setattr(boundary, "carried", lambda: [Carried(PLACE, Target)])

    assert record_carried.main() == 1
    assert path.read_text() == first
    assert "nothing was recorded" in capsys.readouterr().out
    assert record_carried.main("--anyway") == 0
    assert path.read_text() != first


def test_an_alias_of_a_union_is_compared_as_one() -> None:
    both: Any = Annotated[Stop | Target, Field(discriminator="kind")]
    old = boundary.schema([Carried(PLACE, both)])
    assert incompatible(old, boundary.schema([Carried(PLACE, Stop)])) == [
        f"{PLACE}: Target is not read any more"
    ]
