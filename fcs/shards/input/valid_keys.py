"""Keys that are valid and unique in a shard, made from what a source calls its records."""

from __future__ import annotations

import hashlib

LONGEST = 200  # characters of a key


class UniqueKeys:
    """Makes keys valid and unique; the first of several equal ones stays as it is.

    Only 8 bytes of each key are remembered. Two that agree in them by chance cost the second a number.
    """

    def __init__(self) -> None:
        self._seen: set[int] = set()

    def make(self, wanted: str) -> str:
        """``wanted`` as a key that no earlier call gave."""
        clean = valid_key(wanted)
        key, number = clean, 1
        while not self._is_new(key):
            number += 1
            key = f"{clean}-{number}"
        return key

    def _is_new(self, key: str) -> bool:
        digest = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big")
        new = digest not in self._seen
        self._seen.add(digest)
        return new


def valid_key(wanted: str) -> str:
    """A key without dots, empty folders or unprintable characters; folders of a path stay folders."""
    text = wanted.encode("utf-8", "replace").decode().replace("\\", "/")
    parts = [part for part in text.split("/") if part not in ("", ".", "..")]
    clean = "/".join("".join("_" if c == "." or not c.isprintable() else c for c in part) for part in parts)
    return clean[:LONGEST].rstrip("/") or "_"
