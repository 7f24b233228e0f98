"""API keys: whose they are and what they may do."""

import msgspec


class ApiKey(msgspec.Struct, frozen=True):
    key: str
    secret: str
    account: str = "main"
    read_only: bool = False
