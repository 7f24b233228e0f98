"""The paper exchange: Bybit v5 on a made-up or recorded market, with state that survives."""

from tradewright.paper.server import PaperExchange, running, serve
from tradewright.paper.settings import PaperSettings

__all__ = ["PaperExchange", "PaperSettings", "running", "serve"]
