"""A record as its source has it, before it is read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class SourceRecord:
    """A record of a source, nothing of it read or decoded yet.

    Attributes:
        name: what it is called in messages: a path, or a place in a table.
        key: the key that the source gives it; made valid and unique later.
        image, mask, prompt, facts: a file to read, or the content itself; ``facts`` is a JSON object.
        measurement: of numbers (``.npy``), instead of the image.
        error: why the source could not give the record, or None.
    """

    name: str
    key: str
    image: Path | bytes = b""
    mask: Path | bytes | None = None
    prompt: Path | bytes | None = None
    facts: Path | bytes | None = None
    measurement: Path | bytes | None = None
    error: str | None = None
