"""Object stores as files: conditional creation, errors that name the object, stores that know no conditions."""

from __future__ import annotations

import errno
import time
from contextlib import suppress
from pathlib import Path

import pytest
from helpers.ledgers import (
    finish,
    outputs,
    remote,
    winners,
)
from helpers.objects import Objects

from fcs.core.errors import StorageError, UsageError
from fcs.shards.ledger.retry import retry_failed
from fcs.shards.store.local import LocalStore
from fcs.shards.store.open_store import open_store
from fcs.shards.store.remote import RemoteStore


@pytest.fixture(params=[True, False], ids=["exclusive", "shared"])
def exclusive(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def out(exclusive: bool) -> RemoteStore:
    return remote(Objects(), exclusive)


def test_files(out: RemoteStore, exclusive: bool) -> None:
    assert out.create("a/b", b"0123456789")
    assert not out.create("a/b", b"other")
    assert out.create("a/b", b"0123456789") is exclusive  # ours: the client had lost the answer and asked again
    assert out.read("a/b") == b"0123456789"
    with out.reading("a/b") as file:
        assert (file.seek(-3, 2), file.read(), file.seek(2), file.read(3)) == (7, b"789", 2, b"234")
    with out.replacing("a/c/d") as file:
        file.write(b"whole")
    with suppress(RuntimeError), out.replacing("a/c/d") as file:
        file.write(b"torn")
        raise RuntimeError
    assert out.read("a/c/d") == b"whole"
    assert out.names("a") == ["b"]
    assert sorted(out.tree("a")) == ["a/b", "a/c/d"]
    assert [out.exists(name) for name in ("a", "a/b", "a/bb", "b")] == [False, True, False, False]
    before = time.time()
    assert before <= out.now("a/b") <= time.time()
    assert out.move("a/b", "a/e")
    assert not out.move("a/b", "a/e")
    out.delete("a/e", "a/gone")
    assert list(out.tree("a")) == ["a/c/d"]
    with pytest.raises(FileNotFoundError):
        out.read("a/b")


def test_a_copy_that_was_read_before_will_do_until_the_listing_differs(out: RemoteStore) -> None:
    out.create("a", b"1")
    listed = out.stat("a")
    out.fs.asked.clear()
    assert {out.read("a", listed) for _ in range(3)} == {b"1"}
    assert out.fs.asked["cat_file"] == 1
    out.replace("a", b"2")
    assert out.read("a", out.stat("a")) == b"2"


def test_of_many_creators_one_wins() -> None:
    out = remote(Objects())
    assert winners(out) == [out.read("a")]


def test_errors_are_storage_and_name_the_object(out: RemoteStore) -> None:
    def lost(name: str) -> None:
        raise ConnectionError("no route")

    out.fs.after = lost
    assert out.create("a", b"1")  # it is there, whatever was said
    with pytest.raises(StorageError, match=r"^s3://bucket/run/a: no route$"):
        out.replace("a", b"2")
    for name in ("pipe_file", "find", "info", "cat_file", "rm_file"):
        setattr(out.fs, name, lambda *_, **__: (_ for _ in ()).throw(PermissionError("Access Denied")))
    for ask in (
        lambda: out.create("b", b"1"),
        lambda: out.names("b"),
        lambda: out.exists("b"),
        lambda: out.read("b"),
        lambda: out.delete("b"),
    ):
        with pytest.raises(StorageError, match=r"^s3://bucket/run/b.*: Access Denied$"):
            ask()


@pytest.mark.parametrize(
    "url",
    ["https://host/run", "nothing://run", "dropbox://its/package/is/missing", "memory://", "simplecache::s3://b/run"],
)
def test_what_cannot_be_written_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="expected a folder, or a prefix in a store"):
        open_store(url)


def test_a_path_is_a_folder(tmp_path: Path) -> None:
    for spelled in (str(tmp_path), f"file://{tmp_path}"):
        found = open_store(spelled)
        assert isinstance(found, LocalStore)
        assert found.root == tmp_path


class Lax(Objects):
    """It speaks the protocol, but passes over the condition of a PUT, or says that it knows none."""

    def __init__(self, error: Exception | None) -> None:
        super().__init__()
        self.error = error

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite") -> None:
        if mode == "create" and self.error is not None:
            raise self.error
        super().pipe_file(path, value)


@pytest.mark.parametrize("error", [None, OSError(errno.ENOSYS, "not implemented")], ids=["silent", "refusing"])
def test_a_store_without_conditions_is_found_out(error: Exception | None, whole_run: dict[str, bytes]) -> None:
    fs = Lax(error)
    finish(remote(fs))
    out = remote(fs)
    assert outputs(out) == whole_run
    assert retry_failed(out) == ["a", "b/c"]
    assert not out.exclusive
    assert not out.create("run.json", b"other")
    assert {item.source for item in finish(out)} == {0, 2}
