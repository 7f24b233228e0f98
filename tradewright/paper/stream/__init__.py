"""Bybit's WebSockets: sockets, who wants what, and what they are told."""
