"""Files that appear whole, under their name, or not at all."""

from __future__ import annotations

import errno
import os
import threading
from contextlib import suppress
from pathlib import Path

import pytest
from helpers.parts import tree

from fcs.core.errors import StorageError
from fcs.shards.store.atomic_files import replacing, write_exclusive, write_replace


def test_exclusive_creation(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    assert write_exclusive(path, b"one")
    assert not write_exclusive(path, b"two")
    assert tree(tmp_path) == {"new/file": b"one"}


def test_of_many_creators_one_wins(tmp_path: Path) -> None:
    path, won = tmp_path / "file", []
    start = threading.Barrier(8)

    def create(number: int) -> None:
        start.wait()
        if write_exclusive(path, b"%d" % number * 1000):
            won.append(number)

    threads = [threading.Thread(target=create, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert tree(tmp_path) == {"file": b"%d" % won[0] * 1000}
    assert len(won) == 1


def test_replacement_is_whole_or_not_at_all(tmp_path: Path) -> None:
    write_replace(tmp_path / "file", b"one")
    with suppress(RuntimeError), replacing(tmp_path / "file") as file:
        file.write(b"two")
        raise RuntimeError("cut")
    assert tree(tmp_path) == {"file": b"one"}
    write_replace(tmp_path / "file", b"two")
    assert tree(tmp_path) == {"file": b"two"}


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EDQUOT, errno.EIO, errno.EPERM])
@pytest.mark.parametrize("write", [write_exclusive, write_replace])
def test_storage_errors_name_path_and_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: object, number: int
) -> None:
    def fail(handle: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StorageError) as raised:
        write(tmp_path / "file", b"x")  # type: ignore[operator]
    assert str(raised.value) == f"{tmp_path / 'file'}: {os.strerror(number)}"
    assert raised.value.errno == number
    assert tree(tmp_path) == {}
