"""Atomic writes in local (or mounted) folders: a file appears whole, under its name, or not at all."""

from __future__ import annotations

import errno
import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from fcs.core.errors import STORAGE_ERRNOS, StorageError

# Where a name is taken by something else than a file of ours, writing it fails too.
_OUTSIDE = STORAGE_ERRNOS | {errno.EEXIST}


@contextmanager
def storage(path: Path | str) -> Iterator[None]:
    """Turn an OSError that the run cannot mend (disk full, permission, link down) into a StorageError."""
    try:
        yield
    except StorageError:
        raise
    except OSError as error:
        if error.errno not in _OUTSIDE:
            raise
        raise storage_error(path, error) from error


def storage_error(path: Path | str, error: Exception) -> StorageError:
    """One line that names the path and the reason."""
    number = getattr(error, "errno", None)
    raised = StorageError(f"{path}: {os.strerror(number) if number else error}")
    raised.errno = number
    return raised


def no_folder(path: Path) -> Path | None:
    """What of a path is there and no folder, so that none can be made of it; None where nothing is."""
    there = next(one for one in (path, *path.absolute().parents) if os.path.lexists(one))
    return None if os.path.isdir(there) else there


def write_exclusive(path: Path, data: bytes, durable: bool = True) -> bool:
    """Create ``path`` with ``data``; False where it exists already (and stays as it is).

    Args:
        path: the new file.
        data: its content.
        durable: whether it must survive a power cut.

    Raises:
        StorageError: the folder cannot be written.
    """
    with storage(path):
        for _ in range(3):
            with suppress(FileNotFoundError):  # another process removed the empty folder at this moment
                return _create(path, data, durable)
        return _create(path, data, durable)


def write_replace(path: Path, data: bytes) -> None:
    """Put ``data`` at ``path`` durably, over what was there.

    Raises:
        StorageError: the folder cannot be written.
    """
    with replacing(path) as file:
        file.write(data)


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A temporary file beside ``path`` that takes its place, durably, when the block ends without exception.

    Raises:
        StorageError: the folder cannot be written.
    """
    with storage(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temp = temp_name(path)
        try:
            with open(temp, "xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(temp, path)
        finally:
            with suppress(FileNotFoundError):
                os.unlink(temp)
        sync_folder(path.parent)


def temp_name(path: Path) -> Path:
    """A new hidden name beside ``path``, recognised by ``leftovers``."""
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}.tmp")


def leftovers(path: Path) -> list[Path]:
    """Temporary files that killed writers of ``path`` left."""
    head = f".{path.name}."
    with suppress(FileNotFoundError, NotADirectoryError):
        names = os.listdir(path.parent)
        return [path.parent / name for name in names if name.startswith(head) and name.endswith(".tmp")]
    return []


def link(temp: Path, path: Path) -> bool:
    """Give a file its second name; False where that exists already."""
    try:
        os.link(temp, path)
    except FileExistsError:
        # NFS may repeat a call whose answer was lost: the second says "exists" of our own link.
        return os.stat(temp).st_nlink == 2
    return True


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable; file systems that cannot are left alone."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EBADF, errno.EOPNOTSUPP):
            raise
    finally:
        os.close(handle)


def read_json(path: Path) -> dict[str, Any] | None:
    """The object in a JSON file; None where there is no such file, or no object in it."""
    try:
        with storage(path):
            value = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def to_json(value: Any) -> bytes:
    """Readable JSON, the same bytes for the same value; NaN and infinities are refused."""
    return (json.dumps(value, indent=1, allow_nan=False) + "\n").encode()


def _create(path: Path, data: bytes, durable: bool) -> bool:
    path.parent.mkdir(parents=True, exist_ok=True)
    temp = temp_name(path)
    try:
        with open(temp, "xb") as file:
            file.write(data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        created = link(temp, path)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(temp)
    if created and durable:
        sync_folder(path.parent)
    return created
