"""What must hold for the rows of a damaged tar."""

from __future__ import annotations

import unicodedata
import zlib
from collections.abc import Iterator

import numpy as np
import torch
import zstandard
from mutate import Case
from tars import BLOCK, Member, Tar

from fcs.core.records import Record
from fcs.shards.input.record_index import SLOTS

CODES = {"bad_key", "duplicate_key", "not_adjacent", "bad_member", "missing_image", "missing_mask", "mask_size"}
CODES |= {"image_size", "too_large", "bad_image", "bad_text", "bad_json", "bad_seed", "truncated"}


def complaints(
    original: Tar, clean: list[Record], pictures: set[bytes], case: Case, rows: list[Record]
) -> Iterator[str]:
    """Every rule that the rows of a case break.

    Args:
        original: what was changed.
        clean: its rows.
        pictures: pixels of all images and masks that there are.
        case: what became of the original.
        rows: of that.
    """
    plain, exact = uncompressed(case)
    torn = bool(rows) and rows[-1].key is None
    yield from _form(rows, plain)
    for row in rows:
        if row.error is None:
            yield from _accepted(row, pictures)
    if original.data.startswith(plain) and len(plain) < len(original.data) and not torn:
        yield "a cut that has no row"
    touched = Touched(original, plain)
    for record in clean:
        members = [member for member in original.members if member.key == record.key]
        if any(touched(member) for member in members):
            continue
        before = exact and max(member.end for member in members) <= touched.first
        found = [row for row in rows if row.key == record.key]
        if before or found or not torn:
            yield from _kept(found[:1] if before else found, record, exact)


def _accepted(row: Record, pictures: set[bytes]) -> Iterator[str]:
    if not {"image", "mask"} <= {SLOTS[suffix] for suffix in row.members}:
        yield f"{row.key} is accepted without image or mask"
    for suffix, data in row.members.items():
        picture = {"image": row.image, "mask": row.mask}.get(SLOTS[suffix])
        if picture is not None and data.startswith(b"\x89PNG") and picture.numpy().tobytes() not in pictures:
            yield f"{row.key}.{suffix} is accepted with pixels that no original has"


class Touched:
    """What a change may have touched.

    Bytes of data that differ touch their member. A header that differs may have given all that follows another meaning,
    and so may another length.
    """

    def __init__(self, original: Tar, changed: bytes) -> None:
        a, b = (np.frombuffer(data, np.uint8) for data in (original.data, changed))
        shared = min(len(a), len(b))
        places = np.flatnonzero(a[:shared] != b[:shared])
        self.first = int(places[0]) if len(places) else shared
        data = np.zeros(len(a), bool)
        for member in original.members:
            data[member.place : member.end] = True
        headers = places[~data[places]]
        rest = self.first if len(a) != len(b) else int(headers[0]) if len(headers) else len(a)
        self.places = np.union1d(places, np.arange(rest, len(a)))

    def __call__(self, member: Member) -> bool:
        """Whether header or data of a member were."""
        place = int(np.searchsorted(self.places, member.start))
        return place < len(self.places) and int(self.places[place]) < member.end


def uncompressed(case: Case) -> tuple[bytes, bool]:
    """The tar in a case, byte by byte as far as it goes, and whether the reader must have got as far.

    A damaged zstd block is lost with what the decoder had in hand.
    """
    if case.suffix == "tar":
        return case.data, True
    start = (lambda: zlib.decompressobj(31)) if case.suffix == "tar.gz" else zstandard.ZstdDecompressor().decompressobj
    stream, found = start(), bytearray()
    try:
        for place in range(len(case.data)):
            byte = case.data[place : place + 1]
            if stream.eof:
                if byte == b"\0":
                    continue
                stream = start()
            found += stream.decompress(byte)
    except (zlib.error, zstandard.ZstdError):
        return bytes(found), case.suffix == "tar.gz"
    return bytes(found), True


def _form(rows: list[Record], plain: bytes) -> Iterator[str]:
    """What holds for the rows of any shard."""
    if [row.index for row in rows] != list(range(len(rows))):
        yield "rows out of order"
    if len(rows) > len(plain) // BLOCK + 1:
        yield "more rows than headers"
    if any(row.key is None for row in rows[:-1]):
        yield "a row without key before the end"
    good = [row.key for row in rows if row.error is None]
    if len(set(good)) < len(good) or None in good:
        yield "a key accepted twice, or none"
    for row in rows:
        if row.error is not None and row.error.partition(":")[0] not in CODES:
            yield f"no such failure: {row.error}"
        if any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in f"{row.key}{row.error}"):
            yield f"a row that cannot be shown: {row.key!r} {row.error!r}"


def _kept(found: list[Record], clean: Record, exact: bool) -> Iterator[str]:
    """What is wrong with the rows of a record that no change touched.

    A damaged name may repeat its key: then one of the rows says so. Where the reader need not have got as far as the
    judge (not ``exact``), the record may have lost its last members, which are optional.
    """
    if not found:
        yield f"{clean.key} is lost"
    elif any((row.error or "").startswith(("not_adjacent", "duplicate_key")) for row in found):
        return
    elif found[0].error is not None:
        yield f"{clean.key} was not touched: {found[0].error}"
    elif any(found[0].members.get(suffix, None if exact else data) != data for suffix, data in clean.members.items()):
        yield f"{clean.key} was not touched and has other bytes"
    elif len(found[0].members) == len(clean.members) and not _equal(found[0], clean):  # it may have gained one
        yield f"{clean.key} was not touched and is another"


def _equal(row: Record, clean: Record) -> bool:
    pictures = ((row.image, clean.image), (row.mask, clean.mask))
    same = [torch.equal(a, b) for a, b in pictures if a is not None and b is not None]
    return same == [True, True] and (row.prompt, row.extra, row.seed) == (clean.prompt, clean.extra, clean.seed)
