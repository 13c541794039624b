"""From what a user calls OUT to the store."""

from __future__ import annotations

from pathlib import Path

from fcs.core.errors import StorageError, UsageError, first_line
from fcs.shards.store.base import Store
from fcs.shards.store.local import LocalStore

# Whose clients send "only if there is none" along with a PUT (If-None-Match, ifGenerationMatch), which the store
# itself decides; with fsspec's other file systems mode="create" is a question and then a PUT.
CONDITIONAL = {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az"}
POOL = {"config_kwargs": {"max_pool_connections": 64}}  # ten at once would be few for thousands of small files
OPTIONS = {"s3": POOL, "s3a": POOL}


def open_store(out: str) -> Store:
    """The store that ``out`` names: a path, or the URL of an object store.

    Raises:
        UsageError: no store can be written by that URL, or the package that reaches it is missing.
        StorageError: the store cannot be asked.
    """
    protocol, mark, path = out.partition("://")
    if not mark:
        return LocalStore(Path(out))
    return LocalStore(Path(path)) if protocol in ("file", "local") else _remote(out, protocol, path)


def _remote(out: str, protocol: str, path: str) -> Store:
    import fsspec  # it takes a moment to start

    from fcs.shards.store.remote import RemoteStore

    expected = "a folder, or a prefix in a store that fsspec can write, such as s3://bucket/run"
    if "::" in out or protocol in ("http", "https") or not path.strip("/"):
        raise UsageError.of("out", out, expected)
    try:
        # Other processes write too: a listing is as old as its answer.
        fs, root = fsspec.core.url_to_fs(out.rstrip("/"), use_listings_cache=False, **OPTIONS.get(protocol, {}))
    except (ValueError, ImportError) as error:
        raise UsageError.of("out", out, f"{expected} ({first_line(error)})") from error
    except Exception as error:  # every client has its own, for credentials above all
        raise StorageError(f"{out}: {first_line(error)}") from error
    return RemoteStore(fs, root, out.rstrip("/"), protocol in CONDITIONAL)
