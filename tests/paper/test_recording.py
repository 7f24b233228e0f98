"""Recorded candles: what is played, and what is refused with its line."""

import gzip
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from tradewright.paper.market.recording import Recording, RecordingUnusable

RECORDED = Path(__file__).parents[3] / "shared" / "data"
HEADER = "open_time,open,high,low,close,volume"
FIRST = "2022-01-01T00:00:00Z,100,102,99,101,1"
SECOND = "2022-01-01T00:01:00Z,101,103,100,102,1"


def written(folder: Path, *lines: str, header: str = HEADER) -> Path:
    path = folder / "candles.csv"
    path.write_text("\n".join((header, *lines, "")))
    return path


@pytest.mark.parametrize(
    ("third", "detail"),
    [
        ("2022-01-01T00:02:00Z,1,1,2,1,1", "open 1 is below low 2"),
        ("2022-01-01T00:02:00Z,3,2,1,1,1", "open 3 is above high 2"),
        ("2022-01-01T00:02:00Z,2,2,1,3,1", "close 3 is above high 2"),
        ("2022-01-01T00:02:00Z,2,2,2,1,1", "close 1 is below low 2"),
        ("2022-01-01T00:02:00Z,1,1,x,1,1", "low 'x' is no number"),
        ("2022-01-01T00:02:00Z,1,NaN,1,1,1", "high 'NaN' is no number"),
        ("2022-01-01T00:02:00Z,1,1,1,1,Infinity", "volume 'Infinity' is no number"),
        ("2022-01-01T00:02:00Z,1,1e999999,1,1,1", "high '1e999999' is out of all range"),
        ("2022-01-01T00:02:00Z,1,1,-1,1,1", "low -1 is not above zero"),
        ("2022-01-01T00:02:00Z,1,1,1,1,-1", "volume -1 is below zero"),
        ("2022-01-01T00:02:00Z,1,1,1", "close is missing"),
        ("2022-01-01T00:01:00Z,1,1,1,1,1", "open_time 2022-01-01T00:01:00Z repeats that of line 3"),
        ("2021-12-31T00:01:00Z,1,1,1,1,1", "open_time 2021-12-31T00:01:00Z is before that of li"),
        ("1640995320000,1,1,1,1,1", "open_time '1640995320000' is no time; write 2022-01-05T00:"),
        ("2022-01-01T00:02:30Z,1,1,1,1,1", "open_time 2022-01-01T00:02:30Z is not that of a cand"),
        ("2022-01-01T00:01:30Z,1,1,1,1,1", "it comes 0.5 minutes after the one before"),
        ("2022-01-01T00:02:00Z,0.02,0.02,0.02,0.02,1", "open 0.02 is no multiple of 0.1, the tick"),
    ],
)
def test_a_line_that_cannot_be_is_named_with_what_is_wrong(
    tmp_path: Path, third: str, detail: str
) -> None:
    path = written(tmp_path, FIRST, SECOND, third)

    with pytest.raises(RecordingUnusable) as failure:
        Recording(path, "BTCUSDT")

    assert str(failure.value).startswith(f"recording {path}:4 cannot be played: {detail}")
    assert failure.value.line == 4


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        ("", "it is empty; the header is open_time,open,high,low,close,volume"),
        ("time,open,high,low,close,volume\n", "its header lacks open_time; it is open_time,open"),
        (HEADER, "it holds fewer than two candles"),
        (f"{HEADER}\n{FIRST}\n", "it holds fewer than two candles"),
    ],
)
def test_a_file_without_candles_is_refused(tmp_path: Path, text: str, detail: str) -> None:
    path = tmp_path / "candles.csv"
    path.write_text(text)

    with pytest.raises(RecordingUnusable, match=detail):
        Recording(path, "BTCUSDT")


@pytest.mark.parametrize(
    ("name", "content", "detail"),
    [
        (
            "short.csv.gz",
            gzip.compress(HEADER.encode() * 50, mtime=0)[:-9],
            "it is no whole gzip file",
        ),
        ("plain.csv.gz", f"{HEADER}\n{FIRST}\n".encode(), "it is no whole gzip file"),
        ("packed.csv", gzip.compress(HEADER.encode(), mtime=0), "it is not CSV text"),
    ],
    ids=["short", "plain", "packed"],
)
def test_a_file_of_another_kind_is_refused(
    tmp_path: Path, name: str, content: bytes, detail: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)

    with pytest.raises(RecordingUnusable, match=detail):
        Recording(path, "BTCUSDT")


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordingUnusable, match="it cannot be read: No such file"):
        Recording(tmp_path / "none.csv", "BTCUSDT")


