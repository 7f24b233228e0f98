"""What every strategy promises, as checks that any plugin can run from its own tests.

```python
@pytest.mark.parametrize("promise", testing.PROMISES, ids=testing.name)
def test_it_keeps_the_contract(promise: testing.Promise) -> None:
    promise(MyStrategy, {"period": 20})
```

The markets that a check asks about are generated and always the same.
"""

from tradewright.testing.market import BORN, Market, frozen, generated, make_book
from tradewright.testing.promise import PROMISES, ContractBroken, Promise, made, name

__all__ = [
    "BORN",
    "PROMISES",
    "ContractBroken",
    "Market",
    "Promise",
    "frozen",
    "generated",
    "made",
    "make_book",
    "name",
]
