"""Runs of the ledger without a model, in a folder or an object store: a record's row follows from its number."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from fcs.shards.input.sources import Source
from fcs.shards.ledger.batch_task import BatchTask
from fcs.shards.ledger.ledger import Ledger
from fcs.shards.ledger.pinned_run import describe, pin
from fcs.shards.ledger.result_rows import Row
from fcs.shards.store.base import Store
from fcs.shards.store.local import LocalStore
from fcs.shards.store.remote import RemoteStore

COUNTS = (7, 0, 21, 4)
SOURCES = [Source(f"/in/{name}.tar", name, 1, 1.0) for name in ("a", "b/empty", "b/c", "d")]
ROOT = "bucket/run"
GONE = 2**22 + 1  # above every process id
# A generator that is cut cannot clean up behind itself, and Python says so.
cutting = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


def remote(fs: object, exclusive: bool = True) -> RemoteStore:
    """A run in an object store; ``exclusive`` says whether creation fails where the object exists."""
    return RemoteStore(fs, ROOT, f"s3://{ROOT}", exclusive)


def opened(out: Path | Store) -> Store:
    return LocalStore(out) if isinstance(out, Path) else out


def fifth(index: int) -> bool:
    return index % 5 == 4


def some(index: int) -> bool:
    return index in (0, 2)


def none(index: int) -> bool:
    return False


def ledger(
    out: Path | Store,
    size: int = 2,
    counts: Sequence[int] = COUNTS,
    sources: Sequence[Source] = SOURCES,
    **options: object,
) -> Ledger:
    """The ledger of a run that is begun, or goes on, in batches of ``size``."""
    store = opened(out)
    pin(store, describe({}, sources, options.get("limit")))  # type: ignore[arg-type]
    return Ledger(store, sources, size, lambda i: counts[i], scores=["psnr"], **options)  # type: ignore[arg-type]


def row(source: int, index: int, fail: Callable[[int], bool] = fifth) -> Row:
    """What a record gives; ``fail`` says which fail."""
    key = f"{SOURCES[source].stem}-{index}"
    if fail(index):
        return Row(index, key, "bad_image: x")
    return Row(index, key, None, index, 20, 0.5, 0.0, {"psnr": index / 7}, ((f"{key}.png", key.encode() * 99),))


def do(book: Ledger, item: BatchTask, fail: Callable[[int], bool] = fifth) -> None:
    book.finish(item.source, item.batch, [row(item.source, i, fail) for i in item.wanted])


def finish(out: Path | Store, size: int = 2, **options: object) -> list[BatchTask]:
    """Run to the end in one thread."""
    done = []
    with closing(ledger(out, size, **options)) as book:  # type: ignore[arg-type]
        while not book.complete():
            for item in book.tasks():
                done.append(item)
                do(book, item)
    return done


def small(out: Path | Store, fail: Callable[[int], bool]) -> int:
    """A run over three shards to its end; how many records were computed."""
    counts, computed = (1, 0, 4), 0
    with closing(Ledger(opened(out), SOURCES[:3], 2, lambda i: counts[i], scores=["psnr"])) as book:
        while not book.complete():
            for item in book.tasks():
                computed += len(item.wanted)
                do(book, item, fail)
        assert not list(book.tasks())
    return computed


def interleaved(books: Sequence[Ledger]) -> list[tuple[int, BatchTask]]:
    """Two processes of a run in one thread, the second twice as fast: which of them did what, in order."""
    done, streams = [], [book.tasks() for book in books]
    for turn in itertools.cycle((0, 1, 1)):
        item = next(streams[turn], None)
        if item is not None:
            done.append((turn, item))
            do(books[turn], item)
        elif all(book.complete() for book in books):
            break
        else:
            streams[turn] = books[turn].tasks()
    for book in books:
        book.close()
    return done


def outputs(out: Path | Store) -> dict[str, bytes]:
    """What two equal runs share: everything but host and times."""
    store, found = opened(out), {}
    for name in [*store.tree("shards"), *store.tree("metrics"), *store.tree("features"), "summary.json"]:
        found[name] = store.read(name)
        if name.startswith("shards/") and name.endswith(".json"):
            record = json.loads(found[name])
            assert record.pop("timings")["merge_seconds"] >= 0
            found[name] = json.dumps(record).encode()
    return dict(sorted(found.items()))


def nothing_left(out: Store) -> bool:
    """Whether a run has cleaned up its parts and claims."""
    return not out.tree("parts") and not out.tree("claims")


def bury(out: Path | Store) -> None:
    """Make the claims of this process those of one that is gone."""
    store = opened(out)
    for name in store.tree("claims"):
        if not name.rpartition("/")[2].startswith("."):
            store.replace(name, json.dumps({**json.loads(store.read(name)), "pid": GONE}).encode())


def winners(out: Store) -> list[bytes]:
    """Whose creation of the file ``a`` succeeded, of eight threads that try at the same time."""
    won, start = [], threading.Barrier(8)

    def create(data: bytes) -> None:
        start.wait()
        if out.create("a", data):
            won.append(data)

    threads = [threading.Thread(target=create, args=(b"%d" % number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return won
