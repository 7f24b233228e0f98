"""Every kind of market says in words which one it is."""

import pytest

from tradewright.paper.market.identity import in_words


@pytest.mark.parametrize(
    ("identity", "words"),
    [
        (
            "generator 7 BTCUSDT,ETHUSDT 1640995200000",
            "generated market, seed 7, BTCUSDT, ETHUSDT, begun 2022-01-01T00:00Z",
        ),
        (
            "recording XRPUSDT my candles.csv 1640995200000",
            "recorded candles of XRPUSDT, my candles.csv from 2022-01-01T00:00Z on",
        ),
        (
            "tape BTCUSDT,ETHUSDT book.jsonl.gz 1640995201500",
            "recorded order book of BTCUSDT, ETHUSDT, book.jsonl.gz from "
            "2022-01-01T00:00:01.500Z on",
        ),
        ("script BTCUSDT=50000,ETHUSDT=3000", "script, BTCUSDT from 50000, ETHUSDT from 3000"),
        ("live BTCUSDT,ETHUSDT", "relayed market, BTCUSDT, ETHUSDT"),
    ],
)
def test_an_identity_is_said_in_words(identity: str, words: str) -> None:
    assert in_words(identity) == words
