"""The one writer of shards: tars whose bytes depend on the names and contents of their members alone."""

from __future__ import annotations

import io
import tarfile
from types import TracebackType
from typing import BinaryIO

OWNER = "bigdata"  # as webdataset's TarWriter writes it
MODE = 0o444


class TarWriter:
    """Writes members with the metadata of WebDataset's shards; time, owner and mode are always the same.

    The end marker is written when the block ends, unless it ends by an exception: the tar is no good then.

    Args:
        file: where the tar goes; left open.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._tar = tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT)  # noqa: SIM115

    def write(self, name: str, data: bytes) -> None:
        """Append a member."""
        info = tarfile.TarInfo(name)
        info.size, info.mtime, info.mode = len(data), 0, MODE
        info.uname = info.gname = OWNER
        self._tar.addfile(info, io.BytesIO(data))

    def __enter__(self) -> TarWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._tar.__exit__(kind, error, trace)
