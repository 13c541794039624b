"""Which shards a run reads: patterns to a sorted list, known without opening one."""

from __future__ import annotations

import glob
import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import fsspec
from braceexpand import braceexpand
from fsspec.implementations.local import LocalFileSystem

from fcs.core.errors import StorageError, UsageError

TABLE = ".parquet"
TARS = (".tar", ".tar.gz", ".tgz", ".tar.zst")
SUFFIXES = (*TARS, TABLE)
KEY = "data.shards"
_SIZES_BYTES = 16 << 20
_MARKS = "*?["  # what makes a pattern of a name


@dataclass(frozen=True)
class Source:
    """One input shard.

    Attributes:
        url: absolute path, or fsspec URL.
        stem: its name in the run: the path below the longest common folder, without suffix.
        size: bytes of the file.
        mtime: seconds since the epoch, or an etag; "" where the store tells neither.
    """

    url: str
    stem: str
    size: int
    mtime: float | str


def resolve(patterns: str | Sequence[str]) -> list[Source]:
    """The shards that globs, brace patterns, paths and URLs name, sorted, each once. A glob prefers tars to tables.

    Raises:
        UsageError: nothing matches, a file is missing or no shard, or two inputs would have one STEM.
        StorageError: the store does not answer.
    """
    patterns = [patterns] if isinstance(patterns, str) else list(patterns)
    if not patterns:
        raise UsageError.of(KEY, "[]", "at least one shard")
    infos: dict[str, dict[str, Any]] = {}
    for pattern in patterns:
        infos.update(_expand(pattern))
    urls = sorted(infos)
    named = zip(urls, _stems(urls), strict=True)
    return [Source(url, stem, int(infos[url]["size"] or 0), _changed(infos[url])) for url, stem in named]


def listed_sizes(sources: Sequence[Source]) -> list[int | None]:
    """Records per shard as ``sizes.json`` beside it says (``{basename: count}``); None where it does not.

    For planning only: what a shard holds is known when it is read.
    """
    tables: dict[str, dict[str, Any]] = {}
    found: list[int | None] = []
    for source in sources:
        folder, _, name = source.url.rpartition("/")
        if folder not in tables:
            tables[folder] = _sizes(f"{folder}/sizes.json")
        count = tables[folder].get(name)
        found.append(count if type(count) is int and 0 <= count < 1 << 53 else None)
    return found


def local_path(url: str) -> str | None:
    """The path of a URL on this machine's file systems, or None where it is remote."""
    fs, path = fsspec.core.url_to_fs(url)
    return str(path) if isinstance(fs, LocalFileSystem) else None


def is_glob(name: str) -> bool:
    """Whether a name or a pattern has what makes it match others than itself; braces alone only spell names out."""
    return any(mark in name for mark in _MARKS)


def globs(pattern: str) -> tuple[Any, list[tuple[str, str]]]:
    """The globs that a pattern stands for; none where it names its files one by one.

    Returns:
        The file system, and each glob as the folder before its first mark, by its very name, and the rest.

    Raises:
        UsageError: it cannot be one.
        StorageError: the store does not answer.
    """
    with _asking(pattern):
        fs, path = fsspec.core.url_to_fs(pattern)
        pieces = _pieces(fs, path) if not fs.exists(path) else ()
        return fs, [_at_mark(folder, name) for folder, name in pieces if is_glob(name)]


def _expand(pattern: str) -> dict[str, dict[str, Any]]:
    if pattern.strip().lower().startswith("pipe:"):
        raise UsageError.of(KEY, pattern, "a path or URL; commands are never run")
    with _asking(pattern):
        fs, path = fsspec.core.url_to_fs(pattern)
        if fs.exists(path):  # a literal name wins, whatever characters are in it
            return _files(fs, pattern, [path])
        found: dict[str, dict[str, Any]] = {}
        for folder, name in _pieces(fs, path):
            found.update(_files(fs, pattern, _glob(fs, pattern, folder, name)))
        return found


@contextmanager
def _asking(pattern: str) -> Iterator[None]:
    """Turn what a file system raises about a pattern into errors of ours."""
    try:
        yield
    except (ValueError, ImportError) as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError.of(KEY, pattern, f"a path, glob or URL ({error})") from error
    except FileNotFoundError as error:
        raise UsageError.of(KEY, pattern, "an existing file") from error
    except Exception as error:  # every remote store has its own
        raise StorageError(f"{pattern}: {error}") from error


def _pieces(fs: Any, path: str) -> Iterator[tuple[str, str]]:
    """What a path with braces stands for: a folder that has just that name, and each name or glob in it."""
    folder, rest = _literal_folder(fs, path)
    for name in braceexpand(rest) if "{" in rest else [rest]:
        yield folder, name


