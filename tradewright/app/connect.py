"""The way to the servers that a process works with: Temporal, and the journal."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from tradewright.converter import DATA_CONVERTER
from tradewright.domain.errors import Retry, TradewrightError
from tradewright.settings import Settings, Venue

if TYPE_CHECKING:
    from activities.pace import Pace
    from tradewright.journal import Journal

ANSWER_WITHIN: Final = timedelta(seconds=4)
"""How long anything is waited for that a person has asked."""


class TemporalUnreachable(TradewrightError):
    retry = Retry.SAFE

    def __init__(self, address: str, detail: str) -> None:
        super().__init__(
            f"temporal {address} does not answer: {detail}; start the system with `tradewright up`,"
            f" or say where it runs with --address or TRADEWRIGHT_TEMPORAL__ADDRESS"
        )
        self.address = address


class NamespaceMissing(TradewrightError):
    """Temporal answers but has no namespace for this venue."""

    def __init__(self, address: str, namespace: str) -> None:
        super().__init__(
            f"namespace {namespace} does not exist: temporal {address} has none of that name; "
            f"check the venue, or create it with `temporal operator namespace create "
            f"--address {address} -n {namespace}`"
        )
        self.namespace = namespace


class JournalMissing(TradewrightError):
    """There is nothing to read; opening it would make an empty one in the wrong folder."""

    def __init__(self, journal: str) -> None:
        super().__init__(
            f"journal {journal} does not exist: nothing was traded from this folder; change to "
            f"the folder of the system, or name its state with TRADEWRIGHT_HOME"
        )


async def connect(settings: Settings, *, within: timedelta = ANSWER_WITHIN) -> Client:
    """Return a client of the venue's namespace that has been answered once.

    Raises:
        TemporalUnreachable: Nobody answers at the address.
        NamespaceMissing: The server does not know the venue's namespace.
    """
    address, namespace = settings.temporal.address, settings.namespace
    try:
        async with asyncio.timeout(within.total_seconds()):
            await _knock(address)
            client = await Client.connect(
                address, namespace=namespace, data_converter=DATA_CONVERTER
            )
            await client.workflow_service.describe_namespace(
                DescribeNamespaceRequest(namespace=namespace)
            )
    except RPCError as e:
        if e.status is RPCStatusCode.NOT_FOUND:
            raise NamespaceMissing(address, namespace) from None
        raise TemporalUnreachable(address, e.message) from None
    except TimeoutError:
        detail = f"no answer within {within.total_seconds():g} s"
        raise TemporalUnreachable(address, detail) from None
    except OSError as e:
        raise TemporalUnreachable(address, e.strerror or str(e)) from None
    except RuntimeError as e:
        # How the native client says that what listens there does not speak its language
        raise TemporalUnreachable(address, str(e).splitlines()[0][:200]) from None
    return client


async def _knock(address: str) -> None:
    """Fail at once where nobody listens; the native client would try for a long time."""
    host, port = address.rsplit(":", 1)
    try:
        _, writer = await asyncio.open_connection(host, int(port))
    except ConnectionRefusedError:
        raise OSError(None, "nobody listens there") from None
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


@contextlib.asynccontextmanager
async def opened_journal(settings: Settings, *, create: bool = False) -> AsyncIterator["Journal"]:
    """Open the venue's journal for the length of the block.

    Args:
        settings: Name the database and the venue.
        create: Make it, or bring it up to date, if need be; else only a finished one is opened.

    Raises:
        JournalMissing: There is none, and it is not to be made.
        JournalUnavailable: The database does not answer.
        WrongVenue: It is the journal of another venue.
        WrongRevision: Its tables are of another version.
    """
    # Half a second that a command which only speaks to Temporal does not have
    from sqlalchemy.engine import make_url

    from tradewright.journal import Journal

    url = make_url(settings.journal_url)
    if not create and url.get_backend_name() == "sqlite" and not _is_file(url.database):
        raise JournalMissing(url.render_as_string(hide_password=True))
    journal = await Journal.open(settings.journal_url, venue=settings.venue, migrate=create)
    try:
        yield journal
    finally:
        await journal.close()


def _is_file(path: str | None) -> bool:
    return path is not None and Path(path).is_file()


def pace_of(settings: Settings) -> "Pace":
    """Return the clock of the venue's market."""
    from activities.pace import PaperPace, WallPace

    return PaperPace(settings.paper_url) if settings.venue is Venue.PAPER else WallPace()
