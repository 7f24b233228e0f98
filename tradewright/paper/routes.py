"""Every endpoint: who answers it, and who may ask."""

import msgspec

from tradewright.paper.call import Answer, Call, Handler, Row
from tradewright.paper.rest import (
    account,
    asset,
    batch,
    instrument,
    kline,
    market,
    order,
    position,
    record,
    statistics,
    system,
    user,
)
from tradewright.paper.rest.category import cleared, listed, listed_by_default, traded


class Route(msgspec.Struct, frozen=True):
    handler: Handler
    is_signed: bool = True
    is_batch: bool = False
    """Whether the handler counts its orders by `Call.spend`."""


def _public(handler: Handler) -> Route:
    return Route(handler, is_signed=False)


def _says(text: str, handler: Handler) -> Handler:
    """Let a success be called *text*, where it is not ``OK``."""

    def answer(call: Call) -> Row | Answer:
        result = handler(call)
        return result if isinstance(result, Answer) else Answer(result, text=text)

    return answer


ROUTES: dict[tuple[str, str], Route] = {
    ("GET", "/v5/market/time"): _public(market.time),
    ("GET", "/v5/market/instruments-info"): _public(instrument.instruments_info),
    ("GET", "/v5/market/kline"): _public(kline.kline),
    ("GET", "/v5/market/mark-price-kline"): _public(kline.mark_price_kline),
    ("GET", "/v5/market/index-price-kline"): _public(kline.index_price_kline),
    ("GET", "/v5/market/premium-index-price-kline"): _public(kline.premium_index_price_kline),
    ("GET", "/v5/market/tickers"): _public(market.tickers),
    ("GET", "/v5/market/orderbook"): _public(market.orderbook),
    ("GET", "/v5/market/recent-trade"): _public(market.recent_trade),
    ("GET", "/v5/market/price-limit"): _public(market.price_limit),
    ("GET", "/v5/market/funding/history"): _public(statistics.funding_history),
    ("GET", "/v5/market/open-interest"): _public(statistics.open_interest_history),
    ("GET", "/v5/market/account-ratio"): _public(statistics.account_ratio),
    ("GET", "/v5/market/risk-limit"): _public(instrument.risk_limit),
    ("GET", "/v5/system/status"): _public(_says("", system.status)),
    ("POST", "/v5/order/create"): Route(traded(order.create)),
    ("POST", "/v5/order/amend"): Route(traded(order.amend)),
    ("POST", "/v5/order/cancel"): Route(traded(order.cancel)),
    ("POST", "/v5/order/cancel-all"): Route(cleared(order.cancel_all)),
    ("POST", "/v5/order/create-batch"): Route(traded(batch.create), is_batch=True),
    ("POST", "/v5/order/amend-batch"): Route(traded(batch.amend), is_batch=True),
    ("POST", "/v5/order/cancel-batch"): Route(traded(batch.cancel), is_batch=True),
    ("POST", "/v5/order/pre-check"): Route(traded(order.pre_check)),
    ("POST", "/v5/order/disconnected-cancel-all"): Route(order.protect),
    ("GET", "/v5/order/spot-borrow-check"): Route(traded(order.spot_borrow_check)),
    ("GET", "/v5/order/realtime"): Route(listed(record.realtime)),
    ("GET", "/v5/order/history"): Route(listed(record.order_history)),
    ("GET", "/v5/execution/list"): Route(listed(record.executions)),
    ("GET", "/v5/position/list"): Route(listed(position.positions)),
    ("GET", "/v5/position/closed-pnl"): Route(listed(record.closed_pnl)),
    ("GET", "/v5/position/symbol-info"): Route(listed(position.symbol_info)),
    ("POST", "/v5/position/set-leverage"): Route(traded(position.set_leverage)),
    ("POST", "/v5/position/trading-stop"): Route(traded(position.trading_stop)),
    ("POST", "/v5/position/add-margin"): Route(traded(position.add_margin)),
    ("POST", "/v5/position/set-auto-add-margin"): Route(traded(position.set_auto_add_margin)),
    ("POST", "/v5/position/switch-mode"): Route(traded(position.switch_mode)),
    ("POST", "/v5/position/confirm-pending-mmr"): Route(traded(position.confirm_pending_mmr)),
    ("GET", "/v5/account/wallet-balance"): Route(account.wallet_balance),
    ("GET", "/v5/account/info"): Route(account.account_info),
    ("GET", "/v5/account/fee-rate"): Route(listed(account.fee_rate)),
    ("GET", "/v5/account/instruments-info"): Route(listed(account.instruments_info)),
    ("GET", "/v5/account/transaction-log"): Route(listed_by_default(record.transaction_log)),
    ("GET", "/v5/account/collateral-info"): Route(account.collateral_info),
    ("GET", "/v5/account/borrow-history"): Route(account.borrow_history),
    ("GET", "/v5/account/user-setting-config"): Route(account.user_settings),
    ("GET", "/v5/account/smp-group"): Route(_says("success", account.smp_group)),
    ("GET", "/v5/account/query-dcp-info"): Route(_says("success", account.protections)),
    ("GET", "/v5/account/withdrawal"): Route(asset.transferable),
    ("POST", "/v5/account/set-margin-mode"): Route(account.set_margin_mode),
    ("POST", "/v5/account/set-collateral-switch"): Route(
        _says("SUCCESS", account.set_collateral_switch)
    ),
    ("POST", "/v5/account/set-limit-px-action"): Route(_says("success", account.set_limit_action)),
    ("POST", "/v5/account/demo-apply-money"): Route(asset.apply_money),
    ("GET", "/v5/asset/coin/query-info"): Route(_says("success", asset.coin_info)),
    ("POST", "/v5/asset/transfer/inter-transfer"): Route(_says("success", asset.transfer)),
    ("GET", "/v5/asset/transfer/query-inter-transfer-list"): Route(
        _says("success", asset.transfers)
    ),
    ("GET", "/v5/asset/transfer/query-account-coin-balance"): Route(
        _says("success", asset.coin_balance)
    ),
    ("GET", "/v5/asset/transfer/query-account-coins-balance"): Route(
        _says("success", asset.coins_balance)
    ),
    ("GET", "/v5/user/query-api"): Route(_says("", user.api_key)),
    ("GET", "/v5/user/get-member-type"): Route(_says("", user.member_type)),
}
