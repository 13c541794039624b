"""Random access to the records of one shard: local tars and Parquet tables in place, others by a temporary file."""

from __future__ import annotations

import os
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, cast

import fsspec

from fcs.core.errors import StorageError
from fcs.core.records import Record
from fcs.shards.input import record_index
from fcs.shards.input.decode import Format, decode
from fcs.shards.input.sources import TABLE, Source, local_path
from fcs.shards.input.table_shard import TableShard
from fcs.shards.store.atomic_files import storage, storage_error

MAX_SHARD_BYTES = 64 << 30
_CHUNK = 1 << 16
_PIECE = 1 << 10  # compressed bytes at a time: as zstd they may stand for 32 MB


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
        cancelled: Callable[[], bool] = lambda: False,
    ) -> None:
        """Open and index a shard.

        Args:
            source: the shard.
            form: what is wanted of its records.
            temporary: node-local folder for the copy of a compressed or remote shard (default: the system's).
            max_bytes: a shard that is larger when decompressed is cut there.
            cancelled: asked while a shard is copied; True gives it up.

        Raises:
            CancelledError: it was given up.
            StorageError: the shard or the temporary folder cannot be read or written at all.
        """
        self.source, self.form = source, form
        self._table = TableShard(source.url, form) if source.url.lower().endswith(TABLE) else None
        if self._table is not None:
            self.index = self._table.index
            return
        try:
            self._file, broken = _open(source, temporary, max_bytes, cancelled)
            try:
                found = record_index.index(self._file, form.required, form.slots, form.keys)
            except BaseException:
                self._file.close()
                raise
        except StorageError:
            raise
        except (OSError, EOFError) as error:
            raise storage_error(source.url, error) from error
        # What cut the copy short explains more than what the cut tar looks like.
        self.index = replace(found, truncated=broken or found.truncated)

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
        if self._table is not None:
            return self._table.record(number)
        return decode(self.index.entries[number], self._read, self.form)

    def close(self) -> None:
        """Close the file; a temporary copy goes with it."""
        (self._table or self._file).close()

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


def _open(
    source: Source, temporary: Path | None, max_bytes: int, cancelled: Callable[[], bool]
) -> tuple[BinaryIO, str | None]:
    """An uncompressed file, and why it holds less than the shard should, or None."""
    path, name = local_path(source.url), source.url.lower()
    unpack = _gunzip if name.endswith((".gz", ".tgz")) else _unzstd if name.endswith(".zst") else None
    if path is not None and unpack is None:
        return open(path, "rb"), None
    # Unnamed: the system removes it even when the process is killed.
    copy = cast(BinaryIO, tempfile.TemporaryFile(prefix="fcs-", dir=temporary))  # noqa: SIM115
    try:
        with storage(temporary or tempfile.gettempdir()):  # if that is full, the shard is not to blame
            return copy, _copy(source.url, copy, unpack, max_bytes, cancelled)
    except BaseException:
        copy.close()
        raise


def _copy(
    url: str,
    copy: BinaryIO,
    unpack: Callable[[Iterator[bytes]], Iterator[bytes]] | None,
    max_bytes: int,
    cancelled: Callable[[], bool],
) -> str | None:
    chunks = _chunks(url)
    total = 0
    try:
        for data in chunks if unpack is None else unpack(chunks):
            if cancelled():
                raise CancelledError(url)
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
    try:
        yield from _unpacked(chunks, lambda: zlib.decompressobj(31), _inflate)
    except (zlib.error, EOFError) as error:
        raise _StreamError(f"damaged gzip stream ({error})") from error


def _inflate(stream: Any, piece: bytes) -> Iterator[bytes]:
    before = stream.copy()
    try:
        yield stream.decompress(piece)
    except zlib.error:  # it tells nothing of what lies before the damage; byte by byte that comes out
        for place in range(len(piece)):
            yield before.decompress(piece[place : place + 1])
        raise


def _unzstd(chunks: Iterator[bytes]) -> Iterator[bytes]:
    import zstandard  # an extra; a run with .zst shards is refused without it

    try:
        yield from _unpacked(chunks, zstandard.ZstdDecompressor().decompressobj, lambda s, piece: [s.decompress(piece)])
    except (zstandard.ZstdError, EOFError) as error:
        raise _StreamError(f"damaged zstd stream ({error})") from error


def _unpacked(
    chunks: Iterator[bytes], start: Callable[[], Any], step: Callable[[Any, bytes], Iterable[bytes]]
) -> Iterator[bytes]:
    """What one stream after another holds, in bounded amounts; EOFError where the last has no end."""
    stream = start()
    for chunk in chunks:
        for place in range(0, len(chunk), _PIECE):
            piece = chunk[place : place + _PIECE]
            while piece:
                if stream.eof:
                    piece = piece.lstrip(b"\0")  # padding between streams is allowed
                    stream = start() if piece else stream
                    continue
                yield from step(stream, piece)
                piece = stream.unused_data
    if not stream.eof:
        raise EOFError("without its end")
