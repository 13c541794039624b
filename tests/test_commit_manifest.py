"""The manifest: a start asks for little where it is right, and computes the same where it is wrong."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from contextlib import closing

import pytest
from helpers.ledgers import bury, cutting, outputs, remote
from helpers.objects import Cut, Objects
from scale.committed_run import committed_run
from scale.counted_store import CountedStore

from fcs.shards.input.sources import Source
from fcs.shards.ledger.commit_list import list_commits, nothing_left
from fcs.shards.ledger.commit_manifest import TURNS, is_turn, read_manifest, turn, write_manifest
from fcs.shards.ledger.layout import COMMITS, commit_file, tar_file
from fcs.shards.ledger.ledger import Ledger
from fcs.shards.ledger.pinned_run import describe, fingerprint, pin
from fcs.shards.ledger.result_rows import Row
from fcs.shards.ledger.retry import retry_failed
from fcs.shards.ledger.shard_order import most_passed
from fcs.shards.ledger.summary import failed_records
from fcs.shards.store.base import Stat, Store
from fcs.tools.status.read_status import read_status

MANY = 600
SOURCES = [Source(f"/in/{number:02d}.tar", f"{number:02d}", 1, 1.0) for number in range(20)]
STEMS = [source.stem for source in SOURCES]
SETTINGS = fingerprint({})
Damage = Callable[[bytes], bytes]


@pytest.fixture(autouse=True)
def looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of a commit that has just been made are looked at too."""
    monkeypatch.setattr("fcs.shards.ledger.commit_list.SETTLED", -1.0)


def book(out: Store, sources: list[Source], limit: int | None = None) -> Ledger:
    return Ledger(out, sources, 1, lambda number: 1, fingerprint=SETTINGS, limit=limit)


def compute(out: Store, failing: int | None = None) -> set[int]:
    """Go on with the run of twenty shards to its end; which of them were computed. One may fail."""
    pin(out, describe({}, SOURCES, None))
    computed = set()
    with closing(book(out, SOURCES)) as ledger:
        while not ledger.complete():
            for item in ledger.tasks():
                assert item is not None
                computed.add(item.source)
                key, error = str(item.source), "bad_image: x" if item.source == failing else None
                members = () if error else ((f"{key}.png", key.encode() * 99),)
                ledger.finish(item.source, item.batch, [Row(0, key, error, 7, 20, 0.5, 0.0, {}, members)])
        assert list(ledger.tasks()) == []
    return computed


@pytest.fixture
def large() -> tuple[CountedStore, list[Source]]:
    """A run of which all shards but one are committed, and a manifest that has them."""
    out = remote(Objects())
    sources = committed_run(out.replace, MANY, 1)
    with closing(book(out, sources)) as ledger:
        ledger.load_commits()
    return CountedStore(remote(out.fs)), sources


def test_a_start_asks_for_next_to_nothing(large: tuple[CountedStore, list[Source]]) -> None:
    out, sources = large
    with closing(book(out, sources)) as ledger:
        ledger.load_commits()
        assert (ledger.totals().ok, ledger.complete()) == (MANY * 1000, False)
        assert next(ledger.tasks()).source == MANY  # type: ignore[union-attr]
    assert out.operations <= 0.1 * MANY


