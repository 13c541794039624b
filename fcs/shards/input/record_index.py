"""The checked index of a tar shard: which records it holds, where their bytes are, and where it breaks."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import BinaryIO

from fcs.shards.input.tar_members import LONGEST, Member, printable, scan_members

SLOTS = {
    "png": "image",
    "jpg": "image",
    "jpeg": "image",
    "webp": "image",
    "mask.png": "mask",
    "txt": "prompt",
    "json": "json",
}


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
    members, truncated = scan_members(file)
    records, torn = _resolve(_runs(members))
    if truncated and torn is not None and torn.error is None and not torn.slots.issuperset(required):
        records.remove(torn)
    entries = [Entry(i, printable(run.key), run.members, run.error) for i, run in enumerate(records)]
    return ShardIndex(tuple(entries), truncated)


def split_name(name: str) -> tuple[str, str]:
    """Key and lower-case suffix of a member: the key ends at the first dot of the base name."""
    while name.startswith("./"):
        name = name[2:]
    base = name.rpartition("/")[2]
    stem, _, suffix = base.partition(".")
    return name[: len(name) - len(base)] + stem, suffix.lower()


def _key_error(key: str) -> str | None:
    folders = key.replace("\\", "/").split("/")
    if "" in folders:
        return "bad_key: absolute or empty"
    if ".." in folders:
        return "bad_key: leads out of its folder"
    if len(key) > LONGEST:
        return f"bad_key: longer than {LONGEST} characters"
    if printable(key) != key:
        return "bad_key: not printable UTF-8"
    return None


def _runs(members: list[Member]) -> list[_Run]:
    runs: list[_Run] = []
    for member in members:
        key, suffix = split_name(member.name)
        slot = SLOTS.get(suffix)
        if slot is None:
            continue
        if not runs or runs[-1].key != key or slot in runs[-1].slots:
            runs.append(_Run(key))
        runs[-1].members[suffix] = (member.offset, member.size)
        if member.error:
            runs[-1].error = f"bad_member: {suffix} is {member.error}"
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
