"""The order links that were ever used: those in the state, and those on their way into it."""

from tradewright.paper.batch import Batch
from tradewright.paper.store import Store


class Links:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._unwritten: set[tuple[str, str]] = set()

    def __contains__(self, link: object, /) -> bool:
        if link in self._unwritten:
            return True
        match link:
            case (str(account), str(name)):
                return self._store.has_link(account, name)
        return False

    def add(self, link: tuple[str, str], /) -> None:
        self._unwritten.add(link)

    def written(self, batch: Batch) -> None:
        self._unwritten -= {(o.account, o.link) for o in batch.orders.values()}
