"""A preset's rules, resolved: every name found, every mistake told at its place."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import product
from typing import Any

from plugins.rules.indicator import Indicator
from plugins.rules.programme import Declared, Let, Measure, Programme, Source
from tradewright import plugin, rules
from tradewright.plugin import COLUMNS, ParamFault
from tradewright.rules import Kind, Rule, RuleInvalid
from tradewright.rules.catalogue import Function

EXIT_RULES = ("exit_long", "exit_short")
ONLY_NOW = frozenset((*plugin.BOOK_SERIES, *plugin.POSITION_SERIES, *plugin.ACCOUNT_SERIES))
MEANINGS = frozenset(
    {*COLUMNS, *rules.RESERVED, *(name.partition(".")[0] for name in plugin.EXTRA_SERIES)}
)
"""Words with a meaning of their own."""
MAX_OTHERS = 20


class Resolution:
    """Resolves what was declared; `faults` holds what is wrong with it afterwards."""

    def __init__(self, declared: Declared) -> None:
        self.faults: list[ParamFault] = []
        self._declared = self._with_good_words(declared)
        self._sources = _sources(self._declared)
        self._outputs: dict[str, str] = {}
        """What is computed, by each of its names: ``macd`` for ``macd.signal``."""
        self._kinds: dict[str, Kind] = {}
        self._measures = dict(self._resolved_measures())
        self._name_all()
        self._edges = self._edges_between()
        self._order = self._sorted()
        self._only_now = self._reaching(ONLY_NOW)
        self._exits_only = self._reaching(frozenset(plugin.POSITION_SERIES))
        self._looked_back: set[str] = set()

    def programme(self) -> Programme | None:
        """Return what is to be evaluated; None if there are faults."""
        definitions = [self._defined(name) for name in self._order]
        compiled = {path: self._compiled(path, *rule) for path, rule in self._given_rules()}
        if self.faults:
            return None
        found = [each for each in definitions if each is not None]
        ready = {path: rule for path, rule in compiled.items() if rule is not None}
        used = [each.names for each in (*found, *ready.values())]
        leaves = frozenset().union(*used) - self._outputs.keys()
        needs = self._needs(found, ready.values(), leaves)
        if needs is None:
            return None
        return Programme(
            definitions=tuple(found),
            rules=ready,
            sources={name: self._sources[name] for name in needs.others},
            needs=needs,
            only_now=self._only_now,
            leaves=leaves,
            looked_back=frozenset(self._looked_back),
        )

    def _given_rules(self) -> Iterable[tuple[tuple[str, ...], tuple[str, Kind]]]:
        return self._declared.rules.items()

    # --- names ---------------------------------------------------------------------------------

    def _with_good_words(self, declared: Declared) -> Declared:
        """Return *declared* without the words that mean something else already."""
        seen: dict[str, str] = {}
        sections: dict[str, Mapping[str, Any]] = {
            "symbols": declared.symbols,
            "timeframes": declared.timeframes,
            "indicators": declared.indicators,
            "let": declared.lets,
        }
        for section, words in sections.items():
            for word in words:
                if word in MEANINGS:
                    problem = f"{word!r} has a meaning of its own in rules; choose another name"
                elif word in seen:
                    problem = f"{word!r} stands under {seen[word]} already; choose another name"
                else:
                    seen[word] = section
                    continue
                self.faults.append(ParamFault((section, word), problem, at_key=True))
        good = [
            {word: each for word, each in words.items() if seen.get(word) == section}
            for section, words in sections.items()
        ]
        return Declared(good[0], good[1], good[2], good[3], declared.rules)

    def _name_all(self) -> None:
        self._kinds = dict.fromkeys((*COLUMNS, *plugin.EXTRA_SERIES), Kind.NUMBER)
        for source, column in product(self._sources, COLUMNS):
            self._kinds[f"{source}.{column}"] = Kind.NUMBER
        for name, indicator in self._declared.indicators.items():
            # One with faults is known all the same, so that its fault is told once
            for each in indicator.outputs(name):
                self._outputs[each] = name
                self._kinds[each] = Kind.NUMBER
        for name, text in self._declared.lets.items():
            self._outputs[name] = name
            self._kinds[name] = rules.likely_kind(text, self._declared.lets)

    # --- indicators ----------------------------------------------------------------------------

    def _resolved_measures(self) -> Iterator[tuple[str, Measure]]:
        for name, indicator in self._declared.indicators.items():
            faults = [*indicator.faults()]
            if not faults:
                try:
                    yield name, self._measure(name, indicator)
                except _Unresolved as e:
                    faults = [e.fault]
            self.faults += [each._replace(path=("indicators", name, *each.path)) for each in faults]

    def _measure(self, name: str, indicator: Indicator) -> Measure:
        function = indicator.function
        source, given = indicator.on or "", _listed(indicator.of)
        if source and source not in self._sources:
            advice = plugin.suggestion(source, self._sources)
            raise _Unresolved(("on",), f"no candles are called {source!r}; {advice}")
        if len(given) == 1 and given[0] in self._sources:
            source, given = self._joined(given[0], source), []
        places = [each for each in function.inputs if each.startswith("of:")]
        if given and len(given) != len(places):
            raise _Unresolved(("of",), _wanted(function, len(places)))
        chosen = iter(given)
        inputs = []
        for each in function.inputs:
            column = next(chosen, each[3:]) if each.startswith("of:") else each
            if column in COLUMNS and source:
                column = f"{source}.{column}"
            elif source and not column.startswith(f"{source}."):
                message = f"{column!r} is no series of {source}; leave `on` out"
                raise _Unresolved(("of",), message)
            inputs.append(column)
        return Measure(
            name, function, indicator.parameters(), source, tuple(inputs), indicator.outputs(name)
        )

    def _joined(self, of: str, on: str) -> str:
        """Return the candles that *of* and *on* mean together: a symbol's in a timeframe."""
        if not on:
            return of
        if of in self._declared.symbols and on in self._declared.timeframes:
            return f"{of}.{on}"
        raise _Unresolved(("of",), f"{of} on {on} means no candles; use a symbol on a timeframe")

    # --- order ---------------------------------------------------------------------------------

    def _edges_between(self) -> dict[str, frozenset[str]]:
        """Return the names that each definition speaks of."""
        edges = {name: measure.names for name, measure in self._measures.items()}
        return edges | {name: rules.mentioned(text) for name, text in self._declared.lets.items()}

    def _sorted(self) -> list[str]:
        """Return the definitions in order; those that go round in a circle are faults."""
        order: list[str] = []
        waiting = dict(self._edges)
        while waiting:
            free = [n for n, names in waiting.items() if not self._definitions(names) & {*waiting}]
            if not free:
                self._tell_circle(waiting)
                break
            order += free
            for name in free:
                del waiting[name]
        return order

    def _definitions(self, names: Iterable[str]) -> set[str]:
        return {self._outputs[name] for name in names if name in self._outputs}

    def _tell_circle(self, waiting: Mapping[str, frozenset[str]]) -> None:
        name, way = next(iter(waiting)), list[str]()
        while name not in way:
            way.append(name)
            name = sorted(self._definitions(waiting[name]) & waiting.keys())[0]
        circle = [*way[way.index(name) :], name]
        section = "let" if name in self._declared.lets else "indicators"
        message = f"{' needs '.join(circle)}: a circle; let one of them stand by itself"
        self.faults.append(ParamFault((section, name), message))

    def _reaching(self, names: frozenset[str]) -> frozenset[str]:
        """Return *names*, and all names of what is computed from them."""
        found = set(names)
        for name in self._order:
            if not found.isdisjoint(self._edges[name]):
                found |= {each for each, owner in self._outputs.items() if owner == name}
        return frozenset(found)

    # --- expressions ---------------------------------------------------------------------------

    def _defined(self, name: str) -> Measure | Let | None:
        if name not in self._measures:
            text = self._declared.lets[name]
            rule = self._compiled(("let", name), text, self._kinds[name])
            return Let(name, rule) if rule is not None else None
        measure = self._measures[name]
        path = ("indicators", name, "of")
        for each in measure.inputs:
            if each in self._only_now:
                self.faults.append(ParamFault(path, f"{each} is known only now; it has no past"))
            elif self._kinds.get(each) is not Kind.NUMBER:
                problem = "is a condition" if each in self._kinds else "is unknown"
                numbers = [n for n, kind in self._kinds.items() if kind is Kind.NUMBER]
                advice = plugin.suggestion(each, numbers)
                self.faults.append(ParamFault(path, f"series {each!r} {problem}; {advice}"))
        return measure

    def _compiled(self, path: tuple[str, ...], text: str, kind: Kind) -> Rule | None:
        names, elsewhere = self._kinds, dict[str, str]()
        if path[0] != "let" and path[-1] not in EXIT_RULES:
            names = {n: kind for n, kind in names.items() if n not in self._exits_only}
            elsewhere = dict.fromkeys(
                self._exits_only, "a position is known in exit_long and exit_short alone"
            )
        try:
            return rules.compile_rule(
                text, names, kind, only_now=self._only_now, elsewhere=elsewhere
            )
        except RuleInvalid as e:
            self.faults.append(ParamFault(path, f"{e.problem}; {e.advice}", e.column))
            return None

    # --- candles -------------------------------------------------------------------------------

    def _needs(
        self, definitions: list[Measure | Let], ready: Iterable[Rule], leaves: frozenset[str]
    ) -> plugin.Needs | None:
        """Return how many candles it takes until nothing that came before them matters."""
        needed: dict[str, dict[str, int]] = {}
        for each in definitions:
            needed[each.name] = self._candles(each, needed)
        for number, rule in enumerate(ready):
            needed[f"rule {number}"] = self._candles(Let("", rule), needed)
        most = _most(needed.values(), 0) | {
            "": max((n.get("", 1) for n in needed.values()), default=1)
        }
        own = most.pop("")
        for name, count in {"": own, **most}.items():
            if count > plugin.MAX_CANDLES:
                whose = f" of {name}" if name else ""
                message = f"the rules need {count} candles{whose}, more than {plugin.MAX_CANDLES}"
                self.faults.append(ParamFault((), f"{message}; use shorter periods"))
        if len(most) > MAX_OTHERS:
            message = f"{len(most)} other series of candles are used, more than {MAX_OTHERS}"
            self.faults.append(ParamFault((), f"{message}; use fewer"))
        if self.faults:
            return None
        others = {
            name: plugin.Need(
                symbol=self._sources[name].symbol,
                timeframe=self._sources[name].timeframe,
                candles=count,
            )
            for name, count in most.items()
        }
        series = tuple(name for name in plugin.EXTRA_SERIES if name in leaves)
        return plugin.Needs(candles=own, others=others, series=series)

    def _candles(
        self, definition: Measure | Let, needed: Mapping[str, Mapping[str, int]]
    ) -> dict[str, int]:
        if isinstance(definition, Let):
            lags = definition.rule.lags.items()
            each = [self._most([self._candles_of(name, needed)], lag) for name, lag in lags]
            return {"": 1} | _most(each, 0)
        more = definition.function.warm_up(definition.parameters) - 1
        if definition.source:
            return {"": 1, definition.source: 1 + more}
        return self._most([self._candles_of(name, needed) for name in definition.inputs], more)

    def _most(self, each: list[Mapping[str, int]], more: int) -> dict[str, int]:
        """Return the most of *each*, looked at from so many candles of the trigger's *more*."""
        if more:
            self._looked_back.update(*each)
        return _most(each, more)

    def _candles_of(self, name: str, needed: Mapping[str, Mapping[str, int]]) -> Mapping[str, int]:
        if name in self._outputs:
            return needed[self._outputs[name]]
        source = name.rpartition(".")[0]
        return {"": 1, source: 1} if source in self._sources else {"": 1}


class _Unresolved(Exception):
    def __init__(self, path: tuple[str, ...], message: str) -> None:
        self.fault = ParamFault(path, message)


def _sources(declared: Declared) -> dict[str, Source]:
    found = {name: Source(timeframe=each) for name, each in declared.timeframes.items()}
    found |= {name: Source(symbol=each) for name, each in declared.symbols.items()}
    for (name, symbol), (frame, timeframe) in product(
        declared.symbols.items(), declared.timeframes.items()
    ):
        found[f"{name}.{frame}"] = Source(symbol, timeframe)
    return found


def _listed(of: str | list[str] | None) -> list[str]:
    return [] if of is None else [of] if isinstance(of, str) else [*of]


def _wanted(function: Function, places: int) -> str:
    if not places:
        return f"{function.name} always takes {', '.join(function.inputs)}; leave `of` out"
    return f"{function.name} takes {places} series here; write {places}"


def _most(each: Iterable[Mapping[str, int]], more: int) -> dict[str, int]:
    found: dict[str, int] = {}
    for counts in each:
        for name, count in counts.items():
            found[name] = max(found.get(name, 0), count + more)
    return found
