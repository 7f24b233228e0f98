"""A state file in which something is not what it was: refused in words, or served as it was."""

import random
import shutil
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from tests.paper.chance import holdings, stored, trade_by_chance
from tradewright.paper import PaperSettings
from tradewright.paper.exchange import Exchange
from tradewright.paper.layout import StateUnusable
from tradewright.paper.store import Store


def spoil(path: Path, chance: random.Random) -> None:
    """Flip bits, cut off, overwrite, append or empty."""
    content = bytearray(path.read_bytes())
    if not content:
        return
    spot = chance.randrange(min(len(content), chance.choice((100, 4096, 2**30))))
    kind = chance.randrange(8)
    if kind < 4:
        for _ in range(chance.choice((1, 1, 3))):
            content[spot] ^= 1 << chance.randrange(8)
            spot = chance.randrange(len(content))
    elif kind == 4:
        del content[spot:]
    elif kind == 5:
        size = chance.choice((16, 512, 4096))
        content[spot : spot + size] = chance.randbytes(size)
    elif kind == 6:
        size = chance.choice((16, 512, 4096))
        content[spot : spot + size] = bytes(size)
    else:
        content += chance.randbytes(chance.choice((1, 8, 4096)))
    path.write_bytes(content)


def spoilt_states(settings: PaperSettings, chance: random.Random, count: int) -> int:
    """Open spoilt copies of a state and its logs; return how many served, as if nothing were.

    Any failure but a refusal in words is raised.
    """
    assert settings.state is not None
    served, name = 0, settings.state.name
    files = [f for f in sorted(settings.state.parent.glob(name + "*")) if f.suffix != ".db-shm"]
    expected = _opened(settings, files, lambda _: None)
    for _ in range(count):
        # A log that is cut off ends earlier, and that is all that can be known
        target = chance.choice(files).name
        try:
            found = _opened(settings, files, lambda folder: spoil(folder / target, chance))  # noqa: B023
        except StateUnusable as refusal:
            what_to_do = str(refusal).partition("; ")[2]
            if not what_to_do:
                raise
            continue
        served += 1
        assert target != name or found == expected
    return served


def _opened(
    settings: PaperSettings, files: Sequence[Path], change: Callable[[Path], None]
) -> dict[str, Any]:
    """Return what an exchange knows that is started on copies of *files*."""
    with TemporaryDirectory() as folder:
        for file in files:
            shutil.copy(file, folder)
        change(Path(folder))
        assert settings.state is not None
        copied = settings.model_copy(update={"state": Path(folder) / settings.state.name})
        with closing(Store(copied.state)) as store:
            exchange = Exchange(copied, store)
            known = {**holdings(exchange), **stored(exchange), "keys": store.api_keys()}
            exchange.close()
        return known


@pytest.mark.parametrize("seed", range(4))
async def test_a_spoilt_state_is_refused_in_words_or_served_as_it_was(
    make_settings: Callable[..., PaperSettings], tmp_path: Path, seed: int
) -> None:
    settings = make_settings(state=tmp_path / "paper.db", symbols=("BTCUSDT",), seed=seed)
    killed = tmp_path / "killed"
    with closing(Store(settings.state)) as store:
        exchange = Exchange(settings, store)
        trade_by_chance(exchange, random.Random(seed))
        shutil.copytree(tmp_path, killed, ignore=lambda *_: ["killed"])
        exchange.close()
    left = settings.model_copy(update={"state": killed / "paper.db"})

    served = spoilt_states(settings, random.Random(seed), 15)
    served += spoilt_states(left, random.Random(seed), 15)

    assert served < 30


async def test_a_state_that_was_emptied_is_refused(
    make_settings: Callable[..., PaperSettings], tmp_path: Path
) -> None:
    settings = make_settings(state=tmp_path / "paper.db", symbols=("BTCUSDT",))
    Store(settings.state).close()
    (tmp_path / "paper.db").write_bytes(b"")

    with pytest.raises(StateUnusable, match="it is empty, and once was not"):
        Store(settings.state)
