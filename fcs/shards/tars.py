"""The checked index of a tar shard: which records it holds, where their bytes are, and where it breaks.

tarfile ends silently at many kinds of damage; here each end is looked at, and no size is believed that
the file does not have.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import BinaryIO

SLOTS = {
    "png": "image",
    "jpg": "image",
    "jpeg": "image",
    "webp": "image",
    "mask.png": "mask",
    "txt": "prompt",
    "json": "json",
}
_BLOCK = tarfile.BLOCKSIZE
_HEADER_BYTES = 4 << 20  # more than any honest chain of extended headers
_KEY_LENGTH = 512
_SPARSE = -1  # size of a member whose bytes do not lie in one piece


@dataclass(frozen=True)
class Entry:
    """One record: ``members`` maps suffix to (offset, size) in the tar, ``error`` is ``code: detail``."""

    index: int
    key: str
    members: dict[str, tuple[int, int]]
    error: str | None = None


@dataclass(frozen=True)
class ShardIndex:
    """The records of a shard in order; ``truncated`` says why it ends too early, or is None."""

    entries: tuple[Entry, ...]
    truncated: str | None = None

    def __len__(self) -> int:
        """Rows of the shard: its records, and one for a torn end."""
        return len(self.entries) + (self.truncated is not None)


@dataclass
class _Run:
    """Members of one key that follow each other."""

    key: str
    members: dict[str, tuple[int, int]] = field(default_factory=dict)
    error: str | None = None

    @property
    def slots(self) -> set[str]:
        return {SLOTS[suffix] for suffix in self.members}


def index(file: BinaryIO, required: Collection[str] = ("image",)) -> ShardIndex:
    """Index a seekable, uncompressed tar without reading its data.

    Args:
        file: the tar; its place is moved.
        required: slots (``image``, ``mask``) that the last record before a break must have to count as whole.
    """
    members, truncated = _scan(file)
    records, torn = _resolve(_runs(members))
    if truncated and torn is not None and torn.error is None and not torn.slots.issuperset(required):
        records.remove(torn)
    entries = [Entry(i, printable(run.key), run.members, run.error) for i, run in enumerate(records)]
    return ShardIndex(tuple(entries), truncated)


def split(name: str) -> tuple[str, str]:
    """Key and lower-case suffix of a member: the key ends at the first dot of the base name."""
    while name.startswith("./"):
        name = name[2:]
    base = name.rpartition("/")[2]
    stem, _, suffix = base.partition(".")
    return name[: len(name) - len(base)] + stem, suffix.lower()


def printable(key: str) -> str:
    """The key as UTF-8 text of bounded length, whatever bytes it was made of."""
    return key.encode("utf-8", "backslashreplace").decode()[:_KEY_LENGTH]


def _key_error(key: str) -> str | None:
    folders = key.replace("\\", "/").split("/")
    if "" in folders:
        return "bad_key: absolute or empty"
    if ".." in folders:
        return "bad_key: leads out of its folder"
    if len(key) > _KEY_LENGTH:
        return f"bad_key: longer than {_KEY_LENGTH} characters"
    if printable(key) != key or any(ord(c) < 32 or ord(c) == 127 for c in key):
        return "bad_key: not printable UTF-8"
    return None


def _runs(members: list[tuple[str, int, int]]) -> list[_Run]:
    runs: list[_Run] = []
    for name, offset, size in members:
        key, suffix = split(name)
        slot = SLOTS.get(suffix)
        if slot is None:
            continue
        if not runs or runs[-1].key != key or slot in runs[-1].slots:
            runs.append(_Run(key))
        runs[-1].members[suffix] = (offset, size)
        if size == _SPARSE:
            runs[-1].error = "bad_member: stored as a sparse file"
    return runs


def _resolve(runs: list[_Run]) -> tuple[list[_Run], _Run | None]:
    """One run per record, and the record that the last run belongs to."""
    records: list[_Run] = []
    seen: dict[str, _Run] = {}
    last = None
    for run in runs:
        first = seen.get(run.key)
        if first is None:
            run.error = _key_error(run.key) or run.error
            seen[run.key] = last = run
            records.append(run)
        elif first.slots & run.slots:
            run.error = "duplicate_key: the key was used before in this shard"
            last = run
            records.append(run)
        else:  # the rest of a record, after others
            first.error = first.error or "not_adjacent: members of other records lie between its own"
            first.members.update(run.members)
            last = first
    return records, last


def _scan(file: BinaryIO) -> tuple[list[tuple[str, int, int]], str | None]:
    """Regular members (name, offset, size) that lie wholly in the file, and why the tar ends too early."""
    size = file.seek(0, io.SEEK_END)
    headers = _Headers(file, size)
    members: list[tuple[str, int, int]] = []
    try:
        tar = tarfile.TarFile(fileobj=headers, encoding="utf-8", errors="surrogateescape")
        place = 0
        while (info := _next(tar, headers)) is not None:
            if tar.offset <= place or info.size < 0:
                return members, f"damaged header at byte {info.offset}"
            place = tar.offset
            there = size - info.offset_data
            if info.size > there and info.isreg() and not info.issparse():
                return members, f"{printable(info.name)} needs {info.size} bytes, {there} are there"
            if info.isreg():
                members.append((info.name, info.offset_data, _SPARSE if info.issparse() else info.size))
        return members, _ending(file, tar.offset, size)
    except OSError:
        raise
    except (tarfile.TarError, ValueError, LookupError, ArithmeticError, RecursionError, TypeError) as error:
        return members, f"{error or type(error).__name__} (of {size} bytes)"


def _next(tar: tarfile.TarFile, headers: _Headers) -> tarfile.TarInfo | None:
    headers.budget = _HEADER_BYTES
    tar.members = []  # type: ignore[attr-defined]  # tarfile would keep them all
    return tar.next()


def _ending(file: BinaryIO, offset: int, size: int) -> str | None:
    """Why the place where tarfile stopped is no end, or None where it is one."""
    file.seek(offset)
    tail = file.read(1 << 20)
    marker = tail[: 2 * _BLOCK]
    if len(marker) < 2 * _BLOCK and not any(marker):
        return f"no end marker after {size} bytes"
    if any(marker[:_BLOCK]):
        return f"{'damaged' if len(tail) >= _BLOCK else 'cut'} header at byte {offset}"
    if any(marker):
        return f"no end marker at byte {offset}"
    return f"data after the end marker at byte {offset}" if any(tail) else None


class _Headers(io.RawIOBase):
    """What tarfile may read: a bounded amount per header, never what a header claims."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        super().__init__()
        self.file, self.size, self.budget, self.place = file, size, _HEADER_BYTES, 0

    def read(self, count: int = -1, /) -> bytes:
        if not 0 <= count <= self.budget:
            raise tarfile.ReadError(f"header of {count} bytes")
        self.budget -= count
        self.file.seek(self.place)
        data = self.file.read(count)
        self.place += len(data)
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        if whence != io.SEEK_SET or offset < 0:
            raise tarfile.ReadError(f"damaged header leads to byte {offset}")
        self.place = offset
        return offset

    def tell(self) -> int:
        return self.place

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True
