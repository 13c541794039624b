"""Damaged tars: the first hundred cases of the torture test, and that its rules would notice a worse reader."""

from __future__ import annotations

from pathlib import Path

import pytest
from fuzz import Fuzzer
from mutate import Case

from fcs.shards.input import record_index, shard_reader, tar_members

CASES = 100
MOST = 300  # until a worse reader is noticed


@pytest.fixture
def fuzzer(tmp_path: Path) -> Fuzzer:
    return Fuzzer(0, tmp_path)


def test_no_damage_breaks_a_rule(fuzzer: Fuzzer) -> None:
    outcomes = [fuzzer.run(number) for number in range(CASES)]
    assert [outcome for outcome in outcomes if outcome.complaints] == []
    assert sum("ok" in outcome.rows for outcome in outcomes) > CASES // 2
    assert sum("truncated" in outcome.rows for outcome in outcomes) > CASES // 2


def test_a_case_is_fixed_by_seed_and_number(fuzzer: Fuzzer, tmp_path: Path) -> None:
    assert fuzzer.case(7) == Fuzzer(0, tmp_path).case(7)
    assert fuzzer.case(7) != Fuzzer(1, tmp_path).case(7)


WORSE = {
    "cuts without a row": (tar_members, "_ending", lambda *_: None, "a cut that has no row"),
    "the header's size believed": (tar_members, "_has_data", lambda _: False, "became shorter"),
    "keys forgotten": (
        record_index,
        "_resolve",
        lambda runs: (runs, runs[-1] if runs else None),
        "a key accepted twice",
    ),
    "names shown raw": (record_index, "printable", lambda text: text, "cannot be shown"),
    "a crash": (record_index, "_key_error", lambda key: key[99], "IndexError"),
    "compressed junk believed": (shard_reader, "_gunzip", lambda chunks: chunks, "is lost"),
}


@pytest.mark.parametrize("name", WORSE)
def test_a_worse_reader_is_noticed(name: str, fuzzer: Fuzzer, monkeypatch: pytest.MonkeyPatch) -> None:
    module, attribute, worse, complaint = WORSE[name]
    monkeypatch.setattr(module, attribute, worse)
    found = (line for number in range(MOST) for line in fuzzer.run(number).complaints)
    assert any(complaint in line for line in found)


def test_swapped_pixels_are_noticed(fuzzer: Fuzzer) -> None:
    rows = fuzzer.clean[0]
    swapped = [row if place else rows[3] for place, row in enumerate(rows)]
    case = Case((), "tar", fuzzer.tars[0].data)
    assert fuzzer.complaints(0, case, rows) == []
    assert any("is lost" in line for line in fuzzer.complaints(0, case, swapped))
