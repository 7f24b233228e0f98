"""Faults on demand: what may go wrong between a client and the exchange, and when it does."""
