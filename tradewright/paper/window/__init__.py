"""A window on the paper exchange: one page, one request a second."""

from tradewright.paper.window.snapshot import routes

__all__ = ["routes"]
