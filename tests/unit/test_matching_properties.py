"""What holds whatever the accounts and the market do."""

import random
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.matching import (
    BTC,
    MAIN,
    NOW,
    OTHER,
    TICK,
    TIERS,
    executions,
    limit,
    make_engine,
    states,
)
from tradewright.domain.market import Side
from tradewright.matching import (
    Account,
    Change,
    Engine,
    Event,
    ExecType,
    MarginMode,
    Order,
    OrderRequest,
    OrderType,
    Position,
    RequestRejected,
    StopRequest,
    TimeInForce,
    TpslMode,
    TriggerDirection,
)

Action = tuple[str, tuple[Any, ...]]
Options = dict[str, Any]

ZERO = Decimal(0)
KINDS = ("LastPrice", "MarkPrice", "IndexPrice")
SEEDS = st.integers(min_value=0, max_value=2**32).map(random.Random)
OPTIONS = st.fixed_dictionaries(
    {
        "names": st.just((MAIN, OTHER)),
        "isolated": st.booleans(),
        "depth": st.sampled_from([None, "2000", "200000"]),
        "tiers": st.sampled_from([(), TIERS]),
        "leverage": st.sampled_from([10, 50]).map(Decimal),
    }
)


class Chance:
    """Thinks of things to do, most of them sensible."""

    def __init__(self, random: random.Random, engine: Engine, *, recorded: bool) -> None:
        self.random = random
        self.engine = engine
        self.recorded = recorded

    def action(self) -> Action:
        pick, name = self.random.choice, self.random.choice([MAIN, OTHER])
        actions: list[Callable[[], Action]] = [
            *[lambda: ("place", (name, self.request()))] * 10,
            *[lambda: ("amend", (name, self.number(50), self.change()))] * 3,
            *[lambda: ("cancel", (name, self.number(50)))] * 2,
            lambda: ("cancel_all", (name,)),
            *[lambda: ("set_stops", (name, self.stops(name)))] * 4,
            lambda: ("set_leverage", (name, Decimal(pick([1, 5, 10, 25, 50, 100])))),
            lambda: ("set_margin_mode", (name, pick(list(MarginMode)))),
            lambda: ("add_margin", (name, Decimal(self.random.randint(-500, 2000)))),
            lambda: ("set_auto_add_margin", (name, pick([True, False]))),
            lambda: ("transfer", (name, Decimal(self.random.randint(-3000, 1000)))),
            *[lambda: ("play", ([self.price() for _ in range(pick([1, 2, 4]))],))] * 4,
            *[lambda: ("place", (name, self.beside()))] * 2,
            lambda: ("beside", ([self.price() / 10 for _ in range(pick([1, 3]))],)),
            *[lambda: ("glide", (self.price(), pick([None, self.qty()])))] * 3,
            lambda: ("refer", (self.price(), self.price())),
            lambda: ("fund", (Decimal(pick([-20, -1, 1, 20])) / 1000,)),
        ]
        if self.recorded:
            actions += [
                *[lambda: ("depth", (self.levels(-1), self.levels(1), pick([True, False])))] * 5,
                *[lambda: ("trade", (pick(list(Side)), self.price(), self.qty()))] * 5,
            ]
        return pick(actions)()

    def number(self, most: int) -> int:
        return self.random.randint(0, most)

    def price(self, towards: int = 0) -> Decimal:
        """Return a price near the last one: above, below or (0) on any side of it."""
        far = self.random.choice([3, 300, 300, 5_000, 5_000, 60_000])
        ticks = self.number(far)
        sign = towards or self.random.choice([-1, 1])
        return max(self.engine.last["BTCUSDT"] + sign * ticks * TICK, 100 * TICK)

    def qty(self) -> Decimal:
        return self.random.choice([1 + self.number(200), 1 + self.number(3_000)]) * BTC.qty_step

    def levels(self, side: int) -> list[tuple[Decimal, Decimal]]:
        sizes = [ZERO, self.qty(), self.qty()]
        return [(self.price(side), self.random.choice(sizes)) for _ in range(self.number(6))]

    def request(self) -> OrderRequest:
        pick = self.random.choice
        side, order_type = pick(list(Side)), pick(list(OrderType))
        price = self.price(pick([0, -side.sign, -side.sign]))
        reduces, waits, stops = self.number(9) < 2, self.number(9) < 2, self.number(9) < 4
        rises = pick([True, False])
        trigger = self.price(1 if rises else -1) if waits else ZERO
        start = price if order_type is OrderType.LIMIT else trigger or self.engine.last["BTCUSDT"]
        off = [side.sign * (1 + self.number(400)) * TICK for _ in range(4)]
        return OrderRequest(
            symbol="BTCUSDT",
            side=side,
            order_type=order_type,
            qty=self.qty(),
            price=price,
            time_in_force=pick([TimeInForce.GTC, *TimeInForce]),
            reduce_only=reduces,
            close_on_trigger=reduces and pick([True, False]),
            stop_loss=start - off[0] if stops and not reduces else ZERO,
            take_profit=start + off[1] if stops and not reduces else ZERO,
            sl_trigger_by=pick(KINDS),
            tp_trigger_by=pick(KINDS),
            tpsl_mode=(mode := pick(list(TpslMode))),
            tp_order_type=pick(list(OrderType)) if mode is TpslMode.PARTIAL else OrderType.MARKET,
            tp_limit_price=start + off[2],
            trigger_price=trigger,
            trigger_direction=TriggerDirection.RISE if rises else TriggerDirection.FALL,
            trigger_by=pick(KINDS),
            slippage_type=pick(["", "TickSize"]) if order_type is OrderType.MARKET else "",
            slippage=Decimal(1 + self.number(30)),
        )

    def beside(self) -> OrderRequest:
        """Return an order of another symbol."""
        return OrderRequest(
            symbol="ETHUSDT",
            side=self.random.choice(list(Side)),
            order_type=OrderType.MARKET,
            qty=self.qty() * 5,
        )

    def stops(self, name: str) -> StopRequest:
        pick, position = self.random.choice, self.engine.accounts[name].positions["BTCUSDT"]
        sign, mode = position.side.sign, pick(list(TpslMode))
        partial = mode is TpslMode.PARTIAL
        size = min(self.qty(), position.size) if partial else None
        return StopRequest(
            stop_loss=pick([None, ZERO, self.price(-sign), self.price(-sign)]),
            take_profit=pick([None, ZERO, self.price(sign), self.price(sign)]),
            trailing_stop=pick([None, None, ZERO, (1 + self.number(500)) * TICK]),
            active_price=pick([None, None, self.price(sign)]),
            sl_trigger_by=pick([None, *KINDS]),
            tpsl_mode=mode,
            sl_size=size,
            tp_size=size,
            sl_order_type=pick(list(OrderType)) if partial else OrderType.MARKET,
            sl_limit_price=self.price(-sign),
        )

    def change(self) -> Change:
        pick = self.random.choice
        return Change(
            qty=pick([None, self.qty()]),
            price=pick([None, self.price(), self.price()]),
            trigger_price=pick([None, None, None, self.price()]),
            stop_loss=pick([None, None, None, ZERO]),
        )


