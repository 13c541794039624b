"""Tars that we write: the same bytes for the same members, and what WebDataset's own writer and reader make of them."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path

import pytest
import webdataset as wds

from fcs.core.errors import StorageError
from fcs.shards.input.tar_members import scan_members
from fcs.shards.store.tar_writer import TarWriter

MEMBERS = [("a/b.png", b"1" * 513), ("a/b.json", b"{}"), ("c.txt", b"")]
LONG = [("x" * 120 + ".png", b"1"), ("é/ü.txt", b"2")]


def written(members: Iterable[tuple[str, bytes]]) -> bytes:
    buffer = io.BytesIO()
    with TarWriter(buffer) as tar:
        for name, data in members:
            tar.write(name, data)
    return buffer.getvalue()


def test_bytes_are_those_of_webdatasets_writer() -> None:
    """It sorts the members of a record, so it gets them one by one."""
    buffer = io.BytesIO()
    with wds.TarWriter(buffer, encoder=False, mtime=0) as tar:
        for name, data in MEMBERS:
            key, _, suffix = name.partition(".")
            tar.write({"__key__": key, suffix: data})
    assert written(MEMBERS) == buffer.getvalue()


@pytest.mark.parametrize("members", [[], MEMBERS, LONG], ids=["empty", "plain", "long and not ASCII"])
def test_our_reader_finds_all_and_the_end(members: list[tuple[str, bytes]]) -> None:
    data = written(members)
    found, broken = scan_members(io.BytesIO(data))
    assert broken is None
    assert [(one.name, data[one.offset : one.offset + one.size]) for one in found] == members
    assert data == written(members)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
def test_webdataset_reads_them(tmp_path: Path) -> None:
    (tmp_path / "s.tar").write_bytes(written(MEMBERS))
    first, second = wds.WebDataset(str(tmp_path / "s.tar"), shardshuffle=False)
    assert (first["__key__"], first["png"], first["json"]) == ("a/b", b"1" * 513, b"{}")
    assert (second["__key__"], second["txt"]) == ("c", b"")


def test_what_the_file_raises_passes_through() -> None:
    class Full(io.BytesIO):
        def write(self, data: object) -> int:
            raise StorageError("disk full")

    with pytest.raises(StorageError, match="disk full"), TarWriter(Full()) as tar:
        tar.write("a.png", b"1")
