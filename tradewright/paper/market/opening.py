"""Which source the settings mean."""

from datetime import datetime
from pathlib import Path

from tradewright.paper.market.generator import Generator
from tradewright.paper.market.move import Source
from tradewright.paper.market.recording import Recording
from tradewright.paper.settings import PaperSettings


def open_source(settings: PaperSettings, born: datetime) -> Source:
    """Return the source of the market; *born* is when the exchange began.

    Raises:
        RecordingUnusable: A file of candles, of a book or of trades cannot be played.
        ScriptInvalid: A script has mistakes.
        MarketUnreachable: The market that was to be relayed does not answer.
    """
    if settings.market == "generator":
        return Generator(settings, born)
    return Recording.of(Path(settings.market), settings)