def test_a_complete_run_is_known_by_next_to_nothing(large: tuple[CountedStore, list[Source]]) -> None:
    out, sources = large
    stems = [source.stem for source in sources]
    assert not nothing_left(out, stems, SETTINGS)
    assert out.operations <= -(-2 * MANY // 1000)
    assert nothing_left(out, stems[:-1], SETTINGS)
    assert out.operations <= 0.02 * MANY


def test_the_status_asks_for_next_to_nothing(large: tuple[CountedStore, list[Source]]) -> None:
    out, _ = large
    status = read_status(out)
    assert (status.done, status.complete) == (MANY * 1000, False)
    assert out.operations <= 0.02 * MANY


def test_with_a_limit_the_records_themselves_count(large: tuple[CountedStore, list[Source]]) -> None:
    out, sources = large
    with closing(book(out, sources, limit=MANY * 1000 + 1)) as ledger:
        ledger.load_commits()
        assert out.asked["read"] == MANY
        assert ledger.record_counts() == [1000] * MANY + [1]
    assert out.asked["read"] == MANY + 1  # the last has no record


def test_who_has_read_much_leaves_a_manifest() -> None:
    fs = Objects()
    sources = committed_run(remote(fs).replace, 40, 1)
    for reads in (40, 1):  # the second reads the manifest alone
        counted = CountedStore(remote(fs))
        with closing(book(counted, sources)) as ledger:
            ledger.load_commits()
        assert counted.asked["read"] == reads
        assert list(read_manifest(counted, SETTINGS)) == [source.stem for source in sources[:40]]


def test_a_process_learns_by_listings_what_others_have_committed() -> None:
    out = CountedStore(remote(Objects()))
    sources = committed_run(out.inner.replace, 0, MANY + 1)
    with closing(book(out, sources)) as ledger:
        ledger.load_commits()
        committed_run(out.inner.replace, MANY, 1)
        out.asked.clear()
        assert next(ledger.tasks()).source == MANY  # type: ignore[union-attr]
    assert out.operations <= 0.2 * MANY


@pytest.mark.parametrize("shards", [1, 15, 16, 100, 1023, 5000, 100_000])
def test_turns_are_spread_evenly(shards: int) -> None:
    turns = [number for number in range(shards) if is_turn(number, shards)]
    assert len(turns) <= 2 * TURNS
    gaps = [after - before for before, after in zip(turns, [*turns[1:], shards], strict=True)]
    assert max(gaps) <= 3 * turn(shards)  # three lengths of gaps, the longest the sum of the others


def test_a_run_writes_its_manifest_and_its_last_process_too() -> None:
    out = CountedStore(remote(Objects()))
    assert compute(out) == set(range(20))
    assert list(read_manifest(out, SETTINGS)) == STEMS
    found = list_commits(out, STEMS, SETTINGS)
    assert found.read == 0
    for stem, record in found.records.items():
        true = out.json(commit_file(stem)) or {}
        assert record["counts"] == true["counts"]
        assert {name: file["bytes"] for name, file in true["files"].items()} == {
            name: file["bytes"] for name, file in record["files"].items()
        }
        assert record["timings"]["committed"] == true["timings"]["committed"]


def other_sizes(data: bytes) -> bytes:
    """Whole, but it says of all files that they have another size, and of all records that they failed."""
    held = json.loads(data)
    out = remote(Objects())
    records = {}
    for stem, (*_, committed, sizes) in held["shards"].items():
        files = {name: {"bytes": size + 1} for name, size in sizes.items()}
        counts = {"records": 5, "ok": 0, "failed": 5}
        records[stem] = {"counts": counts, "files": files, "timings": {"committed": committed}}
    listed = {commit_file(stem): Stat(*entry[:3]) for stem, entry in held["shards"].items()}
    write_manifest(out, SETTINGS, listed, records)
    return out.read(COMMITS)


def of_another_run(data: bytes) -> bytes:
    return json.dumps({**json.loads(data), "fingerprint": "another"}).encode()


def of_another_form(data: bytes) -> bytes:
    """As a later version might write it."""
    shards = {stem: {"listed": entry[:3]} for stem, entry in json.loads(data)["shards"].items()}
    sha256 = hashlib.sha256(json.dumps(shards, separators=(",", ":")).encode()).hexdigest()
    return json.dumps({"fingerprint": SETTINGS, "sha256": sha256, "shards": shards}).encode()


WRONG: dict[str, Damage] = {
    "right": lambda data: data,
    "empty": lambda data: b"",
    "garbage": lambda data: b"\x00\xff" * 99,
    "deep": lambda data: b"[" * 99_999,
    "a list": lambda data: b"[1]",
    "a number": lambda data: b'{"fingerprint": "%s", "sha256": 1, "shards": 7}' % SETTINGS.encode(),
    "truncated": lambda data: data[: len(data) // 2],
    "changed": lambda data: data.replace(b"[1,1,0]", b"[1,0,1]", 1),
    "other sizes": other_sizes,
    "another run's": of_another_run,
    "another form": of_another_form,
}


@pytest.fixture(scope="module")
def finished() -> Objects:
    """The run of twenty shards at its end."""
    made = Objects()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fcs.shards.ledger.commit_list.SETTLED", -1.0)
        compute(remote(made))
    return made


@pytest.mark.parametrize("damage", WRONG.values(), ids=WRONG.keys())
def test_a_wrong_manifest_changes_nothing(damage: Damage, finished: Objects) -> None:
    """It has entries of a shard that is no longer committed, and of one whose results are damaged."""
    out = remote(finished.copy())
    whole = outputs(out)
    right = out.read(COMMITS)
    out.replace(COMMITS, damage(right))
    assert (out.read(COMMITS) == right) == (damage is WRONG["right"])
    out.delete(commit_file("03"))
    out.replace(tar_file("11"), b"torn")
    assert not nothing_left(out, STEMS, SETTINGS)
    assert compute(out) == {3, 11}
    assert outputs(out) == whole
    assert nothing_left(out, STEMS, SETTINGS)


def test_entries_are_older_than_a_new_commit_record() -> None:
    out = remote(Objects())
    compute(out, failing=5)
    old = out.read(COMMITS)
    assert retry_failed(out) == ["05"]
    assert compute(out) == {5}
    out.replace(COMMITS, old)
    found = list_commits(out, STEMS, SETTINGS)
    assert found.read == 1
    assert found.records["05"]["counts"] == {"records": 1, "ok": 1, "failed": 0}
    assert retry_failed(out) == []


def test_a_retry_asks_the_records_themselves() -> None:
    out = remote(Objects())
    compute(out, failing=5)
    out.replace(COMMITS, other_sizes(out.read(COMMITS)))
    assert retry_failed(out) == ["05"]


def test_a_process_of_a_large_run_passes_few_shards_of_others() -> None:
    """Alone, it looks at all of them, and finds what is free behind."""
    store = remote(Objects())
    sources = committed_run(store.replace, 0, MANY)
    with closing(book(store, sources)) as busy:
        for number, item in enumerate(busy.tasks()):  # one slice in each shard, held
            if number == MANY - 2:
                break
            assert item is not None
        out = CountedStore(store)
        with closing(Ledger(out, sources, 1, lambda number: 1, world=4096)) as late:
            late.load_commits()
            out.asked.clear()
            assert list(late.tasks()) == []
            assert out.operations <= 10 * most_passed(4096)
        with closing(Ledger(out, sources, 1, lambda number: 1)) as alone:
            assert next(alone.tasks()).source == MANY - 1  # type: ignore[union-attr]


def test_failed_records_are_named_by_next_to_nothing(large: tuple[CountedStore, list[Source]]) -> None:
    out, _ = large
    assert failed_records(out, 20) == []
    assert out.operations <= 0.02 * MANY


@cutting
@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
def test_a_kill_beside_the_writing_of_a_manifest(before: bool) -> None:
    """Whichever of the manifests it is."""
    fs, places = Objects(), list[int]()
    fs.after = lambda name: places.append(fs.writes) if name.endswith(COMMITS) else None
    compute(remote(fs))
    whole = outputs(remote(fs))
    assert len(places) >= 2
    for place in places:
        cut = Objects()
        cut.left = place - before
        with pytest.raises(Cut):
            compute(remote(cut))
        cut.left = None
        bury(remote(cut))
        compute(remote(cut))
        assert outputs(remote(cut)) == whole
        assert nothing_left(remote(cut), STEMS, SETTINGS)
