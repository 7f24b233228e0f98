"""Which source the settings mean."""

import gzip
from datetime import datetime
from pathlib import Path

from tradewright.paper.market.bent import Bent
from tradewright.paper.market.generator import Generator
from tradewright.paper.market.move import Source
from tradewright.paper.market.recording import Recording
from tradewright.paper.market.relay import Relay
from tradewright.paper.market.script import load_script
from tradewright.paper.market.scripted import ScriptSource
from tradewright.paper.market.tape import Tape
from tradewright.paper.settings import PaperSettings


def open_source(settings: PaperSettings, born: datetime) -> Source:
    """Return the source of the market; *born* is when the exchange began.

    Raises:
        RecordingUnusable: A file of candles, of a book or of trades cannot be played.
        ScriptInvalid: A script has mistakes.
        MarketUnreachable: The exchange that is to be relayed does not answer.
    """
    if settings.market == "generator":
        return _bendable(Generator(settings, born), settings)
    if settings.market == "live":
        return Relay.of(settings, born)
    path = Path(settings.market)
    if path.suffix in {".yaml", ".yml"}:
        return ScriptSource(load_script(path), settings, born)
    if ".jsonl" in path.suffixes or _holds_messages(path):
        return Tape.of(path, settings)
    return _bendable(Recording.of(path, settings), settings)


def _bendable(source: Source, settings: PaperSettings) -> Source:
    # A step that is played at once leaves no room for acts
    return source if settings.is_lockstep else Bent(source, settings)


def _holds_messages(path: Path) -> bool:
    """Return whether the file begins as messages do, with a brace or a time before one."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            return b"{" in file.readline(100)
    except OSError:
        # What cannot be read is told by the source that reads it
        return False
