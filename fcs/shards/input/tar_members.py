"""The members of a tar, and where it breaks.

tarfile ends silently at many kinds of damage; here each end is checked, and no size is believed that
the file does not have.
"""

from __future__ import annotations

import io
import re
import tarfile
import unicodedata
from dataclasses import dataclass
from typing import BinaryIO

LONGEST = 512  # characters of a key, or of what is said of one
MOST = 1 << 20  # members of a shard; the index takes some hundred bytes for each
_BLOCK = tarfile.BLOCKSIZE
_HEADER_BYTES = 64 << 10  # more than any honest chain of extended headers
_DIGITS = re.compile(rb"\d{1024}")  # tarfile before Python 3.11.10 takes quadratic time over digits in a row
_UNSEEN = {"Cc", "Zl", "Zp"}  # Unicode's categories of control characters and of line ends
_TURNING = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}  # they reorder the text around them


@dataclass(frozen=True)
class Member:
    """A member as its header has it; ``error`` says why its bytes cannot be had."""

    name: str
    offset: int
    size: int
    error: str | None


def printable(text: str) -> str:
    """The text as UTF-8 of bounded length that a terminal only shows, whatever bytes it was made of."""
    text = text[:LONGEST]
    if not (text.isascii() and text.isprintable()):
        plain = text.encode("utf-8", "backslashreplace").decode()
        text = "".join(c if _shown(c) else c.encode("unicode_escape").decode() for c in plain)
    return text[:LONGEST]


def _shown(c: str) -> bool:
    return unicodedata.category(c) not in _UNSEEN and unicodedata.bidirectional(c) not in _TURNING


def scan_members(file: BinaryIO) -> tuple[list[Member], str | None]:
    """Members, folders apart, that lie wholly in the file, and why the tar ends too early."""
    size = file.seek(0, io.SEEK_END)
    headers = _Headers(file, size)
    members: list[Member] = []
    try:
        tar = tarfile.TarFile(fileobj=headers, encoding="utf-8", errors="surrogateescape")
        place = 0
        while (info := _next(tar, headers)) is not None:
            if tar.offset <= place or info.size < 0:
                return members, f"damaged header at byte {info.offset}"
            if len(members) == MOST:
                return members, f"more than {MOST} members"
            place = tar.offset
            there = size - info.offset_data
            if info.size > there and _has_data(info):
                return members, f"{printable(info.name)} needs {info.size} bytes, {there} are there"
            if not info.isdir():
                members.append(Member(info.name, info.offset_data, info.size, _why_not(info)))
        return members, _ending(file, tar.offset, size)
    except OSError:
        raise
    except (tarfile.TarError, ValueError, LookupError, ArithmeticError, RecursionError, TypeError) as error:
        return members, f"{printable(str(error)) or type(error).__name__} (of {size} bytes)"


def _has_data(info: tarfile.TarInfo) -> bool:
    """Whether ``size`` bytes follow the header in one piece; of unknown types tarfile assumes it."""
    return not info.issparse() and (info.isreg() or info.type not in tarfile.SUPPORTED_TYPES)


def _why_not(info: tarfile.TarInfo) -> str | None:
    """What a member is whose bytes are not simply there, or None. Nothing is followed or put together."""
    if info.issparse():
        return "stored as a sparse file"
    if info.issym() or info.islnk():
        return "a link"
    return None if info.isreg() else "no regular file"


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
        if count > _BLOCK and _DIGITS.search(data):
            raise tarfile.ReadError("damaged extended header")
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
