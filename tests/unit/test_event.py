"""Journal events."""

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from tradewright.domain.event import EventKind, JournalEvent

FIELDS: dict[str, Any] = {
    "event_id": "account/main/1",
    "chain": "account/main",
    "kind": "signal_refused",
    "account": "main",
    "at": datetime(2026, 1, 1, tzinfo=UTC),
}


def test_an_event_survives_the_wire() -> None:
    event = JournalEvent.model_validate(FIELDS | {"data": {"qty": "0.10", "factors": {"rsi": 1.5}}})

    assert JournalEvent.model_validate_json(event.model_dump_json()) == event
    assert event.kind is EventKind.SIGNAL_REFUSED


@pytest.mark.parametrize(
    "change",
    [{"at": datetime(2026, 1, 1)}, {"kind": "rumour"}, {"unknown": 1}, {"data": "text"}],  # noqa: DTZ001
)
def test_what_does_not_fit_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        JournalEvent.model_validate(FIELDS | change)


def test_an_event_never_changes() -> None:
    event = JournalEvent.model_validate(FIELDS)

    with pytest.raises(ValidationError, match="frozen"):
        event.account = "other"  # type: ignore[misc]
