"""Claims: one owner at a time, and none that is gone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from helpers.ledgers import do, ledger, outputs

from fcs.shards.ledger.batch_task import BatchTask
from fcs.shards.ledger.claims import STALE, Claims, identity
from fcs.shards.store.local import LocalStore


def claim(out: Path, **owner: object) -> Path:
    path = out / "claims/s/000000"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**identity(), "id": "other", **owner}))
    return path


class Touched(LocalStore):
    """A folder that tells of each heartbeat."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.touched = threading.Event()

    def touch(self, name: str, data: bytes) -> None:
        super().touch(name, data)
        self.touched.set()


@contextmanager
def claims(out: Path, **options: float) -> Iterator[Claims]:
    mine = Claims(LocalStore(out), **options)
    try:
        yield mine
    finally:
        mine.close()


def test_a_claim_has_one_owner(tmp_path: Path) -> None:
    with claims(tmp_path) as one, claims(tmp_path) as two:
        assert one.acquire("s", "000000")
        assert not two.acquire("s", "000000")
        assert not one.acquire("s", "000000")
        two.release("s", "000000")
        assert not two.acquire("s", "000000")
        one.release("s", "000000")
        assert two.acquire("s", "000000")


def test_a_dead_process_loses_its_claims_at_once(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    with claims(tmp_path) as mine:
        claim(tmp_path, pid=os.getppid())
        assert not mine.acquire("s", "000000")
        while gone.poll() is None:
            time.sleep(0.01)
        claim(tmp_path, pid=gone.pid, host="elsewhere")
        assert not mine.acquire("s", "000000")
        claim(tmp_path, pid=gone.pid)
        assert mine.acquire("s", "000000")


def test_an_unreaped_process_is_dead(tmp_path: Path) -> None:
    zombie = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)
    claim(tmp_path, pid=zombie.pid)
    with claims(tmp_path) as mine:
        assert mine.acquire("s", "000000")
    zombie.wait()


def test_a_restarted_job_takes_its_claims_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    with claims(tmp_path) as mine:
        for owner in ({"job": "17", "restart": 1}, {"job": "18", "restart": 0}):
            claim(tmp_path, host="elsewhere", **owner)
            assert not mine.acquire("s", "000000")
        claim(tmp_path, host="elsewhere", job="17", restart=0)
        assert mine.acquire("s", "000000")


def test_silence_makes_a_claim_stale_and_heartbeats_keep_it(tmp_path: Path) -> None:
    path = claim(tmp_path, host="elsewhere")
    with claims(tmp_path, stale=60.0) as mine:
        os.utime(path, (time.time() - 50,) * 2)
        assert not mine.acquire("s", "000000")
        os.utime(path, (time.time() - 70,) * 2)
        assert mine.acquire("s", "000000")
    with claims(tmp_path, heartbeat=0.01) as mine:
        store = mine.out = Touched(tmp_path)
        assert mine.acquire("s", "000000")
        os.utime(path, (0, 0))
        store.touched.clear()
        store.touched.wait()
        assert path.stat().st_mtime > 0


def test_of_many_that_take_over_one_wins(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    claim(tmp_path, pid=gone.pid)
    mine = [Claims(LocalStore(tmp_path)) for _ in range(8)]
    won = []
    start = threading.Barrier(8)

    def take(one: Claims) -> None:
        start.wait()
        if one.acquire("s", "000000"):
            won.append(one)

    threads = [threading.Thread(target=take, args=(one,)) for one in mine]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    for one in mine:
        one.close()


def test_work_is_taken_over_from_the_silent(whole_run: dict[str, bytes], tmp_path: Path) -> None:
    first = ledger(tmp_path, heartbeat=1000.0)
    held = first.tasks()
    next(held)
    for path in (tmp_path / "claims").rglob("*"):
        os.utime(path, (time.time() - 2 * STALE,) * 2)  # and then nothing more is heard of it
    with closing(ledger(tmp_path)) as book:
        done = []
        for item in book.tasks():
            done.append(item)
            do(book, item)
    assert {item.source for item in done} == {0, 2, 3}
    assert outputs(tmp_path) == whole_run
    do(first, BatchTask(0, 0, (0, 1)))  # who comes second discards
    first.close()
    assert outputs(tmp_path) == whole_run
    assert not (tmp_path / "parts").exists()
