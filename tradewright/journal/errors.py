"""What can keep the journal from taking or giving an event."""

from tradewright.domain.errors import Retry, TradewrightError


class JournalUnavailable(TradewrightError):
    """The database is away, locked for too long, or full; nothing was written."""

    retry = Retry.SAFE

    def __init__(self, journal: str, detail: str) -> None:
        super().__init__(f"journal {journal} is unavailable: {detail}; nothing was written")
        self.journal = journal


class WriteAbandoned(TradewrightError):
    """The writer was stopped before it could say what became of the write."""

    retry = Retry.SAFE

    def __init__(self) -> None:
        super().__init__(
            "journal write was abandoned: its writer was stopped and it may be written or not; "
            "write it again, an event is written once"
        )


class JournalConflict(TradewrightError):
    """Something else is already written under this id."""

    def __init__(self, what: str, detail: str) -> None:
        super().__init__(f"{what} is in the journal already: {detail}; ids are never used twice")


class UnreadableEvent(TradewrightError):
    """An event's data are not what its kind promises."""

    def __init__(self, event_id: str, kind: str, detail: str) -> None:
        super().__init__(f"event {event_id} is unreadable as {kind}: {detail}")
        self.event_id = event_id


class WrongVenue(TradewrightError):
    """The journal belongs to another venue; venues never mix."""

    def __init__(self, journal: str, stamped: str, venue: str) -> None:
        super().__init__(
            f"journal {journal} belongs to venue {stamped}: it was opened for {venue}; "
            "use the state folder or the database of that venue"
        )
        self.stamped = stamped
        self.venue = venue


class WrongRevision(TradewrightError):
    """The journal's tables are older or newer than this version of the product knows."""

    def __init__(self, journal: str, found: str, wanted: str) -> None:
        super().__init__(
            f"journal {journal} has revision {found or 'none'}: this version needs {wanted}; "
            "let a worker of this version migrate it, or run the newer version"
        )
        self.found = found
        self.wanted = wanted
