"""The checked index of a tar shard: which records it holds, where their bytes are, and where it breaks."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import BinaryIO, Literal

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
Keys = Literal["first_dot", "last_suffix"]
MEASURED = {**SLOTS, "npy": "measurement"}  # where records hold measurements
# Last parts of the names of pictures, among them those that no record may hold.
_PICTURES = {"png", "jpg", "jpeg", "webp", "jpe", "jfif", "bmp", "gif", "tif", "tiff", "avif", "heic", "jp2", "ppm"}
_COPY = ".input"  # ends the name before the suffixes of a run's copies of its input
_NAMED = 3  # members that a remark names
_RULE = "a key ends at the first dot of its file's name; see data.keys"


@dataclass(frozen=True)
class Entry:
    """One record: ``members`` maps suffix to (offset, size) in the tar, ``error`` is ``code: detail``."""

    index: int
    key: str
    members: dict[str, tuple[int, int]]
    error: str | None = None


@dataclass(frozen=True)
class ShardIndex:
    """The records of a shard in order.

    Attributes:
        entries: one per record.
        truncated: why the shard ends too early, or None.
        remarks: what else its user should know, a line each: pictures whose names make no record of them.
    """

    entries: tuple[Entry, ...]
    truncated: str | None = None
    remarks: tuple[str, ...] = ()

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
        return {MEASURED[suffix] for suffix in self.members}


def index(
    file: BinaryIO,
    required: Collection[str] = ("image",),
    slots: Mapping[str, str] = SLOTS,
    keys: Keys = "first_dot",
) -> ShardIndex:
    """Index a seekable, uncompressed tar without reading its data.

    Args:
        file: the tar; its place is moved.
        required: slots (``image``, ``mask``) that the last record before a break must have to count as whole.
        slots: what a member of which suffix is; others are passed over.
        keys: where the key of a name ends.
    """
    members, truncated = scan_members(file)
    names = _Names(members, slots, keys)
    runs = _runs(members, names)
    records, torn = _resolve(runs)
    if truncated and torn is not None and torn.error is None and not torn.slots.issuperset(required):
        records.remove(torn)
    entries = [Entry(i, printable(run.key), run.members, run.error) for i, run in enumerate(records)]
    return ShardIndex(tuple(entries), truncated, tuple(names.remarks()))


def split_name(name: str) -> tuple[str, str]:
    """Key and lower-case suffix of a member: the key ends at the first dot of the base name."""
    while name.startswith("./"):
        name = name[2:]
    base = name.rpartition("/")[2]
    stem, _, suffix = base.partition(".")
    return name[: len(name) - len(base)] + stem, suffix.lower()


def split_at_suffix(name: str) -> tuple[str, str]:
    """The same by the last dot, ``.mask.png`` being one suffix; a dot that the key then has becomes ``_``.

    Readers of WebDataset's tars would not know a result by a key with a dot.
    """
    key, suffix = _split_last(name)
    folder, slash, base = key.rpartition("/")
    return folder + slash + base.replace(".", "_"), suffix


def _split_last(name: str) -> tuple[str, str]:
    """Name before and lower-case suffix after the last dot; no suffix for a hidden file."""
    while name.startswith("./"):
        name = name[2:]
    base = name.rpartition("/")[2]
    if "." not in base[1:] or base.startswith("."):
        return name, ""
    suffix = "mask.png" if base.lower().endswith(".mask.png") else base.rpartition(".")[2].lower()
    return name[: -len(suffix) - 1], suffix


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


def _runs(members: list[Member], names: _Names) -> list[_Run]:
    """Members of one key that follow each other."""
    runs: list[_Run] = []
    for member in members:
        key, suffix = names.split(member.name)
        error = f"bad_member: {suffix} is {member.error}" if member.error else None
        if suffix not in names.slots:
            lost = names.lost(member.name)
            if lost is None:
                continue
            key, suffix, error = lost
        slot = names.slots.get(suffix)
        if not runs or runs[-1].key != key or slot in runs[-1].slots:
            runs.append(_Run(key))
        if slot is not None:
            runs[-1].members[suffix] = (member.offset, member.size)
        runs[-1].error = error or runs[-1].error
    return runs


class _Names:
    """What the names of a shard's members say: which of them are of records, and which pictures are of none.

    A run must not end as if a picture had not been there whose name makes no record of it.
    """

    def __init__(self, members: list[Member], slots: Mapping[str, str], keys: Keys) -> None:
        self.slots = slots
        self.split: Callable[[str], tuple[str, str]] = split_name if keys == "first_dot" else split_at_suffix
        places = {member.name: self.split(member.name) for member in members}
        self._known = {key for key, suffix in places.values() if suffix in slots}
        self._others = [member.name for member in members if places[member.name][1] not in slots]

    def lost(self, name: str) -> tuple[str, str, str] | None:
        """Key, suffix and error of a picture in no record; None for anything else."""
        key, suffix = _split_last(name)
        if self.split(name)[0] in self._known or suffix.rpartition(".")[2] not in _PICTURES:
            return None
        base = printable(name.rpartition("/")[2])
        if suffix in SLOTS:
            return key, suffix, f"bad_key: a dot is in it: {base}; {_RULE}"
        return key, suffix, f"missing_image: no png, jpg, jpeg or webp, but {base}"

    def remarks(self) -> Iterator[str]:
        """What is said of pictures that are in no record, with their number and the names of the first."""
        lost = [name for name in self._others if self.lost(name)]
        if lost:
            yield f"{_listed(lost)} in no record: it needs KEY.png, .jpg, .jpeg or .webp, and {_RULE}"
        beside = [(name, *_split_last(name)) for name in self._others if self.split(name)[0] in self._known]
        masked = {key for _, key, suffix in beside if suffix == "mask.png" and not key.endswith(_COPY)}
        twice = [name for name, key, _ in beside if key in masked]
        if twice:
            yield f"{_listed(twice)} passed over, with a mask as a record has: {_RULE}"


def _listed(names: list[str]) -> str:
    more = ", ..." if len(names) > _NAMED else ""
    return f"{len(names)} members ({', '.join(map(printable, names[:_NAMED]))}{more}) are"


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
