"""Wiring: the only place that builds things and starts processes."""
