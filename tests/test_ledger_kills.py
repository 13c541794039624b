"""A run that is killed at any file operation goes on to the same bytes."""

from __future__ import annotations

import itertools
import os
import shutil
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from helpers import forked
from helpers.ledgers import SOURCES, bury, cutting, finish, none, outputs, small, some

from fcs.core.errors import StorageError
from fcs.shards.ledger.commit_records import read_commit
from fcs.shards.ledger.pinned_run import describe, pin
from fcs.shards.ledger.retry import retry_failed
from fcs.shards.store.local import LocalStore


class Cut(BaseException):
    """As if the process were killed: no file operation of its handlers is done any more."""


def cut_at(patch: pytest.MonkeyPatch, number: int) -> list[str]:
    """Fail from that file operation on; the state before one is the state after the one before it."""
    seen: list[str] = []

    def patched(name: str, real: Callable[..., object]) -> Callable[..., object]:
        def call(*args: object, **options: object) -> object:
            seen.append(name)
            if len(seen) >= number:
                raise Cut(name)
            return real(*args, **options)

        return call

    for name in ("link", "replace", "rename", "unlink", "rmdir"):
        patch.setattr(os, name, patched(name, getattr(os, name)))
    return seen


@pytest.fixture
def begun(tmp_path: Path) -> Path:
    pin(LocalStore(tmp_path / "begun"), describe({}, SOURCES[:3], None))
    return tmp_path / "begun"


def nothing_left(out: Path) -> None:
    left = {path.name for path in out.iterdir() if not path.name.startswith(".")}
    assert left == {"metrics", "run.json", "shards", "summary.json", "workers"}
    assert not [path for name in ("metrics", "shards") for path in (out / name).rglob("*.tmp")]


@cutting
def test_cut_at_each_file_operation(begun: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(begun, tmp_path / "whole")
    assert small(tmp_path / "whole", some) == 5
    whole = outputs(tmp_path / "whole")
    for number in itertools.count(1):
        out = tmp_path / str(number)
        shutil.copytree(begun, out)
        with monkeypatch.context() as patch, suppress(Cut):
            seen = cut_at(patch, number)
            small(out, some)
        if len(seen) < number:
            break
        bury(out)
        small(out, some)
        assert outputs(out) == whole, (number, seen[-1])
        nothing_left(out)
    assert number > 40


@cutting
def test_retry_cut_at_each_file_operation(begun: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small(begun, some)
    whole: dict[str, bytes] = {}
    for number in itertools.count(1):
        out = tmp_path / str(number)
        shutil.copytree(begun, out)
        with monkeypatch.context() as patch, suppress(Cut):
            seen = cut_at(patch, number)
            retry_failed(LocalStore(out))
            small(out, none)
        bury(out)
        retry_failed(LocalStore(out))
        assert small(out, none) <= 3, number  # what was good is never computed again
        whole = whole or outputs(out)
        assert outputs(out) == whole, (number, seen[-1])
        nothing_left(out)
        if len(seen) < number:
            break
    records = [read_commit(LocalStore(out), source.stem) for source in SOURCES[:3]]
    assert [r and r["counts"]["failed"] for r in records] == [0, 0, 0]
    assert [r and r["attempt"] for r in records] == [2, 1, 2]
    assert number > 40


def test_a_full_disk_is_storage_and_can_be_continued(
    whole_run: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = itertools.count()
    real = os.link

    def full(source: object, target: object) -> None:
        if next(calls) >= 9:
            raise OSError(28, "No space left on device")
        real(source, target)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(os, "link", full)
        with pytest.raises(StorageError, match="No space left"):
            finish(tmp_path)
    finish(tmp_path)
    assert outputs(tmp_path) == whole_run


def test_a_killed_process(whole_run: dict[str, bytes], tmp_path: Path) -> None:
    """The real thing: SIGKILL after some batches, the next run takes over at once."""
    code = f"""
import os, signal
from pathlib import Path
from helpers.ledgers import do, ledger
book = ledger(Path({str(tmp_path)!r}))
for number, item in enumerate(book.tasks()):
    if number == 9:
        os.kill(os.getpid(), signal.SIGKILL)
    do(book, item)
"""
    paths = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    assert forked.run([sys.executable, "-c", code], env=paths).returncode == -9
    assert len(finish(tmp_path)) == 17 - 9
    assert outputs(tmp_path) == whole_run