def test_a_time_without_candles_is_refused_with_what_there_is(tmp_path: Path) -> None:
    path = written(tmp_path, FIRST, SECOND)

    with pytest.raises(RecordingUnusable) as failure:
        Recording(path, "BTCUSDT", begin=datetime(2023, 1, 1, tzinfo=UTC))

    assert str(failure.value).endswith("from 2022-01-01T00:00:00Z to 2022-01-01T00:01:00Z")


def test_what_a_spreadsheet_has_saved_is_read(tmp_path: Path) -> None:
    path = tmp_path / "candles.csv"
    path.write_bytes(("\ufeff" + "\r\n".join((HEADER, FIRST, SECOND))).encode())

    assert Recording(path, "BTCUSDT").steps_total == 2


def test_prices_that_were_floating_point_numbers_are_cut_to_the_price_step(tmp_path: Path) -> None:
    path = written(
        tmp_path, FIRST, "2022-01-01T00:01:00Z,101,102.00000000000000001,99.9999999999999,101,1"
    )

    bar = Recording(path, "BTCUSDT").series(2)["BTCUSDT"].last_closed("1")

    assert bar is not None
    assert [bar.high, bar.low] == [Decimal(102), Decimal(100)]


@pytest.mark.parametrize(
    ("third", "told"),
    [
        ("1.1893,1.1954,1.1891,1.1941", "open 1.1893"),
        ("95.5,95.57,95.5,95.5", "high 95.57"),
        ("3999.9,4000.05,3999.9,4000", "high 4000.05"),
    ],
)
def test_candles_of_another_symbol_are_refused(tmp_path: Path, third: str, told: str) -> None:
    path = written(tmp_path, FIRST, SECOND, f"2022-01-01T00:02:00Z,{third},1")

    with pytest.raises(RecordingUnusable) as failure:
        Recording(path, "BTCUSDT")

    assert str(failure.value) == (
        f"recording {path}:4 cannot be played: {told} is no multiple of 0.1, the tick of BTCUSDT; "
        "name the symbol whose candles these are: --symbol NAME"
    )
    assert Recording(path, "UNLISTEDUSDT").steps_total == 3


@pytest.mark.parametrize(
    ("name", "symbol", "other"),
    [
        ("btc_perp_1m_2022-01-01_2022-01-21.csv.gz", "BTCUSDT", None),
        ("xrp_usdt_perp_5m_2021-11-15_2021-11-21.csv", "XRPUSDT", "BTCUSDT"),
    ],
)
def test_real_candles_are_played_as_those_of_their_own_symbol(
    name: str, symbol: str, other: str | None
) -> None:
    path = RECORDED / name
    if not path.exists():
        pytest.skip(f"{path} is not on this machine")

    assert Recording(path, symbol).steps_total
    if other is not None:
        with pytest.raises(RecordingUnusable, match=r":2 cannot be played: open 1\.1893 is no mul"):
            Recording(path, other)


def test_a_recording_splits_into_history_and_steps(tmp_path: Path) -> None:
    rows = [f"2022-01-01T00:{n:02}:00Z,{n},{n + 2},{n},{n + 1},1" for n in range(1, 11)]
    path = written(tmp_path, *rows)

    recording = Recording(
        path,
        "BTCUSDT",
        begin=datetime(2022, 1, 1, 0, 5, tzinfo=UTC),
        end=datetime(2022, 1, 1, 0, 9, tzinfo=UTC),
    )

    def opens(steps: int) -> list[int]:
        bars = recording.series(steps)["BTCUSDT"].newest("1")
        return [int(bar.open) for bar in bars][::-1]

    assert (opens(0), opens(2)) == ([1, 2, 3, 4], [1, 2, 3, 4, 5, 6])
    assert (recording.base_minutes, recording.steps_total) == (1, 4)
    assert [recording.prices(n)["BTCUSDT"] for n in (0, 1)] == [5, 6]


def test_a_recording_without_history_begins_at_its_first_price(tmp_path: Path) -> None:
    recording = Recording(written(tmp_path, FIRST, SECOND), "BTCUSDT")

    assert recording.prices(0) == {"BTCUSDT": 100}


def test_volume_in_dollars_is_turned_into_coins(tmp_path: Path) -> None:
    recording = Recording(written(tmp_path, FIRST, SECOND), "ETHUSDT", in_quote=True)

    bar = recording.series(1)["ETHUSDT"].last_closed("1")

    assert bar is not None
    assert bar.volume == 0
    assert bar.turnover == 1
