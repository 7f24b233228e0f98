"""Durable, declarative trading on Bybit."""
