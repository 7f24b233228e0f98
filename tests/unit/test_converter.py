"""What the converters of all workflows have in common."""

from tradewright.converter import DATA_CONVERTER
from tradewright.domain.trade import Started


def test_a_thousand_workflows_hold_the_adapters_of_one() -> None:
    made: list[object] = []

    class Counted:
        """A shape that tells how often an adapter is made for it."""

        @classmethod
        def __get_pydantic_core_schema__(cls, source: object, handler: object) -> object:
            made.append(source)
            return {"type": "any"}

    for _ in range(1000):
        one = DATA_CONVERTER.payload_converter_class()
        assert one.from_payload(one.to_payload(Started()), Counted)

    assert len(made) == 1
