"""Why an entry was not made: codes that never change their meaning."""

from enum import StrEnum


class RefusalCode(StrEnum):
    """Why an entry was not made; stable, and documented one by one."""

    GATE_CLOSED = "gate_closed"
    NOT_RECONCILED = "not_reconciled"
    SNAPSHOT_STALE = "snapshot_stale"
    SYMBOL_BLOCKED = "symbol_blocked"
    SYMBOL_TAKEN = "symbol_taken"
    ALREADY_TRADED = "already_traded"
    COOLDOWN = "cooldown"
    MAX_OPEN_TRADES = "max_open_trades"
    PRESET_MAX_OPEN_TRADES = "preset_max_open_trades"
    MAX_LEVERAGE = "max_leverage"
    MAX_ORDERS_PER_MINUTE = "max_orders_per_minute"
    MAX_DAILY_LOSS = "max_daily_loss"
    BELOW_MINIMUM = "below_minimum"
    STOP_WRONG_SIDE = "stop_wrong_side"
