"""Opening shards: compressed ones, remote ones and those that are not there."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from helpers.tars import FORM, codes, picture, records, tar

from fcs.core.errors import StorageError, UsageError
from fcs.shards.input.shard_reader import ShardReader
from fcs.shards.input.sources import Source, resolve


def test_compressed_shards(tmp_path: Path) -> None:
    data = tar([(f"{key}.png", picture()) for key in "abc"])
    packed = gzip.compress(data[:2000]) + gzip.compress(data[2000:])
    for name in ("a.tar.gz", "b.tgz"):
        assert codes(records(tmp_path, packed, name=name)) == [("a", None), ("b", None), ("c", None)]
    cut = records(tmp_path, packed[:-30], name="c.tar.gz")
    assert cut[-1].key is None
    assert "gzip" in str(cut[-1].error)
    assert codes(cut)[0] == ("a", None)
    bounded = records(tmp_path, gzip.compress(data), name="d.tar.gz", max_bytes=3000)
    assert str(bounded[-1].error) == "truncated: more than 3000 bytes decompressed"


def test_zstd(tmp_path: Path) -> None:
    path = tmp_path / "a.tar.zst"
    try:
        import zstandard
    except ImportError:
        path.write_bytes(b"")
        with pytest.raises(UsageError, match="zstandard"):
            resolve(str(path))
        return
    data = zstandard.ZstdCompressor().compress(tar([("a.png", picture()), ("b.png", picture())]))
    assert codes(records(tmp_path, data, name=path.name)) == [("a", None), ("b", None)]
    assert str(records(tmp_path, data[:-4], name=path.name)[-1].error).startswith("truncated: ")
    data = b"junk" + data
    assert "damaged zstd" in str(records(tmp_path, data, name=path.name)[-1].error)


def test_remote_shards() -> None:
    import fsspec  # type: ignore[import-untyped]

    with fsspec.open("memory://bucket/x/a.tar", "wb") as file:
        file.write(tar([("a.png", picture())]))
    (source,) = resolve("memory://bucket/x/*.tar")
    assert source.stem == "a"
    with ShardReader(source, FORM) as reader:
        assert reader.record(0).error is None
    with pytest.raises(StorageError):
        ShardReader(Source("memory://bucket/gone.tar", "gone", 1, ""), FORM)


def test_a_store_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(url: str) -> None:
        raise RuntimeError("no route to host")  # as the clients of stores raise errors of their own

    monkeypatch.setattr("fsspec.core.url_to_fs", fail)
    with pytest.raises(StorageError, match="no route to host"):
        resolve("memory://bucket/x.tar")


def test_a_missing_file_is_storage(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="gone"):
        ShardReader(Source(str(tmp_path / "gone.tar"), "gone", 1, 0.0), FORM)
