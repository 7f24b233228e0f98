"""The rules of trading: pure, deterministic, pydantic and the standard library only."""