def _at_mark(folder: str, name: str) -> tuple[str, str]:
    end = name.rfind("/", 0, min(name.index(mark) for mark in _MARKS if mark in name)) + 1
    return folder + name[:end], name[end:]


def _literal_folder(fs: Any, path: str) -> tuple[str, str]:
    """The first part of a path, where a folder has just that name with its ``*?[{``, and the rest, a pattern."""
    parts = path.split("/")
    for count in range(len(parts) - 1, 0, -1):
        folder = "/".join(parts[:count])
        if any(mark in parts[count - 1] for mark in _MARKS + "{") and fs.isdir(folder):
            return f"{folder}/", "/".join(parts[count:])
    return "", path


def _glob(fs: Any, pattern: str, folder: str, name: str) -> list[str]:
    path = folder + name
    if is_glob(name):
        there = _shown(fs.glob(glob.escape(folder) + name), *_at_mark(folder, name))
        tars, tables = ([path for path in there if path.lower().endswith(ends)] for ends in (TARS, TABLE))
        found = [path for path in tars or tables if not fs.isdir(path)]  # beside tars a table is their list
        if not found:
            raise UsageError.of(KEY, pattern, f"a glob that matches shards; nothing matches {path}")
        return found
    if not fs.exists(path):
        raise UsageError.of(KEY, pattern, f"an existing file; there is no {path}")
    return [path]


def _shown(paths: list[str], folder: str, name: str) -> list[str]:
    """What a shell's glob finds: hidden files, as macOS leaves beside each one (``._00.tar``), must be asked for."""
    if any(part.startswith(".") for part in name.split("/")):
        return paths
    return [path for path in paths if not path.startswith(folder) or "/." not in f"/{path[len(folder) :]}"]


def _escaped(path: str) -> str:
    """A pattern that matches the path alone."""
    text = glob.escape(path)
    return re.sub(r"[\\{}]", r"\\\g<0>", text) if "{" in text else text


def _files(fs: Any, pattern: str, paths: list[str]) -> dict[str, dict[str, Any]]:
    found = {}
    for path in paths:
        if fs.isdir(path):
            raise UsageError.of(KEY, pattern, f"tar files, not a folder; all in it: {_escaped(path.rstrip('/'))}/*.tar")
        name = path.lower()
        if not name.endswith(SUFFIXES):
            raise UsageError.of(KEY, pattern, f"a tar file or a table ({', '.join(SUFFIXES)})")
        if name.endswith(".zst") and find_spec("zstandard") is None:
            raise UsageError.of(KEY, pattern, "no .zst without the package zstandard (pip install zstandard)")
        local = isinstance(fs, LocalFileSystem)
        if local and os.path.islink(path) and not os.path.exists(path):
            raise UsageError.of(KEY, pattern, f"existing files; {path} is a link that leads nowhere")
        info = fs.info(path)
        if info.get("type") == "other":  # a pipe would be waited for
            raise UsageError.of(KEY, pattern, f"a regular file; {path} is a pipe, socket or device")
        found[os.path.abspath(path) if local else fs.unstrip_protocol(path)] = info
    return found


def _changed(info: dict[str, Any]) -> float | str:
    for name in ("mtime", "ETag", "etag", "LastModified", "last_modified", "updated", "blob_id"):
        value = info.get(name)
        if isinstance(value, (int, float)):
            return float(value)
        if value is not None:
            return str(value)
    return ""


def _stems(urls: list[str]) -> list[str]:
    paths = [[name.rstrip(":") for name in url.split("/") if name] for url in urls]
    common = 0  # folders that all have
    while len({tuple(path[: common + 1]) for path in paths}) == 1 and all(common < len(p) - 1 for p in paths):
        common += 1
    stems = ["/".join([*path[common:-1], _bare(path[-1])]) for path in paths]
    names = Counter(stems)
    for url, stem in zip(urls, stems, strict=True):
        if names[stem] > 1:
            same = ", ".join(u for u, s in zip(urls, stems, strict=True) if s == stem)
            raise UsageError.of(KEY, stem, f"one shard of that name, not {same}")
        try:
            stem.encode()
        except UnicodeEncodeError as error:
            raise UsageError.of(KEY, ascii(url), "a file name in UTF-8") from error
        if stem.endswith("/") or not stem or ".." in stem.split("/"):
            raise UsageError.of(KEY, url, "a file with a name before its suffix")
    return stems


def _bare(name: str) -> str:
    for suffix in sorted(SUFFIXES, key=len, reverse=True):
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return name


def _sizes(url: str) -> dict[str, Any]:
    try:
        with fsspec.open(url, "rb") as file:
            table = json.loads(file.read(_SIZES_BYTES))
    except Exception:  # what it holds, or a store's own error: only the plan's total depends on it
        return {}
    return table if isinstance(table, dict) else {}