def act(engine: Engine, act: Action, number: int) -> list[Event]:
    """Do what *act* says; a refusal is no event."""
    now = NOW + timedelta(minutes=number)
    kind, parts = act
    try:
        if kind in ("amend", "cancel"):
            orders = engine.accounts[parts[0]].open_orders()
            if not orders:
                return []
            order = orders[parts[1] % len(orders)]
            return list(getattr(engine, kind)(parts[0], order.order_id, *parts[2:], now))
        if kind == "cancel_all":
            return engine.cancel_all(parts[0], {"BTCUSDT"}, now)
        if kind in ("place", "set_margin_mode", "transfer"):
            return list(getattr(engine, kind)(*parts, now))
        if kind in ("set_stops", "set_leverage", "add_margin", "set_auto_add_margin"):
            return list(getattr(engine, kind)(parts[0], "BTCUSDT", *parts[1:], now))
        if kind == "beside":
            return engine.play("ETHUSDT", parts[0], now)
        if kind == "depth":
            return engine.depth("BTCUSDT", parts[0], parts[1], now, parts[2])
        if kind == "glide":
            return engine.glide("BTCUSDT", parts[0], now, parts[1])
        if kind == "refer":
            return engine.refer("BTCUSDT", now, *parts)
        return list(getattr(engine, kind)("BTCUSDT", *parts, now))
    except RequestRejected:
        return []


