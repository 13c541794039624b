"""Random access to the records of one shard: local tars in place, others by way of a temporary file."""

from __future__ import annotations

import io
import os
import tempfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, cast

import fsspec

from fcs.errors import StorageError
from fcs.records import Record
from fcs.shards import tars
from fcs.shards.decode import Format, decode
from fcs.shards.files import storage_error
from fcs.shards.sources import Source, local_path

MAX_SHARD_BYTES = 64 << 30
_CHUNK = 1 << 16


class ShardReader:
    """The rows of a shard: its records, broken ones too, and one with key None where the shard is torn.

    Thread-safe. Close it, or use it as a context manager.
    """

    def __init__(
        self,
        source: Source,
        form: Format,
        temporary: Path | None = None,
        max_bytes: int = MAX_SHARD_BYTES,
    ) -> None:
        """Open and index a shard.

        Args:
            source: the shard.
            form: what is wanted of its records.
            temporary: node-local folder for the copy of a compressed or remote shard (default: the system's).
            max_bytes: a shard that is larger when decompressed is cut there.

        Raises:
            StorageError: the shard or the temporary folder cannot be read or written at all.
        """
        self.source, self.form = source, form
        try:
            self._file, broken = _open(source, temporary, max_bytes)
            found = tars.index(self._file, form.required)
        except StorageError:
            raise
        except (OSError, EOFError) as error:
            raise storage_error(source.url, error) from error
        # What cut the copy short explains more than what the cut tar looks like.
        self.index = tars.ShardIndex(found.entries, broken or found.truncated)

    def __len__(self) -> int:
        return len(self.index)

    def record(self, number: int) -> Record:
        """Row ``number`` of the shard; a broken one has ``error``.

        Raises:
            IndexError: there is no such row.
            StorageError: the file cannot be read any more.
        """
        if not 0 <= number < len(self):
            raise IndexError(f"{self.source.url} has {len(self)} rows, not {number + 1}")
        if number == len(self.index.entries):
            return Record(number, None, error=f"truncated: {self.index.truncated}")
        return decode(self.index.entries[number], self._read, self.form)

    def close(self) -> None:
        """Close the file; a temporary copy goes with it."""
        self._file.close()

    def __enter__(self) -> ShardReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _read(self, offset: int, size: int) -> bytes:
        try:
            data = os.pread(self._file.fileno(), size, offset)
        except OSError as error:
            raise storage_error(self.source.url, error) from error
        if len(data) < size:
            raise StorageError(f"{self.source.url}: became shorter while it was read")
        return data


def _open(source: Source, temporary: Path | None, max_bytes: int) -> tuple[BinaryIO, str | None]:
    """An uncompressed file, and why it holds less than the shard should, or None."""
    path, name = local_path(source.url), source.url.lower()
    unpack = _gunzip if name.endswith((".gz", ".tgz")) else _unzstd if name.endswith(".zst") else None
    if path is not None and unpack is None:
        return open(path, "rb"), None
    # Unnamed: the system removes it even when the process is killed.
    copy = cast(BinaryIO, tempfile.TemporaryFile(prefix="fcs-", dir=temporary))  # noqa: SIM115
    try:
        return copy, _copy(source.url, copy, unpack, max_bytes)
    except BaseException:
        copy.close()
        raise


def _copy(
    url: str, copy: BinaryIO, unpack: Callable[[Iterator[bytes]], Iterator[bytes]] | None, max_bytes: int
) -> str | None:
    chunks = _chunks(url)
    total = 0
    try:
        for data in chunks if unpack is None else unpack(chunks):
            total += len(data)
            if total > max_bytes:
                return f"more than {max_bytes} bytes decompressed"
            copy.write(data)
    except _StreamError as error:
        return str(error)
    finally:
        copy.flush()
    return None


class _StreamError(Exception):
    """Compressed bytes that end or break before their end."""


def _chunks(url: str) -> Iterator[bytes]:
    try:
        with fsspec.open(url, "rb", compression=None) as file:
            while chunk := file.read(_CHUNK):
                yield chunk
    except GeneratorExit:
        raise
    except Exception as error:  # every remote store has its own
        raise storage_error(url, error) from error


def _gunzip(chunks: Iterator[bytes]) -> Iterator[bytes]:
    stream, started = zlib.decompressobj(31), False
    try:
        for chunk in chunks:
            while chunk:
                if stream.eof:
                    chunk = chunk.lstrip(b"\0")  # padding between members is allowed
                    if not chunk:
                        break
                    stream = zlib.decompressobj(31)
                yield stream.decompress(chunk)
                chunk, started = stream.unused_data, True
    except zlib.error as error:
        raise _StreamError(f"damaged gzip stream ({error})") from error
    if not stream.eof or not started:
        raise _StreamError("gzip stream without its end")


def _unzstd(chunks: Iterator[bytes]) -> Iterator[bytes]:
    import zstandard  # an extra; a run with .zst shards is refused without it

    try:
        # Read in bounded pieces: a few bytes of zstd may stand for gigabytes.
        source = cast(BinaryIO, _Stream(chunks))
        with zstandard.ZstdDecompressor().stream_reader(source, read_across_frames=True) as stream:
            while data := stream.read(1 << 20):
                yield data
    except zstandard.ZstdError as error:
        raise _StreamError(f"damaged zstd stream ({error})") from error


class _Stream(io.RawIOBase):
    """Chunks as something to read from."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        super().__init__()
        self.chunks, self.rest = chunks, b""

    def read(self, count: int = -1, /) -> bytes:
        self.rest = self.rest or next(self.chunks, b"")
        count = len(self.rest) if count < 0 else count
        data, self.rest = self.rest[:count], self.rest[count:]
        return data
