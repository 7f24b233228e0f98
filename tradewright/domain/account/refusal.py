"""Why an entry was not made: codes that never change their meaning."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final, NamedTuple


class RefusalCode(StrEnum):
    """Why an entry was refused, by the desk or before it; each is explained in `EXPLANATIONS`."""

    GATE_CLOSED = "gate_closed"
    NOT_RECONCILED = "not_reconciled"
    HISTORY_UNREAD = "history_unread"
    SNAPSHOT_STALE = "snapshot_stale"
    STALE_DATA = "stale_data"
    STREAM_DEAD = "stream_dead"
    POSITION_MODE = "position_mode"
    MARGIN_MODE = "margin_mode"
    CLOCK_SKEW = "clock_skew"
    SYMBOL_BLOCKED = "symbol_blocked"
    SYMBOL_TAKEN = "symbol_taken"
    SYMBOL_UNRESOLVED = "symbol_unresolved"
    MAX_UNRESOLVED = "max_unresolved"
    ALREADY_TRADED = "already_traded"
    PAUSED = "paused"
    COOLDOWN = "cooldown"
    MAX_OPEN_TRADES = "max_open_trades"
    PRESET_MAX_OPEN_TRADES = "preset_max_open_trades"
    MAX_LEVERAGE = "max_leverage"
    MAX_TOTAL_EXPOSURE = "max_total_exposure"
    MAX_HEAT = "max_heat"
    MAX_ORDERS_PER_MINUTE = "max_orders_per_minute"
    MAX_DAILY_LOSS = "max_daily_loss"
    MAX_DRAWDOWN = "max_drawdown"
    LOSS_STREAK = "loss_streak"
    MIN_BALANCE = "min_balance"
    LIQUIDATION_DISTANCE = "liquidation_distance"
    BELOW_MINIMUM = "below_minimum"
    STOP_WRONG_SIDE = "stop_wrong_side"
    STOP_GUARD = "stop_guard"
    PRESET_DRAWDOWN = "preset_drawdown"
    LOSING_SYMBOL = "losing_symbol"
    CORRELATED = "correlated"
    OUTSIDE_SESSION = "outside_session"
    SPREAD_TOO_WIDE = "spread_too_wide"
    SLIPPAGE_TOO_LARGE = "slippage_too_large"
    DATA_EMPTY = "data_empty"
    DATA_MALFORMED = "data_malformed"
    DATA_NO_VOLUME = "data_no_volume"
    DATA_FLAT = "data_flat"
    DATA_GAP = "data_gap"
    DATA_OUT_OF_ORDER = "data_out_of_order"
    DATA_DUPLICATE = "data_duplicate"
    DATA_FUTURE = "data_future"
    DATA_STALE = "data_stale"
    DATA_OUTLIER = "data_outlier"
    DATA_UNVERIFIED = "data_unverified"
    BOOK_CROSSED = "book_crossed"
    BOOK_STALE = "book_stale"
    CANDLE_MISSING = "candle_missing"
    WARMING_UP = "warming_up"
    NO_LEVELS = "no_levels"
    STRATEGY_FAILED = "strategy_failed"
    PRESET_UNUSABLE = "preset_unusable"


class Explanation(NamedTuple):
    """What a code says, and what a person may do about it."""

    meaning: str
    remedy: str


_LIFT: Final = "it ends by itself; `tradewright limits lift` ends it at once"
_WAIT: Final = "nothing: the next signal is decided anew"
_DATA: Final = (
    "nothing: it is read anew; if it lasts, compare with the exchange, and set `on_bad` of the "
    "preset's `data`"
)

EXPLANATIONS: Final[Mapping[str, Explanation]] = MappingProxyType(
    {
        RefusalCode.GATE_CLOSED: Explanation(
            "The gate is not open: safe mode, or the kill switch has tripped.",
            "`tradewright status` says by whom and why; `safe-mode off` or `kill rearm` opens it",
        ),
        RefusalCode.NOT_RECONCILED: Explanation(
            "No reconciliation has finished since the desk started, or for longer than "
            "`max_reconciliation_age`.",
            "wait a minute; if it lasts, `tradewright reconcile` says what is wrong",
        ),
        RefusalCode.HISTORY_UNREAD: Explanation(
            "The desk has started anew and could not read its peak and day from the journal yet.",
            "make the journal's database available; it is read again with every snapshot",
        ),
        RefusalCode.SNAPSHOT_STALE: Explanation(
            "What is known of the account is older than `max_snapshot_age`.",
            "see why the exchange is not read: the desk's page and the worker's log say it",
        ),
        RefusalCode.STALE_DATA: Explanation(
            "A stream of the exchange is degraded: prices or fills may be old.",
            "it opens by itself with the stream; `tradewright status` shows what fails",
        ),
        RefusalCode.STREAM_DEAD: Explanation(
            "The private stream has been silent for longer than `stream_dead_after`.",
            "mend the connection, then `tradewright kill rearm` if the kill switch has tripped",
        ),
        RefusalCode.POSITION_MODE: Explanation(
            "The account is in hedge mode, which holds two positions per symbol.",
            "switch derivatives to one-way mode at Bybit; it is read again within a minute",
        ),
        RefusalCode.MARGIN_MODE: Explanation(
            "The account's margin mode is none of `margin_modes`.",
            "switch it at Bybit, or allow it in the settings",
        ),
        RefusalCode.CLOCK_SKEW: Explanation(
            "This machine's clock differs from the exchange's by more than `max_clock_skew`.",
            "synchronise the clock of the machine (NTP)",
        ),
        RefusalCode.SYMBOL_BLOCKED: Explanation(
            "Exchange and trades differ on this symbol.",
            "answer the case, or mend it by hand; a clean reconciliation unblocks it",
        ),
        RefusalCode.SYMBOL_TAKEN: Explanation(
            "A trade, or a position that is not ours, holds this symbol: one trade per symbol.",
            "wait for its end, or leave it with `tradewright trade exit`",
        ),
        RefusalCode.SYMBOL_UNRESOLVED: Explanation(
            "The outcome of an order on this symbol is not known yet.",
            "`tradewright trade list --needs-operator` shows whether it waits for you",
        ),
        RefusalCode.MAX_UNRESOLVED: Explanation(
            "`max_unresolved` orders had an unknown outcome at once or within an hour.",
            "look into the exchange's health, `tradewright kill rearm`, then "
            "`tradewright limits lift max_unresolved`, or wait for the hour to pass",
        ),
        RefusalCode.ALREADY_TRADED: Explanation(
            "The trade of this very signal has ended already: a late repeat.", _WAIT
        ),
        RefusalCode.PAUSED: Explanation("A breach has paused entries for a time.", _LIFT),
        RefusalCode.COOLDOWN: Explanation(
            "The preset rests on this symbol after its last trade.",
            "wait, or change `cooldown_candles` of the preset",
        ),
        RefusalCode.MAX_OPEN_TRADES: Explanation(
            "As many trades run as the account may have.", "wait, or raise the limit"
        ),
        RefusalCode.PRESET_MAX_OPEN_TRADES: Explanation(
            "As many trades of this preset run as it may have.",
            "wait, or raise `max_open_trades` of the preset",
        ),
        RefusalCode.MAX_LEVERAGE: Explanation(
            "All open notional would exceed `max_leverage` times the equity.",
            "wait, size smaller, or raise the limit",
        ),
        RefusalCode.MAX_TOTAL_EXPOSURE: Explanation(
            "All open notional would exceed `max_total_exposure`.",
            "wait, size smaller, or raise the limit",
        ),
        RefusalCode.MAX_HEAT: Explanation(
            "What all stops together may lose would exceed `max_heat_fraction` of the equity.",
            "wait, risk less per trade, or raise the limit",
        ),
        RefusalCode.MAX_ORDERS_PER_MINUTE: Explanation(
            "As many entries were approved in the last minute as are allowed.",
            "if it happens again, the preset signals too often",
        ),
        RefusalCode.MAX_DAILY_LOSS: Explanation(
            "The day has lost `max_daily_loss_fraction` of its first equity.",
            "trade again tomorrow (UTC), or raise the limit",
        ),
        RefusalCode.MAX_DRAWDOWN: Explanation(
            "Equity is `max_drawdown_fraction` below its peak.",
            "decide whether the strategies still hold; `tradewright limits lift max_drawdown` "
            "lets the peak begin anew",
        ),
        RefusalCode.LOSS_STREAK: Explanation(
            "`loss_streak` trades in a row have lost.",
            f"{_LIFT}, and the count begins anew",
        ),
        RefusalCode.MIN_BALANCE: Explanation(
            "Equity is below `min_balance`.", "deposit, or lower the limit"
        ),
        RefusalCode.LIQUIDATION_DISTANCE: Explanation(
            "The mark price of a position is nearer to its liquidation than allowed.",
            "reduce the position, or add margin",
        ),
        RefusalCode.BELOW_MINIMUM: Explanation(
            "The size rounds down below the smallest order that the exchange or the settings take.",
            "risk more per trade, or choose a symbol with smaller steps",
        ),
        RefusalCode.STOP_WRONG_SIDE: Explanation(
            "The stop would not protect: it lies on the gain side of the price, or at it.",
            "correct the stop of the preset",
        ),
        RefusalCode.STOP_GUARD: Explanation(
            "So many trades of the preset have lost that its `stop_guard` lets it rest.",
            "it ends by itself; `tradewright limits lift stop_guard` ends it at once",
        ),
        RefusalCode.PRESET_DRAWDOWN: Explanation(
            "The preset has lost the share of equity that its `max_drawdown` allows.",
            "it ends by itself; `tradewright limits lift preset_drawdown` ends it at once",
        ),
        RefusalCode.LOSING_SYMBOL: Explanation(
            "So many trades on this symbol have lost that the preset's `losing_symbol` lets it "
            "rest there.",
            "it ends by itself; `tradewright limits lift losing_symbol` ends it at once",
        ),
        RefusalCode.CORRELATED: Explanation(
            "It would move as open trades of the same direction do, and the preset's "
            "`correlation` leaves nothing, or too little, of its size.",
            "wait for their end, or change `correlation` of the preset",
        ),
        RefusalCode.OUTSIDE_SESSION: Explanation(
            "None of the `sessions` of the preset is on.",
            "wait for the next one, or change `sessions` of the preset",
        ),
        RefusalCode.SPREAD_TOO_WIDE: Explanation(
            "Bid and ask are farther apart than `max_spread_bp` of the preset, or unknown.", _WAIT
        ),
        RefusalCode.SLIPPAGE_TOO_LARGE: Explanation(
            "An entry at market would cost more than the price decided on by more than "
            "`max_slippage_bp` of the preset, or what it would cost is unknown.",
            _WAIT,
        ),
        RefusalCode.DATA_EMPTY: Explanation("The exchange has no candles of the series.", _DATA),
        RefusalCode.DATA_MALFORMED: Explanation(
            "A candle holds what is no price or volume, or a high and a low that do not enclose "
            "the others.",
            _DATA,
        ),
        RefusalCode.DATA_NO_VOLUME: Explanation(
            "Nothing was traded in the last `max_empty_candles` candles.",
            "wait for a market, trade another symbol, or change `data` of the preset",
        ),
        RefusalCode.DATA_FLAT: Explanation(
            "The price has not moved at all in the last `max_flat_candles` candles.",
            "wait for a market, trade another symbol, or change `data` of the preset",
        ),
        RefusalCode.DATA_GAP: Explanation("Candles are missing between others.", _DATA),
        RefusalCode.DATA_OUT_OF_ORDER: Explanation(
            "The exchange's answer does not list the candles in the order of their times.", _DATA
        ),
        RefusalCode.DATA_DUPLICATE: Explanation(
            "The exchange's answer holds a candle twice.", _DATA
        ),
        RefusalCode.DATA_FUTURE: Explanation(
            "A candle has not closed yet by the market's clock.",
            "synchronise the clock of the machine (NTP) if it happens again",
        ),
        RefusalCode.DATA_STALE: Explanation(
            "The last candle closed longer ago than `max_age` of the preset's `data`, or than an "
            "entry may take by its `expires_after`.",
            "if it happens again, look for what is slow, or raise them",
        ),
        RefusalCode.DATA_OUTLIER: Explanation(
            "The close is farther from the mark or index price than `outlier_fraction`.",
            "nothing: no such price is traded on; raise it for a market that is truly so",
        ),
        RefusalCode.DATA_UNVERIFIED: Explanation(
            "Mark and index price could not be read, so that no close can be compared.",
            "see why the exchange is not read: the worker's log says it",
        ),
        RefusalCode.BOOK_CROSSED: Explanation(
            "The order book's best bid is not below its best ask.", _DATA
        ),
        RefusalCode.BOOK_STALE: Explanation(
            "The order book is older than `max_book_age` of the preset's `data`, or none that "
            "makes sense can be read.",
            "it opens by itself with the stream; if it happens again, look for what is slow",
        ),
        RefusalCode.CANDLE_MISSING: Explanation(
            "The exchange does not list the candle that has closed yet.", _WAIT
        ),
        RefusalCode.WARMING_UP: Explanation(
            "There are fewer candles than the strategy needs: the market is young.",
            "wait, or choose shorter indicators or a shorter timeframe",
        ),
        RefusalCode.NO_LEVELS: Explanation(
            "The preset makes no stop, target, limit or size of the signal: what they are reckoned "
            "from is unknown or too small.",
            "the reason says which; change `exits`, `entry` or `risk` of the preset",
        ),
        RefusalCode.STRATEGY_FAILED: Explanation(
            "The strategy raised, answered nonsense, did not answer in time or took too much "
            "memory.",
            "mend the plugin; the reason and the worker's log say what happened",
        ),
        RefusalCode.PRESET_UNUSABLE: Explanation(
            "The version of the preset that runs cannot be evaluated by this worker.",
            "the reason says why; mend it and apply the preset again",
        ),
        "price_moved": Explanation(
            "At the entry, the price had moved from the plan by more than half of the way to the "
            "stop, or beyond the stop.",
            _WAIT,
        ),
        "expired": Explanation(
            "The entry could not be sent before the plan expired.",
            "if it happens again, look for what is slow, or raise `expires_after` of the preset",
        ),
        "post_only_would_take": Explanation(
            "The market stood at the limit or beyond it, and the entry may only add liquidity.",
            "nothing; without `post_only` it would have been filled at once",
        ),
        "not_in_trade": Explanation(
            "A trade that only follows the prices, or a notice, came to where entries are sent.",
            "nothing was sent; it is a fault of tradewright: report it",
        ),
        "exit_requested": Explanation(
            "Somebody wanted the trade left before its entry was sent.", "nothing"
        ),
        "key_refused": Explanation(
            "The exchange does not accept the API key.",
            "the reason says what is wrong with it; write a valid one to Vault",
        ),
        "bybit_10001": Explanation(
            "Bybit found a parameter wrong: also a position mode that is not one-way.",
            "the reason is Bybit's own; check the position mode of the symbol",
        ),
        "bybit_<retCode>": Explanation(
            "Bybit rejected the entry with this code.", "the reason is Bybit's own text"
        ),
        "bybit_<status>": Explanation(
            "Bybit took the entry and ended it without a fill, with this order status.",
            "the reason is Bybit's own; a thin market is the usual one",
        ),
    }
)
"""By code; those in angle brackets stand for many."""


def explained(code: str) -> Explanation | None:
    """Return what *code* means; None if it is not one of ours.

    Example:
        >>> explained("bybit_110007").meaning
        'Bybit rejected the entry with this code.'
    """
    if code not in EXPLANATIONS and code.startswith("bybit_"):
        rest = code.removeprefix("bybit_")
        code = "bybit_<retCode>" if rest.isdigit() else "bybit_<status>"
    return EXPLANATIONS.get(code)