class Witness:
    """Adds up what events say, order by order and account by account."""

    def __init__(self) -> None:
        self.sizes: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
        self.pnl: dict[str, Decimal] = defaultdict(Decimal)
        self.fees: dict[str, Decimal] = defaultdict(Decimal)
        self.funding: dict[str, Decimal] = defaultdict(Decimal)
        self.filled: dict[str, Decimal] = defaultdict(Decimal)

    def see(self, events: list[Event]) -> None:
        orders = states(events)
        for e in executions(events):
            if e.exec_type is ExecType.FUNDING:
                self.funding[e.account] += e.fee
                continue
            order, held = orders[e.order_id], self.sizes[e.account, e.symbol]
            if order.reduce_only:
                assert e.closed_size == e.qty <= abs(held)
                assert held * e.side.sign < 0
            if e.order_price:
                assert (e.order_price - e.price) * e.side.sign >= 0
            if e.is_maker:
                assert e.price == e.order_price
            self.sizes[e.account, e.symbol] += e.side.sign * e.qty
            self.pnl[e.account] += e.pnl
            self.fees[e.account] += e.fee
            self.filled[e.order_id] += e.qty
        for order in orders.values():
            assert order.filled == self.filled[order.order_id] <= order.qty

    def check(self, engine: Engine) -> None:
        for name, account in engine.accounts.items():
            balance = account.balance
            assert balance.realised == self.pnl[name]
            assert balance.fees == self.fees[name]
            assert balance.funding == self.funding[name]
            assert balance.cash == (
                balance.start + balance.transfers + self.pnl[name] - self.fees[name]
                - self.funding[name]
            )  # fmt: skip
            assert account.equity() == balance.cash + account.unrealised()
            assert balance.cash >= 0 or account.held()
            for position in account.positions.values():
                self.check_position(account, position)

    def check_position(self, account: Account, position: Position) -> None:
        symbol = position.symbol
        assert position.side.sign * position.size == self.sizes[account.name, symbol]
        assert not account.is_doomed(symbol)
        if not position.size:
            assert position.cost == position.open_fee == position.extra_margin == 0
        for order in account.open_orders(symbol):
            if order.stop.is_of_position:
                assert position.size
                assert order.side is position.side.opposite
            if order.stop.follows:
                assert order.qty == position.size


def check_books(engine: Engine) -> None:
    """Every open order stands where it belongs, once, in its priority."""
    book = engine.board.books["BTCUSDT"]
    orders = [o for a in engine.accounts.values() for o in a.open_orders()]
    assert book.waiting == {o.order_id: o for o in orders if not o.is_resting}
    for side in Side:
        resting = [o for o in orders if o.is_resting and o.side is side]
        queued = list(book.queues[side].orders())
        assert queued == sorted(resting, key=lambda o: (-o.price * side.sign, o.turn))
        assert all(o.leaves > 0 for o in queued)
    for account in engine.accounts.values():
        fresh = make_engine(names=(account.name,)).accounts[account.name]
        fresh.board, fresh.profile, fresh.positions = (
            engine.board, account.profile, account.positions,
        )  # fmt: skip
        for order in account.open_orders():
            fresh.put(order)
        assert fresh.order_margin() == pytest.approx(account.order_margin(), abs=Decimal("1E-12"))


def run(engine: Engine, chance: Chance, count: int = 40) -> Iterator[list[Event]]:
    for number in range(count):
        yield act(engine, chance.action(), number)


@settings(max_examples=150)
@given(OPTIONS, SEEDS, st.booleans())
def test_every_ledger_balances_after_every_call(
    options: Options, seed: random.Random, recorded: bool
) -> None:
    engine, witness = make_engine(**options), Witness()

    for events in run(engine, Chance(seed, engine, recorded=recorded)):
        witness.see(events)
        witness.check(engine)
        check_books(engine)


