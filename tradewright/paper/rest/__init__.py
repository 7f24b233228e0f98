"""Bybit's REST: one function per endpoint, and the rows they answer with."""
