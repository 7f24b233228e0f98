"""`validate`, `schema` and `apply`: what a person sees of a preset."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Call, System, WritePreset
from tradewright import ids, preset
from tradewright.journal import Journal

ROOT = Path(__file__).parents[2]


def test_validate_lists_the_presets_of_a_folder(call: Call, write_preset: WritePreset) -> None:
    write_preset("beta")
    path = write_preset("alpha", symbols="BTCUSDT, ETHUSDT")

    answer = call("validate", path.parent)

    assert answer.code == 0
    first, second, summary = answer.out.splitlines()
    assert f"{path}: valid: alpha, BTCUSDT, ETHUSDT 1m" in first
    assert preset.load(path).hash in first
    assert "beta" in second
    assert summary == "2 of 2 presets valid"


def test_validate_shows_every_mistake_with_place_line_caret_and_advice(
    call: Call, write_preset: WritePreset
) -> None:
    bad = write_preset("alpha", replace=("expires_after: 30s", "expires_aftr: 30s"))
    worse = write_preset("beta", replace=("risk_fraction: 0.005", "risk_fraction: 7"))

    answer = call("validate", bad, worse)

    assert answer.code == 3
    assert f"{bad}:8:" in answer.out
    assert "did you mean 'expires_after'?" in answer.out
    assert f"{worse}:10:" in answer.out
    lines = answer.out.splitlines()
    caret = next(line for line in lines if line.rstrip().endswith("^"))
    source = lines[lines.index(caret) - 1]
    assert source[caret.index("^") :].startswith("expires_aftr")
    assert lines[-1] == "0 of 2 presets valid, 2 mistakes"


def test_validate_speaks_json(call: Call, write_preset: WritePreset) -> None:
    good = write_preset("alpha")
    bad = write_preset("beta", replace=("version: 1", "version: 9"))

    answer = call("validate", good, bad, "--output", "json")

    assert answer.code == 3
    found = answer.document
    assert found["kind"] == "validation"
    assert not found["valid"]
    assert [(p["file"], p["name"]) for p in found["presets"]] == [(str(good), "alpha")]
    (fault,) = found["faults"]
    assert (fault["file"], fault["line"], fault["path"]) == (str(bad), 1, "version")
    assert fault["excerpt"] == "version: 9"


def test_two_presets_of_one_name_are_a_mistake_of_the_second(
    call: Call, write_preset: WritePreset
) -> None:
    first = write_preset("alpha")
    second = write_preset("beta", replace=("name: beta", "name: alpha"))

    answer = call("validate", first, second)

    assert answer.code == 3
    assert f"{second}:2:7: error: name: 'alpha' is the name of {first} too" in answer.out


def test_a_missing_file_is_a_fault_of_it_and_an_empty_folder_is_not_found(
    call: Call, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()

    missing, empty = call("validate", "nowhere.yaml"), call("validate", "empty")

    assert missing.code == 3
    assert "nowhere.yaml:1:1: error: cannot be read" in missing.out
    assert empty.code == 4
    assert "folder empty holds no preset" in empty.err


def test_online_validation_names_the_symbol_that_the_exchange_lacks(
    call: Call, exchange: str, write_preset: WritePreset
) -> None:
    good = write_preset("alpha")
    bad = write_preset("beta", symbols="BTCUSDT, ETHUSTD")

    answer = call("validate", "--online", good, bad)

    assert answer.code == 3
    assert f"{bad}:5:47: error: market.symbols.1: 'ETHUSTD' is not listed" in answer.out
    assert "did you mean 'ETHUSDT'?" in answer.out
    assert f"{good}: valid" in answer.out
    assert call("validate", "--online", good).code == 0


def test_online_validation_without_an_exchange_says_so(
    call: Call, write_preset: WritePreset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRADEWRIGHT_PAPER_URL", "http://127.0.0.1:1")

    answer = call("validate", "--online", write_preset("alpha"))

    assert answer.code == 5
    assert "was not answered" in answer.err


def test_schema_prints_the_schema_alone(call: Call) -> None:
    answer = call("schema")

    assert answer.code == 0
    assert json.loads(answer.out) == preset.schema()


def test_schema_check_names_what_is_stale_and_write_mends_it(call: Call, tmp_path: Path) -> None:
    assert call("schema", "--write").code == 0
    assert call("schema", "--check").code == 0
    (tmp_path / "schemas/preset.schema.json").write_text("{}")

    stale = call("schema", "--check")
    told = call("schema", "--check", "-o", "json")
    written = call("schema", "--write")

    assert stale.code == 1
    assert stale.out == "schemas/preset.schema.json: stale\n"
    assert "tradewright schema --write" in stale.err
    assert told.document["stale"] == ["schemas/preset.schema.json"]
    assert written.out == "schemas/preset.schema.json: written\n"
    assert call("schema", "--check").code == 0


def test_schema_check_and_write_exclude_each_other(call: Call) -> None:
    assert call("schema", "--check", "--write").code == 2


def test_apply_of_a_bad_preset_reaches_nobody(call: Call, write_preset: WritePreset) -> None:
    bad = write_preset("alpha", replace=("version: 1", "version: 9"))

    answer = call("apply", bad, write_preset("beta"))

    assert answer.code == 3
    assert f"{bad}:1:10: error" in answer.out
    assert "nothing was applied" in answer.err


def test_apply_refuses_a_preset_of_another_account(call: Call, write_preset: WritePreset) -> None:
    answer = call("apply", write_preset("alpha", account="second"))

    assert answer.code == 3
    assert "give --account second or correct it" in answer.out


def test_apply_without_temporal_says_what_to_do(
    call: Call, write_preset: WritePreset, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Where nothing runs the exchange is silent too, and that is not what a person must be told
    monkeypatch.setenv("TRADEWRIGHT_PAPER_URL", "http://127.0.0.1:1")

    answer = call("apply", write_preset("alpha"))

    assert answer.code == 5
    assert answer.err == (
        "error: temporal 127.0.0.1:1 does not answer: nobody listens there; start the system "
        "with `tradewright up`, or say where it runs with --address or "
        "TRADEWRIGHT_TEMPORAL__ADDRESS\n"
    )


def test_expect_goes_with_one_preset(call: Call, write_preset: WritePreset) -> None:
    answer = call("apply", write_preset("alpha"), write_preset("beta"), "--expect", "abc")

    assert answer.code == 2


async def test_apply_starts_changes_and_leaves_alone(
    working: System, write_preset: WritePreset
) -> None:
    name = f"trend-{working.account}"
    path = write_preset(name, account=working.account)
    before = preset.load(path)

    would = await working.call("apply", path, "--dry-run")
    started = await working.call("apply", path, "--by", "ann")
    again = await working.call("apply", path)
    write_preset(name, account=working.account, timeframe="5m")
    after = preset.load(path)
    would_change = await working.call("apply", path, "--dry-run", "-o", "json")
    changed = await working.call("apply", path, "--expect", before.hash)

    link = f"http://127.0.0.1:8233/namespaces/default/workflows/strategy%2F{name}"
    assert would.out == f"{name}: would be started with version {before.hash}  {link}\n"
    assert started.out == f"{name}: started with version {before.hash}  {link}\n"
    assert again.out == f"{name}: unchanged, version {before.hash} runs  {link}\n"
    (planned,) = would_change.document["applications"]
    assert planned["change"] == "changed"
    assert planned["dry_run"]
    assert planned["url"] == link
    assert changed.out == f"{name}: changed from version {before.hash} to {after.hash}  {link}\n"
    assert {started.code, again.code, changed.code} == {0}
    stored = await working.desk.journal.preset(after.hash)
    assert stored is not None
    assert stored.document == path.read_text()


async def test_apply_refuses_when_another_version_runs_than_expected(
    working: System, write_preset: WritePreset
) -> None:
    path = write_preset(f"trend-{working.account}", account=working.account)

    nothing_runs = await working.call("apply", path, "--expect", "abcdef")
    await working.call("apply", path)
    another_runs = await working.call("apply", path, "--expect", "abcdef", "-o", "json")

    assert nothing_runs.code == 4
    assert "version abcdef was expected" in nothing_runs.err
    assert another_runs.code == 6
    error = another_runs.document["error"]
    assert error["type"] == "WishRefused"
    assert error["exit_code"] == 6
    assert f"it runs version {preset.load(path).hash}, not abcdef" in error["message"]


async def test_apply_of_an_unlisted_symbol_changes_nothing(
    working: System, write_preset: WritePreset
) -> None:
    name = f"trend-{working.account}"

    answer = await working.call(
        "apply", write_preset(name, account=working.account, symbols="ETHUSTD")
    )

    assert answer.code == 3
    assert "did you mean 'ETHUSDT'?" in answer.out
    assert await working.desk.journal.latest_presets() == ()


async def test_apply_to_a_strategy_that_nobody_answers_for_changes_nothing(
    system: System, write_preset: WritePreset
) -> None:
    name = f"trend-{system.account}"
    path = write_preset(name, account=system.account)
    started = await system.call("apply", path)
    write_preset(name, account=system.account, timeframe="5m")

    answer = await system.call("apply", path)

    assert started.code == 0
    assert answer.code == 5
    assert f"workflow {ids.strategy_workflow(name)} does not answer" in answer.err
    assert "tradewright worker --queues trading" in answer.err
    journal: Journal = system.desk.journal
    assert await journal.preset(preset.load(path).hash) is None