@given(SEEDS)
def test_what_accounts_win_from_each_other_others_lose(seed: random.Random) -> None:
    engine = make_engine(names=(MAIN, OTHER), cash="100000000")
    engine.depth("BTCUSDT", [], [], NOW, snapshot=True)
    chance = Chance(seed, engine, recorded=False)

    traded = 0
    for number in range(60):
        one = seed.choice(
            [("place", (seed.choice([MAIN, OTHER]), chance.request())), chance.action()]
        )
        is_beside = one[0] == "place" and one[1][1].symbol != "BTCUSDT"
        if one[0] in ("place", "amend", "cancel", "set_stops") and not is_beside:
            traded += len(executions(act(engine, one, number)))

    accounts = engine.accounts.values()
    held = [a.positions["BTCUSDT"] for a in accounts]
    fees = sum((a.balance.fees for a in accounts), ZERO)
    assert traded % 2 == 0
    assert sum(p.side.sign * p.size for p in held) == 0
    assert sum((a.equity() for a in accounts), ZERO) == 200_000_000 - fees


@settings(max_examples=100)
@given(OPTIONS, SEEDS)
def test_a_restored_engine_goes_on_as_if_nothing_had_happened(
    options: Options, seed: random.Random
) -> None:
    engine = make_engine(**options | {"depth": None})
    chance = Chance(seed, engine, recorded=False)
    for _ in run(engine, chance, seed.randint(0, 40)):
        pass
    restored = Engine(engine.markets.values())
    accounts = engine.accounts.values()
    restored.restore(
        profiles=[a.profile for a in accounts],
        balances=[a.balance for a in accounts],
        positions=[p for a in accounts for p in a.positions.values()],
        orders=[o for a in accounts for o in a.open_orders()],
        last=engine.last,
        mark=engine.mark,
        index=engine.index,
        seq=engine.seq,
    )
    restored.board.marked |= engine.board.marked
    restored.board.indexed |= engine.board.indexed

    for number in range(40):
        one = chance.action()
        assert act(restored, one, number) == act(engine, one, number)


@given(OPTIONS, SEEDS)
def test_the_same_calls_give_the_same_events_and_ids(options: Options, seed: random.Random) -> None:
    def once(again: random.Random) -> list[list[Event]]:
        engine = make_engine(**options)
        return list(run(engine, Chance(again, engine, recorded=True)))

    state = seed.getstate()
    first = once(seed)
    seed.setstate(state)

    assert once(seed) == first


@given(OPTIONS, SEEDS)
def test_events_alone_tell_the_state(options: Options, seed: random.Random) -> None:
    engine = make_engine(**options)

    told: dict[str, Order] = {}
    for events in run(engine, Chance(seed, engine, recorded=True)):
        told |= states(events)

    kept = [o for a in engine.accounts.values() for o in a.open_orders()]
    assert {i: o for i, o in told.items() if o.is_open} == {o.order_id: o for o in kept}


@given(
    OPTIONS,
    st.lists(
        st.tuples(
            st.sampled_from([MAIN, OTHER]), st.integers(495_000, 499_999), st.integers(1, 50)
        ),
        max_size=20,
    ),
    st.integers(1, 500),
)
def test_the_best_price_comes_first_and_then_who_was_there_first(
    options: Options, orders: list[tuple[str, int, int]], qty: int
) -> None:
    engine = make_engine(**options | {"names": (MAIN, OTHER, "taker"), "cash": "100000000"})
    engine.depth("BTCUSDT", [], [], NOW, snapshot=True)
    for name, ticks, size in orders:
        engine.place(name, limit(f"{ticks // 100 * 100 * TICK}", qty=size * BTC.qty_step), NOW)
    resting = list(engine.board.books["BTCUSDT"].queues[Side.BUY].orders())

    events = engine.place("taker", limit("49500", Side.SELL, qty=qty * BTC.qty_step), NOW)

    makers = [e for e in executions(events) if e.is_maker]
    assert resting == sorted(resting, key=lambda o: (-o.price, o.seq))
    assert [e.order_id for e in makers] == [o.order_id for o in resting[: len(makers)]]
    assert [e.qty for e in makers[:-1]] == [o.qty for o in resting[: len(makers) - 1]]
    assert sum(e.qty for e in makers) == min(
        qty * BTC.qty_step, sum(o.qty for o in resting if o.price >= 49_500)
    )
